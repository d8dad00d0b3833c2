package bridge

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"
	grpccodes "google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/ORG/mcm-provider-template/bridge/internal/cmi"
)

// traced calls a driver directly, and returns the span of the call.
func traced(t *testing.T, r *remote) tracetest.SpanStub {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	tracing, err := tracerTo(t.Context(), trace.WithSyncer(spans))
	requireEqual(t, err, nil)
	listener := onLoopback(t)
	r.serve(t, listener)
	connection, err := grpc.NewClient(listener.Addr().String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()), tracing.dialOption())
	requireEqual(t, err, nil)
	_, _ = cmi.NewMachineClient(connection).CreateMachine(t.Context(), &cmi.CreateMachineRequest{})
	requireEqual(t, connection.Close(), nil)
	ended := spans.GetSpans()
	requireEqual(t, len(ended), 1)
	return ended[0]
}

func TestASpanForEachCallIsContinuedByTheDriver(t *testing.T) {
	var parent string
	r := &remote{}
	r.create = func(ctx context.Context, _ *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
		came, _ := metadata.FromIncomingContext(ctx)
		parent = strings.Join(came.Get("traceparent"), "")
		return &cmi.CreateMachineResponse{}, nil
	}
	span := traced(t, r)
	requireEqual(t, span.Name, "cmi.v1.Machine/CreateMachine")
	of := span.SpanContext
	requireEqual(t, parent, "00-"+of.TraceID().String()+"-"+of.SpanID().String()+"-01")
}

func TestSpansOfFailedCallsHaveNoMessage(t *testing.T) {
	r := &remote{}
	r.create = func(context.Context, *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
		return nil, status.Error(grpccodes.Unauthenticated, "wrong password: hunter2!")
	}
	span := traced(t, r)
	requireEqual(t, span.Status, trace.Status{Code: codes.Error})
	if text := fmt.Sprintf("%+v", span); strings.Contains(text, "hunter2") || !strings.Contains(text, "UNAUTHENTICATED") {
		t.Error(text)
	}
}

func TestADriverIsTracedOnRequest(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off") // there is nothing to send spans to
	var came metadata.MD
	r := &remote{capabilities: everything}
	r.create = func(ctx context.Context, _ *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
		came, _ = metadata.FromIncomingContext(ctx)
		return &cmi.CreateMachineResponse{}, nil
	}
	_, err := createOne(t.Context(), r.start(t, func(o *Options) { o.Tracing = true }))
	requireEqual(t, err, nil)
	requireEqual(t, len(came.Get("traceparent")), 1)
}

func TestNothingIsTracedByDefault(t *testing.T) {
	var came metadata.MD
	r := &remote{capabilities: everything}
	r.create = func(ctx context.Context, _ *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
		came, _ = metadata.FromIncomingContext(ctx)
		return &cmi.CreateMachineResponse{}, nil
	}
	_, err := createOne(t.Context(), r.start(t))
	requireEqual(t, err, nil)
	requireEqual(t, len(came.Get("traceparent")), 0)
}
