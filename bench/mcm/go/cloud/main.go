// Command cloud is a cloud for the benchmarks. It has EC2's calls for instances, in JSON over HTTP. Calls and changes of
// an instance's state take some time. Optionally, each action has a request budget.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	cloud := newCloud()
	flag.DurationVar(&cloud.latency, "latency", 150*time.Millisecond, "how long each call takes")
	flag.DurationVar(&cloud.pending, "pending", 10*time.Second, "how long an instance is pending, on average")
	flag.DurationVar(&cloud.shuttingDown, "shutting-down", 30*time.Second, "how long an instance is shutting down, on average")
	limited := flag.Bool("limited", false, "whether each action has a request budget")
	flag.Parse()
	if *limited {
		cloud.budgets = budgets()
	}
	if err := serve(cloud); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func serve(cloud *cloud) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "{\"endpoint\": %q}\n", listener.Addr())
	actions := http.NewServeMux()
	actions.HandleFunc("POST /RunInstances", action(cloud, "RunInstances", cloud.run))
	actions.HandleFunc("POST /DescribeInstances", action(cloud, "DescribeInstances", cloud.describe))
	actions.HandleFunc("POST /TerminateInstances", action(cloud, "TerminateInstances", cloud.terminate))
	actions.HandleFunc("GET /report", func(writer http.ResponseWriter, _ *http.Request) {
		answer(writer, http.StatusOK, cloud.report())
	})
	server := http.Server{Handler: actions, ConnState: cloud.count}
	return server.Serve(listener)
}

// action serves one action, after the cloud's latency and within the action's budget.
func action[Request, Response any](cloud *cloud, name string, do func(Request) Response) http.HandlerFunc {
	return func(writer http.ResponseWriter, request *http.Request) {
		time.Sleep(cloud.latency)
		var asked Request
		if err := json.NewDecoder(request.Body).Decode(&asked); err != nil {
			answer(writer, http.StatusBadRequest, failure{"InvalidRequest", err.Error()})
			return
		}
		if !cloud.admit(name) {
			answer(writer, http.StatusServiceUnavailable, failure{"RequestLimitExceeded", "Request limit exceeded."})
			return
		}
		answer(writer, http.StatusOK, do(asked))
	}
}

// failure is the body of an error.
type failure struct {
	Code, Message string
}

func answer(writer http.ResponseWriter, status int, body any) {
	writer.Header().Set("Content-Type", "application/json")
	writer.WriteHeader(status)
	_ = json.NewEncoder(writer).Encode(body) // the client may have disconnected
}
