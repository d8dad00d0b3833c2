// Command load calls one RPC of a driver from many callers at once, and prints what it saw as JSON.
//
// It sends requests as the bytes in a file and does not decode replies, so that the client is faster than
// the server.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

type load struct {
	target  string
	method  string
	request []byte
	named   bool
	perCall bool
}

// report is the result of a run. Durations are in seconds.
type report struct {
	Calls   int            `json:"calls"`
	Seconds float64        `json:"seconds"`
	Median  float64        `json:"p50"`
	P99     float64        `json:"p99"`
	Longest float64        `json:"longest"`
	Failed  map[string]int `json:"failed"`
}

func main() {
	var l load
	var file string
	var callers, calls int
	var length time.Duration
	flag.StringVar(&l.target, "target", "", "where the driver listens")
	flag.StringVar(&l.method, "method", "", "the RPC, as /cmi.v1.Machine/CreateMachine")
	flag.StringVar(&file, "request", "", "the file with the encoded request")
	flag.BoolVar(&l.named, "named", false, "give each call its own machine name")
	flag.BoolVar(&l.perCall, "per-call", false, "make a new connection for every call")
	flag.IntVar(&callers, "callers", 1, "how many callers there are; each makes one call after the other")
	flag.IntVar(&calls, "calls", 0, "how many calls they make in total; 0: until the time is up")
	flag.DurationVar(&length, "for", time.Second, "how long they make calls, if the number of calls is 0")
	flag.Parse()

	var err error
	if l.request, err = os.ReadFile(file); err == nil {
		var seen report
		if seen, err = l.run(callers, calls, length); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(seen)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func (l load) run(callers, calls int, length time.Duration) (report, error) {
	shared, err := l.connect()
	if err != nil {
		return report{}, err
	}
	defer shared.Close()
	if err := l.call(shared, "warm-up"); err != nil && status.Code(err).String() == "Unavailable" {
		return report{}, err
	}

	var begun atomic.Int64
	var wait sync.WaitGroup
	took := make([][]time.Duration, callers)
	failed := make([]map[string]int, callers)
	start := time.Now()
	for caller := range callers {
		wait.Go(func() {
			failed[caller] = map[string]int{}
			for {
				number := int(begun.Add(1))
				if calls > 0 && number > calls || calls == 0 && time.Since(start) > length {
					return
				}
				began := time.Now()
				err := l.once(shared, "m-"+strconv.Itoa(number))
				took[caller] = append(took[caller], time.Since(began))
				if err != nil {
					failed[caller][status.Code(err).String()]++
				}
			}
		})
	}
	wait.Wait()
	return summary(time.Since(start), slices.Concat(took...), failed), nil
}

// once makes one call, on the shared connection or on a new one.
func (l load) once(shared *grpc.ClientConn, name string) error {
	if !l.perCall {
		return l.call(shared, name)
	}
	own, err := l.connect()
	if err != nil {
		return err
	}
	defer own.Close()
	return l.call(own, name)
}

func (l load) connect() (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:"+l.target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{}), grpc.MaxCallRecvMsgSize(1<<30)))
}

func (l load) call(connection *grpc.ClientConn, name string) error {
	request := l.request
	if l.named {
		request = append(protowire.AppendTag(nil, 1, protowire.BytesType), byte(len(name)))
		request = append(append(request, name...), l.request...)
	}
	var reply []byte
	return connection.Invoke(context.Background(), l.method, request, &reply)
}

func summary(length time.Duration, took []time.Duration, failed []map[string]int) report {
	slices.Sort(took)
	all := map[string]int{}
	for _, codes := range failed {
		for code, count := range codes {
			all[code] += count
		}
	}
	at := func(share float64) float64 { return took[int(share*float64(len(took)-1))].Seconds() }
	return report{len(took), length.Seconds(), at(0.5), at(0.99), at(1), all}
}

// raw is a codec that leaves messages unchanged.
type raw struct{}

func (raw) Name() string                        { return "raw" }
func (raw) Marshal(message any) ([]byte, error) { return message.([]byte), nil }
func (raw) Unmarshal(wire []byte, into any) error {
	*into.(*[]byte) = wire
	return nil
}
