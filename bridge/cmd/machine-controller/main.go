// Command machine-controller is the machine-controller of machine-controller-manager (MCM) for every
// driver that speaks the Container Machine Interface. It forwards MCM's calls to the driver's endpoint.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	_ "github.com/gardener/machine-controller-manager/pkg/util/client/metrics/prometheus" // registers them
	"github.com/gardener/machine-controller-manager/pkg/util/provider/app"
	"github.com/gardener/machine-controller-manager/pkg/util/provider/app/options"
	_ "github.com/gardener/machine-controller-manager/pkg/util/reflector/prometheus" // registers its metrics
	_ "github.com/gardener/machine-controller-manager/pkg/util/workqueue/prometheus" // registers its metrics
	"github.com/spf13/pflag"
	"k8s.io/component-base/cli/flag"
	"k8s.io/component-base/logs"
	"k8s.io/klog/v2"

	"github.com/ORG/mcm-provider-template/bridge/internal/bridge"
)

// concurrentSyncs is how many machines MCM creates, and how many it deletes, at the same time. A worker's call to the
// driver lasts until the VM runs or is gone, so with MCM's default of 50, the 51st machine would wait for the first. A
// waiting worker takes 25 KiB.
const concurrentSyncs = 500

// releaseTimeout is the maximum duration of releasing the lease.
const releaseTimeout = 5 * time.Second

func main() {
	server := options.NewMCServer()
	server.ConcurrentNodeSyncs = concurrentSyncs
	server.AddFlags(pflag.CommandLine)
	driver := bridge.NewOptions()
	driver.AddFlags(pflag.CommandLine)
	version := pflag.Bool("version", false, "Print the version and exit")
	flag.InitFlags()
	if *version {
		fmt.Println(bridge.Versions())
		return
	}
	logs.InitLogs()
	klog.Info("This is the " + bridge.Versions())

	bridge.SurvivePanics()

	err := run(server, driver)
	logs.FlushLogs()
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

// run waits for the driver, and then runs the machine-controller until a signal stops it.
func run(server *options.MCServer, driver bridge.Options) error {
	// MCM checks its own flags too, but only after the wait for the driver.
	if err := server.Validate(); err != nil {
		return err
	}
	if err := driver.CheckVerbosity(pflag.CommandLine); err != nil {
		return err
	}
	forwarder, err := bridge.Dial(driver)
	if err != nil {
		return err
	}
	stopping, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer restore()
	if err := forwarder.AwaitReady(stopping); err != nil {
		return nil // a signal stopped it
	}
	failed := make(chan error, 1)
	go func() { failed <- app.Run(server, forwarder) }()
	select {
	case err := <-failed:
		return err
	case <-stopping.Done():
		restore() // a second signal ends the process at once
		return stop(server, forwarder, driver.GracePeriod)
	}
}

// stop waits for the calls in flight, and lets another machine-controller become the leader. MCM's library can't be
// stopped, so the process has to end directly afterwards.
func stop(server *options.MCServer, forwarder *bridge.Driver, gracePeriod time.Duration) error {
	klog.Info("Stopping; no further call reaches the driver")
	ctx, cancel := context.WithTimeout(context.Background(), gracePeriod)
	defer cancel()
	if left := forwarder.Drain(ctx); left > 0 {
		return fmt.Errorf("%d calls did not end within %s; the lease is kept until it expires, "+
			"so that no other driver repeats them sooner", left, gracePeriod)
	}
	ctx, cancel = context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	if err := bridge.ReleaseLease(ctx, server); err != nil {
		klog.Warningf("Another machine-controller becomes the leader only when the lease has expired: %v", err)
	}
	return nil
}
