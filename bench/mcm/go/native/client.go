package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// errThrottled is the cloud's error for a call that exceeds its budget.
var errThrottled = errors.New("RequestLimitExceeded")

// Like AWS's SDK, the client makes a throttled call up to three times in total.
var retries = wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 1, Steps: 3}

// client calls the cloud. All calls share one client, which keeps its connections open.
type client struct {
	url  string
	http http.Client
}

type instance struct {
	ID    string
	Tags  map[string]string
	State string
}

func newClient(url string) *client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 0, 1000 // the default keeps only two per host
	return &client{url: url, http: http.Client{Transport: transport, Timeout: time.Minute}}
}

func (c *client) run(ctx context.Context, token string, tags map[string]string) (found instance, err error) {
	err = c.call(ctx, "RunInstances", map[string]any{"ClientToken": token, "Tags": tags}, &found)
	return found, err
}

// terminate returns the instances that it has begun to terminate: none if they are not known.
func (c *client) terminate(ctx context.Context, ids []string) ([]instance, error) {
	var answer struct{ Instances []instance }
	err := c.call(ctx, "TerminateInstances", map[string]any{"IDs": ids}, &answer)
	return answer.Instances, err
}

func (c *client) get(ctx context.Context, id string) ([]instance, error) {
	return c.describe(ctx, map[string]any{"IDs": []string{id}})
}

func (c *client) find(ctx context.Context, tags map[string]string) ([]instance, error) {
	return c.describe(ctx, map[string]any{"Tags": tags})
}

// describe returns the instances on all pages.
func (c *client) describe(ctx context.Context, request map[string]any) ([]instance, error) {
	var found []instance
	for {
		var page struct {
			Instances []instance
			NextToken int
		}
		if err := c.call(ctx, "DescribeInstances", request, &page); err != nil {
			return nil, err
		}
		found = append(found, page.Instances...)
		if page.NextToken == 0 {
			return found, nil
		}
		request["NextToken"] = page.NextToken
	}
}

func (c *client) call(ctx context.Context, action string, request, response any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	failure := error(nil)
	err = wait.ExponentialBackoffWithContext(ctx, retries, func(ctx context.Context) (bool, error) {
		failure = c.once(ctx, action, body, response)
		if errors.Is(failure, errThrottled) {
			return false, nil
		}
		return true, failure
	})
	if wait.Interrupted(err) && failure != nil {
		return failure
	}
	return err
}

func (c *client) once(ctx context.Context, action string, body []byte, response any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/"+action, bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		return json.NewDecoder(answer.Body).Decode(response)
	}
	var failed struct{ Code, Message string }
	if err := json.NewDecoder(answer.Body).Decode(&failed); err != nil {
		return err
	}
	if failed.Code == errThrottled.Error() {
		return errThrottled
	}
	return fmt.Errorf("%s: %s", failed.Code, failed.Message)
}
