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

	"mcm-provider-template/bridge/internal/cmi"
)

const (
	// A listed machine takes about 90 bytes; gRPC's own limit of 4 MiB is less than 50,000 of them.
	maxResponse = 256 << 20
	// Servers hang up on a client that pings more often than every five minutes, by default.
	keepaliveTime    = 5*time.Minute + 30*time.Second
	keepaliveTimeout = 20 * time.Second
)

// While the driver is away, calls fail at once: MCM repeats them. It is back a second later.
var reconnect = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
	MinConnectTimeout: 5 * time.Second,
}

// Dial returns a driver that forwards to the one that options name. It connects when it is first used, and again
// whenever the connection is lost.
func Dial(options Options) (*Driver, error) {
	target, err := options.target()
	if err != nil {
		return nil, err
	}
	if options.Timeout <= 0 {
		return nil, fmt.Errorf("--cmi-timeout %s is not positive", options.Timeout)
	}
	transport, err := options.TLS.credentials()
	if err != nil {
		return nil, err
	}
	lost := new(lostConnections)
	connection, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(transport),
		grpc.WithConnectParams(reconnect),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxResponse)),
		grpc.WithIdleTimeout(0),
		grpc.WithNoProxy(),
		grpc.WithStatsHandler(lost),
		grpc.WithUserAgent("machine-controller-bridge"),
	)
	if err != nil {
		return nil, fmt.Errorf("--cmi-endpoint %s: %w", options.Endpoint, err)
	}
	return &Driver{
		endpoint:   options.Endpoint,
		timeout:    options.Timeout,
		connection: connection,
		lost:       lost,
		identity:   cmi.NewIdentityClient(connection),
		machine:    cmi.NewMachineClient(connection),
	}, nil
}

// lostConnections counts them: behind the next one there may be another driver.
type lostConnections struct {
	count atomic.Int64
}

// HandleConn counts the end of a connection.
func (l *lostConnections) HandleConn(_ context.Context, event stats.ConnStats) {
	if _, ended := event.(*stats.ConnEnd); ended {
		l.count.Add(1)
	}
}

// TagConn, TagRPC and HandleRPC are not used.
func (*lostConnections) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return ctx
}
func (*lostConnections) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }
func (*lostConnections) HandleRPC(context.Context, stats.RPCStats)                       {}
