package bridge

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/ORG/mcm-provider-template/bridge/internal/cmi"
)

func TestDrainWaitsForCallsAndLetsNoOtherBegin(t *testing.T) {
	called, release := make(chan struct{}), make(chan struct{})
	r := &remote{capabilities: everything}
	r.create = func(context.Context, *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
		close(called)
		<-release
		return &cmi.CreateMachineResponse{ProviderID: "test:///m1", NodeName: "n1"}, nil
	}
	d := r.start(t)
	created := creating(t.Context(), d)
	<-called

	hurried, cancel := context.WithCancel(t.Context())
	cancel()
	requireEqual(t, d.Drain(hurried), 1)

	waiting, giveUp := context.WithCancel(t.Context())
	held := creating(waiting, d)
	close(release)
	requireEqual(t, <-created, nil)
	requireEqual(t, d.Drain(t.Context()), 0)
	select {
	case err := <-held:
		t.Errorf("a call began after the stop: %v", err)
	default:
	}
	giveUp()
	if <-held == nil {
		t.Error("a call after the stop succeeded")
	}
	requireEqual(t, r.machineCalls.Load(), int64(1))
}

func TestDrainGivesMCMAMomentToRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Driver
		requireEqual(t, d.calls.begin(t.Context()), nil)
		go func() {
			time.Sleep(time.Minute)
			d.calls.end()
		}()
		start := time.Now()
		requireEqual(t, d.Drain(t.Context()), 0)
		requireEqual(t, time.Since(start), time.Minute+recordTime)
		requireEqual(t, d.Drain(t.Context()), 0)
	})
}

// unreachable stands for a collector that can't be reached.
type unreachable struct{ trace.SpanProcessor }

func (unreachable) ForceFlush(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestDrainDoesNotWaitLongForACollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracing, err := tracerTo(t.Context(), trace.WithSpanProcessor(unreachable{}))
		requireEqual(t, err, nil)
		d := Driver{tracing: tracing}
		start := time.Now()
		requireEqual(t, d.Drain(t.Context()), 0)
		requireEqual(t, time.Since(start), flushTimeout)
	})
}
