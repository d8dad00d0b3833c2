package bridge

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/status"
)

// recordTime is how long MCM has to record the results of the last calls. If it can't record one, it makes the call again.
const recordTime = time.Second

// calls counts the running calls. The zero value lets calls begin.
type calls struct {
	mutex   sync.Mutex
	stopped bool
	count   int
	running sync.WaitGroup
}

// begin lets a call run. After a stop, it blocks until the context ends: MCM would write an error into the Machine's
// status, although the next leader repeats the call anyway.
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

// stop prevents further calls, and returns how many are running.
func (c *calls) stop() int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.stopped = true
	return c.count
}

// Drain prevents further calls to the driver. It waits for the running ones, and a moment longer, so that MCM can record
// their results. It returns how many calls were still running when the context ended. Finally, it sends the last spans:
// once the lease is released, there is no time for that.
func (d *Driver) Drain(ctx context.Context) int {
	defer d.tracing.flush()
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
