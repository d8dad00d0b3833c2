package bridge

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"

	"github.com/ORG/mcm-provider-template/bridge/internal/cmi"
)

const (
	identityTimeout = 10 * time.Second
	probeInterval   = time.Second
	// After so many probes, the log repeats an unchanged reason for waiting.
	remindAfter = 30
)

type capability = cmi.PluginCapability_RPC_Type

// plugin contains the driver's information about itself.
type plugin struct {
	name string
	// providers are the names of its provider that machine classes may use.
	providers    []string
	capabilities []capability
	// changes is how often the connection had changed when the driver was asked, or -1 before that.
	changes int64
}

// AwaitReady returns as soon as the driver's Probe reports that it is ready, and logs the driver's name.
//
// It returns the context's error if that ends first.
func (d *Driver) AwaitReady(ctx context.Context) error {
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	reason, since := "", 0
	for {
		now := d.notReady(ctx)
		if now == "" {
			return nil
		}
		if since++; now != reason || since == remindAfter {
			klog.Infof("Waiting for the driver at %s: %s", d.endpoint, now)
			reason, since = now, 0
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// notReady returns why the driver can't be used yet, or nothing if it can.
func (d *Driver) notReady(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, identityTimeout)
	defer cancel()
	probe, err := d.identity.Probe(ctx, &cmi.ProbeRequest{})
	if err != nil {
		return describe(err)
	}
	// A driver that leaves the value out is ready.
	if probe.GetReady() != nil && !probe.GetReady().GetValue() {
		return "it is still initialising"
	}
	if _, err := d.plugin(ctx); err != nil {
		return describe(err)
	}
	return ""
}

// plugin returns the driver's information. The driver is asked once on each connection, since another version of it may
// have other capabilities. Of the calls that need to know, one asks, and the others wait for it.
func (d *Driver) plugin(ctx context.Context) (*plugin, error) {
	if known := d.known.Load(); known.changes == d.changes.count.Load() {
		return known, nil
	}
	ctx, cancel := context.WithTimeout(ctx, identityTimeout)
	defer cancel()
	select {
	case d.asking <- struct{}{}:
		defer func() { <-d.asking }()
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	if known := d.known.Load(); known.changes == d.changes.count.Load() {
		return known, nil
	}
	info, err := d.identity.GetPluginInfo(ctx, &cmi.GetPluginInfoRequest{})
	if err != nil {
		return nil, err
	}
	changes := d.changes.count.Load() // now there is a connection
	answer, err := d.identity.GetPluginCapabilities(ctx, &cmi.GetPluginCapabilitiesRequest{})
	if err != nil {
		return nil, err
	}
	asked := &plugin{
		name:      info.GetName(),
		providers: providersOf(d.provider, info.GetName(), info.GetManifest()),
		changes:   changes,
	}
	for _, announced := range answer.GetCapabilities() {
		asked.capabilities = append(asked.capabilities, announced.GetRpc().GetType())
	}
	d.known.Store(asked)
	klog.Infof("Connected to the driver at %s: %s %s %v, with %v",
		d.endpoint, info.GetName(), info.GetVersion(), info.GetManifest(), asked.capabilities)
	return asked, nil
}

func (p *plugin) has(wanted capability) bool {
	return slices.Contains(p.capabilities, wanted)
}

func describe(err error) string {
	failure := status.Convert(err)
	return fmt.Sprintf("%s: %s", failure.Code(), failure.Message())
}
