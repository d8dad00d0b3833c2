package main

import "time"

// budget is a token bucket. It allows `size` calls at once, and `refill` more calls per second.
type budget struct {
	size, refill, left float64
	at                 time.Time
}

// budgets returns the budgets of EC2 according to its developer guide, "Request throttling for the Amazon EC2 API". EC2
// also limits how many instances are launched: 1000 at once, and two more per second. The benchmark launches fewer.
func budgets() map[string]*budget {
	return map[string]*budget{
		"DescribeInstances":  {size: 100, refill: 20, left: 100},
		"RunInstances":       {size: 5, refill: 2, left: 5},
		"TerminateInstances": {size: 100, refill: 5, left: 100},
	}
}

// take returns whether a call is allowed at this time, and takes a token for it.
func (b *budget) take(now time.Time) bool {
	if !b.at.IsZero() {
		b.left = min(b.size, b.left+now.Sub(b.at).Seconds()*b.refill)
	}
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
