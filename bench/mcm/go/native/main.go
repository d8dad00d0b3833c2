// Command native is a machine-controller in Go, to compare the bridge and a rendered driver with. Like Gardener's own
// drivers, it uses the library of machine-controller-manager.
package main

import (
	"fmt"
	"os"

	_ "github.com/gardener/machine-controller-manager/pkg/util/client/metrics/prometheus"
	"github.com/gardener/machine-controller-manager/pkg/util/provider/app"
	"github.com/gardener/machine-controller-manager/pkg/util/provider/app/options"
	"github.com/gardener/machine-controller-manager/pkg/util/provider/machinecodes/codes"
	_ "github.com/gardener/machine-controller-manager/pkg/util/reflector/prometheus"
	_ "github.com/gardener/machine-controller-manager/pkg/util/workqueue/prometheus"
	"github.com/spf13/pflag"
	"k8s.io/component-base/cli/flag"
	"k8s.io/component-base/logs"
)

func main() {
	server := options.NewMCServer()
	server.AddFlags(pflag.CommandLine)
	url := pflag.String("cloud", "", "URL of the cloud")
	waits := pflag.Bool("waits", false, "whether calls wait until an instance runs, and until it is terminated")
	internal := pflag.Bool("throttling-is-internal", false, "whether a throttled call returns INTERNAL instead of UNAVAILABLE")
	flag.InitFlags()
	logs.InitLogs()
	throttling := codes.Unavailable
	if *internal {
		throttling = codes.Internal
	}
	err := app.Run(server, &nativeDriver{client: newClient(*url), waits: *waits, throttling: throttling})
	logs.FlushLogs()
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}
