package bridge

import (
	"strings"
	"testing"

	mcmoptions "github.com/gardener/machine-controller-manager/pkg/util/provider/app/options"
	"github.com/spf13/pflag"
)

// The test uses MCM's own flag set, which contains -v and --vmodule.
func TestVerbosityThatLogsSecretsNeedsAFlag(t *testing.T) {
	for arguments, allowed := range map[string]bool{
		"":                                    true,
		"-v=3":                                true,
		"--v=4":                               false,
		"-v=9":                                false,
		"--vmodule=machine_util=3":            true,
		"--vmodule=machine_util=2,userdata=4": false,
		"--vmodule=*=10":                      false,
		"--v=9 --cmi-log-secrets":             true,
		"--vmodule=*=10 --cmi-log-secrets":    true,
		"--v=4 --cmi-log-secrets=false":       false,
		"--v=2 --vmodule=round_trippers=8":    false,
	} {
		flags := pflag.NewFlagSet("bridge", pflag.ContinueOnError)
		mcmoptions.NewMCServer().AddFlags(flags)
		options := NewOptions()
		options.AddFlags(flags)
		requireEqual(t, flags.Parse(append([]string{"--v=0", "--vmodule="}, strings.Fields(arguments)...)), nil)
		err := options.CheckVerbosity(flags)
		if (err == nil) != allowed || err != nil && !strings.Contains(err.Error(), "--cmi-log-secrets") {
			t.Errorf("%s: %v", arguments, err)
		}
	}
}
