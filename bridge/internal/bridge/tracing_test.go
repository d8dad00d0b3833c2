package bridge

import (
	"context"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/ORG/mcm-provider-template/bridge/internal/cmi"
)

func TestASpanForEachCallIsContinuedByTheDriver(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	tracing, err := tracerTo(t.Context(), trace.WithSyncer(spans))
	requireEqual(t, err, nil)
	var parent string
	r := &remote{capabilities: everything}
	r.create = func(ctx context.Context, _ *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
		came, _ := metadata.FromIncomingContext(ctx)
		parent = strings.Join(came.Get("traceparent"), "")
		return &cmi.CreateMachineResponse{}, nil
	}
	listener := onLoopback(t)
	r.serve(t, listener)
	connection, err := grpc.NewClient(listener.Addr().String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()), tracing.dialOption())
	requireEqual(t, err, nil)
	_, err = cmi.NewMachineClient(connection).CreateMachine(t.Context(), &cmi.CreateMachineRequest{})
	requireEqual(t, err, nil)
	requireEqual(t, connection.Close(), nil)
	ended := spans.GetSpans()
	requireEqual(t, len(ended), 1)
	requireEqual(t, ended[0].Name, "cmi.v1.Machine/CreateMachine")
	of := ended[0].SpanContext
	requireEqual(t, parent, "00-"+of.TraceID().String()+"-"+of.SpanID().String()+"-01")
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
