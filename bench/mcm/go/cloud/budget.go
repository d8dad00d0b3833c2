package main

import "time"

// budget is a token bucket: so many calls at once, and so many more each second.
type budget struct {
	size, refill, left float64
	at                 time.Time
}

// budgets returns those of EC2, by its developer guide, "Request throttling for the Amazon EC2 API". It also limits how
// many instances are launched, to 1000 at once and two more each second, which is more than the benchmark asks for.
func budgets() map[string]*budget {
	return map[string]*budget{
		"DescribeInstances":  {size: 100, refill: 20, left: 100},
		"RunInstances":       {size: 5, refill: 2, left: 5},
		"TerminateInstances": {size: 100, refill: 5, left: 100},
	}
}

// take tells whether a call is allowed at this time, and takes its token.
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
