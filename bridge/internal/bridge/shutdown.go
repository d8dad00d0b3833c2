package bridge

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/status"
)

// recordTime is how long MCM gets to record how the last calls ended. What it does not record it finds out again.
const recordTime = time.Second

// calls are those that are running. The zero value lets calls begin.
type calls struct {
	mutex   sync.Mutex
	stopped bool
	count   int
	running sync.WaitGroup
}

// begin waits until a call may run, which after a stop is never: it returns when the context ends. An error instead
// would be written into the Machine's status, for a call that the next leader makes anyway.
func (c *calls) begin(ctx context.Context) error {
	c.mutex.Lock()
	stopped := c.stopped
	if !stopped {
		c.count++
		c.running.Add(1)
	}
	c.mutex.Unlock()
	if !stopped {
		return nil
	}
	<-ctx.Done()
	return status.FromContextError(ctx.Err()).Err()
}

func (c *calls) end() {
	c.mutex.Lock()
	c.count--
	c.mutex.Unlock()
	c.running.Done()
}

// stop lets no further call begin, and returns how many are running.
func (c *calls) stop() int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.stopped = true
	return c.count
}

// Drain lets no further call reach the driver and waits for those that are running, and a moment more so that MCM
// can record how they ended. It returns how many the context's end did not wait for.
func (d *Driver) Drain(ctx context.Context) int {
	defer d.tracing.flush(ctx)
	if d.calls.stop() == 0 {
		return 0
	}
	ended := make(chan struct{})
	go func() {
		d.calls.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		time.Sleep(recordTime)
	case <-ctx.Done():
	}
	return d.calls.stop()
}
