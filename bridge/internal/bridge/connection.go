package bridge

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/stats"

	"github.com/ORG/mcm-provider-template/bridge/internal/cmi"
)

const (
	// A listed machine takes about 90 bytes, so gRPC's default of 4 MiB is not enough for 50,000 machines.
	maxResponse = 256 << 20
	// gRPC silently replaces a shorter keepalive by this one.
	minKeepalive     = 10 * time.Second
	keepaliveTimeout = 20 * time.Second
)

// While the driver is down, calls fail at once, and MCM repeats them. Reconnecting takes at most a second.
var reconnect = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
	MinConnectTimeout: 5 * time.Second,
}

// Dial returns a driver that forwards calls to the endpoint in the options. It connects with the first call, and
// reconnects whenever the connection is lost.
func Dial(options Options) (*Driver, error) {
	target, err := options.target()
	if err != nil {
		return nil, err
	}
	switch {
	case options.Timeout <= 0:
		return nil, fmt.Errorf("--cmi-timeout %s is not positive", options.Timeout)
	case options.GracePeriod < 0:
		return nil, fmt.Errorf("--cmi-grace-period %s is negative", options.GracePeriod)
	case options.Keepalive < minKeepalive:
		return nil, fmt.Errorf("--cmi-keepalive %s is below %s", options.Keepalive, minKeepalive)
	}
	transport, err := options.TLS.credentials()
	if err != nil {
		return nil, err
	}
	changes := new(connectionChanges)
	settings := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithConnectParams(reconnect),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: options.Keepalive, Timeout: keepaliveTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxResponse)),
		grpc.WithIdleTimeout(0),
		grpc.WithNoProxy(),
		grpc.WithStatsHandler(changes),
		grpc.WithUserAgent("machine-controller-bridge"),
	}
	var tracing *tracer
	if options.Tracing {
		if tracing, err = newTracer(context.Background()); err != nil {
			return nil, err
		}
		settings = append(settings, tracing.dialOption())
	}
	if options.isPlainTCP() {
		dialer, err := options.plainTextDialer()
		if err != nil {
			return nil, err
		}
		settings = append(settings, grpc.WithContextDialer(dialer))
	}
	connection, err := grpc.NewClient(target, settings...)
	if err != nil {
		return nil, fmt.Errorf("--cmi-endpoint %s: %w", options.Endpoint, err)
	}
	driver := &Driver{
		endpoint:   options.Endpoint,
		provider:   options.Provider,
		timeout:    options.Timeout,
		connection: connection,
		tracing:    tracing,
		changes:    changes,
		asking:     make(chan struct{}, 1),
		identity:   cmi.NewIdentityClient(connection),
		machine:    cmi.NewMachineClient(connection),
	}
	driver.known.Store(&plugin{changes: -1})
	return driver, nil
}

// connectionChanges counts connections that begin or end: the next one may lead to another driver.
type connectionChanges struct {
	count atomic.Int64
}

// HandleConn counts a connection that begins or ends; gRPC reports no other events.
func (c *connectionChanges) HandleConn(context.Context, stats.ConnStats) {
	c.count.Add(1)
}

// TagConn, TagRPC and HandleRPC are not used.
func (*connectionChanges) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return ctx
}
func (*connectionChanges) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return ctx
}
func (*connectionChanges) HandleRPC(context.Context, stats.RPCStats) {}
