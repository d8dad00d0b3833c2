package bridge

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"
)

// flushTimeout is how long a collector that can't be reached may delay the next leader.
const flushTimeout = 2 * time.Second

// tracer makes a span for each call to the driver. The call's metadata contains the trace, so the driver can continue it.
type tracer struct {
	provider *trace.TracerProvider
}

// newTracer returns a tracer that exports over OTLP, as the OTEL_* variables say.
func newTracer(ctx context.Context) (*tracer, error) {
	exporter, err := otlptracegrpc.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("--cmi-tracing: %w", err)
	}
	return tracerTo(ctx, trace.WithBatcher(exporter))
}

func tracerTo(ctx context.Context, exporter trace.TracerProviderOption) (*tracer, error) {
	name := resource.WithAttributes(semconv.ServiceName("cmi-bridge"), semconv.ServiceVersion(Version))
	// The environment comes last, so that OTEL_SERVICE_NAME counts.
	described, err := resource.New(ctx, name, resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("--cmi-tracing: %w", err)
	}
	return &tracer{trace.NewTracerProvider(exporter, trace.WithResource(described))}, nil
}

func (t *tracer) dialOption() grpc.DialOption {
	return grpc.WithStatsHandler(withoutMessages{otelgrpc.NewClientHandler(
		otelgrpc.WithTracerProvider(t.provider),
		otelgrpc.WithPropagators(propagation.TraceContext{}),
	)})
}

// withoutMessages hides the messages of errors from a handler: the message of a driver may contain secrets, and only the
// Machine's status, where it is masked, needs it.
type withoutMessages struct{ stats.Handler }

// HandleRPC passes an event on; if it is an error, only with its code.
func (w withoutMessages) HandleRPC(ctx context.Context, event stats.RPCStats) {
	if end, ok := event.(*stats.End); ok && end.Error != nil {
		quiet := *end
		quiet.Error = status.Error(status.Code(end.Error), "")
		event = &quiet
	}
	w.Handler.HandleRPC(ctx, event)
}

// flush sends the remaining spans, if tracing is enabled.
func (t *tracer) flush() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if err := t.provider.ForceFlush(ctx); err != nil {
		klog.Warningf("The last spans were not sent: %v", err)
	}
}
