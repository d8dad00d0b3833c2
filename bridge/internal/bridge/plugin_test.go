package bridge

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ORG/mcm-provider-template/bridge/internal/cmi"
)

func TestWaitsUntilTheDriverIsReady(t *testing.T) {
	answers := []struct {
		response *cmi.ProbeResponse
		err      error
	}{
		{nil, status.Error(codes.FailedPrecondition, "the cloud does not answer")},
		{&cmi.ProbeResponse{Ready: wrapperspb.Bool(false)}, nil},
		{&cmi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil},
	}
	var asked atomic.Int64
	r := &remote{capabilities: everything}
	r.probe = func() (*cmi.ProbeResponse, error) {
		answer := answers[asked.Add(1)-1]
		return answer.response, answer.err
	}
	requireEqual(t, r.start(t).AwaitReady(t.Context()), nil)
	requireEqual(t, asked.Load(), int64(len(answers)))
}

func TestDriverThatDoesNotSayWhetherItIsReadyIsReady(t *testing.T) {
	r := &remote{capabilities: everything}
	r.probe = func() (*cmi.ProbeResponse, error) { return &cmi.ProbeResponse{}, nil }
	requireEqual(t, r.start(t).AwaitReady(t.Context()), nil)
}

func TestWaitsForADriverThatStartsLater(t *testing.T) {
	listener := onLoopback(t)
	address := listener.Addr().String()
	requireEqual(t, listener.Close(), nil)
	d := dial(t, listener)
	ready := make(chan error)
	go func() { ready <- d.AwaitReady(t.Context()) }()
	_, err := createOne(t.Context(), d)
	if err == nil {
		t.Fatal("nobody is there")
	}
	r := &remote{capabilities: everything}
	r.serve(t, listen(t, "tcp", address))
	requireEqual(t, <-ready, nil)
}

func TestWaitCanBeGivenUp(t *testing.T) {
	asked := make(chan struct{}, 1)
	r := &remote{capabilities: everything}
	r.probe = func() (*cmi.ProbeResponse, error) {
		asked <- struct{}{}
		return &cmi.ProbeResponse{Ready: wrapperspb.Bool(false)}, nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	if err := r.start(t).AwaitReady(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
