package main

import (
	"fmt"
	"math"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// maxResults is the maximum number of instances on a page, as in EC2.
const maxResults = 1000

// Instance describes an instance in the cloud's responses.
type Instance struct {
	ID    string
	Tags  map[string]string
	State string

	launched, terminated  time.Time
	pending, shuttingDown time.Duration
}

// cloud contains instances, and counts the calls of its API.
type cloud struct {
	latency, pending, shuttingDown time.Duration

	mutex     sync.Mutex
	instances []*Instance
	byToken   map[string]*Instance
	budgets   map[string]*budget
	calls     map[string]int
	throttled map[string]int
	open      map[net.Conn]bool
	mostOpen  int
}

func newCloud() *cloud {
	return &cloud{
		byToken:   map[string]*Instance{},
		calls:     map[string]int{},
		throttled: map[string]int{},
		open:      map[net.Conn]bool{},
	}
}

// admit counts a call, and returns whether the budget of its action allows it.
func (c *cloud) admit(action string) bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.calls[action]++
	if budget := c.budgets[action]; budget != nil && !budget.take(time.Now()) {
		c.throttled[action]++
		return false
	}
	return true
}

type runRequest struct {
	ClientToken string
	Tags        map[string]string
}

// run launches an instance, or returns the instance that was launched with the same token.
func (c *cloud) run(request runRequest) Instance {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	instance := c.byToken[request.ClientToken]
	if instance == nil {
		number := len(c.instances) + 1
		instance = &Instance{
			ID:           fmt.Sprintf("i-%08x", number),
			Tags:         request.Tags,
			launched:     time.Now(),
			pending:      spread(c.pending, number),
			shuttingDown: spread(c.shuttingDown, number),
		}
		c.instances = append(c.instances, instance)
		c.byToken[request.ClientToken] = instance
	}
	return c.now(instance)
}

// spread returns a duration of 75 to 125 % of the mean, which depends on the number of the instance alone. If all
// instances took the same time, the result would depend on whether a client's pauses happen to fit it.
func spread(mean time.Duration, number int) time.Duration {
	const goldenRatio = 0.618034 // its multiples, without their integers, are spread evenly
	_, part := math.Modf(float64(number) * goldenRatio)
	return time.Duration(float64(mean) * (0.75 + part/2))
}

type describeRequest struct {
	IDs       []string
	Tags      map[string]string
	NextToken int
}

type describeResponse struct {
	Instances []Instance
	NextToken int `json:",omitempty"`
}

// describe returns a page of the instances that have all of the tags and, if IDs are given, one of the IDs.
func (c *cloud) describe(request describeRequest) describeResponse {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	response := describeResponse{Instances: []Instance{}}
	for index := request.NextToken; index < len(c.instances); index++ {
		if !matches(c.instances[index], request) {
			continue
		}
		if len(response.Instances) == maxResults {
			response.NextToken = index
			break
		}
		response.Instances = append(response.Instances, c.now(c.instances[index]))
	}
	return response
}

func matches(instance *Instance, request describeRequest) bool {
	if len(request.IDs) > 0 && !slices.Contains(request.IDs, instance.ID) {
		return false
	}
	for key, value := range request.Tags {
		if instance.Tags[key] != value {
			return false
		}
	}
	return true
}

type terminateRequest struct {
	IDs []string
}

// terminate starts to terminate instances.
func (c *cloud) terminate(request terminateRequest) describeResponse {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	response := describeResponse{Instances: []Instance{}}
	for _, instance := range c.instances {
		if slices.Contains(request.IDs, instance.ID) {
			if instance.terminated.IsZero() {
				instance.terminated = time.Now()
			}
			response.Instances = append(response.Instances, c.now(instance))
		}
	}
	return response
}

// now returns an instance with its current state. Terminated instances stay visible, as in EC2.
func (c *cloud) now(instance *Instance) Instance {
	now := *instance
	switch {
	case !now.terminated.IsZero() && time.Since(now.terminated) >= now.shuttingDown:
		now.State = "terminated"
	case !now.terminated.IsZero():
		now.State = "shutting-down"
	case time.Since(now.launched) < now.pending:
		now.State = "pending"
	default:
		now.State = "running"
	}
	return now
}

// count updates the number of open connections.
func (c *cloud) count(connection net.Conn, state http.ConnState) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	switch state {
	case http.StateNew:
		c.open[connection] = true
		c.mostOpen = max(c.mostOpen, len(c.open))
	case http.StateClosed, http.StateHijacked:
		delete(c.open, connection)
	}
}

// report contains the figures that the benchmark reads in addition to the API.
type report struct {
	Calls, Throttled, States map[string]int
	MostConnections          int
}

func (c *cloud) report() report {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	found := report{map[string]int{}, map[string]int{}, map[string]int{}, c.mostOpen}
	for action, count := range c.calls {
		found.Calls[action] = count
	}
	for action, count := range c.throttled {
		found.Throttled[action] = count
	}
	for _, instance := range c.instances {
		found.States[c.now(instance).State]++
	}
	return found
}
