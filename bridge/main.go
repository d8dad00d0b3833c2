// Command machine-controller is the machine-controller of machine-controller-manager (MCM) for every
// driver that speaks the Container Machine Interface: it forwards what MCM asks to the driver's endpoint.
package main

import (
	"context"
	"fmt"
	"os"

	_ "github.com/gardener/machine-controller-manager/pkg/util/client/metrics/prometheus" // registers them
	"github.com/gardener/machine-controller-manager/pkg/util/provider/app"
	"github.com/gardener/machine-controller-manager/pkg/util/provider/app/options"
	_ "github.com/gardener/machine-controller-manager/pkg/util/reflector/prometheus" // registers its metrics
	_ "github.com/gardener/machine-controller-manager/pkg/util/workqueue/prometheus" // registers its metrics
	"github.com/spf13/pflag"
	"k8s.io/component-base/cli/flag"
	"k8s.io/component-base/logs"

	"mcm-provider-template/bridge/internal/bridge"
)

func main() {
	server := options.NewMCServer()
	server.AddFlags(pflag.CommandLine)
	driver := bridge.NewOptions()
	driver.AddFlags(pflag.CommandLine)
	flag.InitFlags()
	logs.InitLogs()

	err := run(server, driver)
	logs.FlushLogs()
	fmt.Fprintf(os.Stderr, "error: %v\n", err)
	os.Exit(1)
}

// run waits for the driver and then is a machine-controller. It never returns without an error.
func run(server *options.MCServer, driver bridge.Options) error {
	// MCM checks its own flags too, but only once it runs, and that waits for the driver.
	if err := server.Validate(); err != nil {
		return err
	}
	forwarder, err := bridge.Dial(driver)
	if err != nil {
		return err
	}
	if err := forwarder.AwaitReady(context.Background()); err != nil {
		return err
	}
	return app.Run(server, forwarder)
}
