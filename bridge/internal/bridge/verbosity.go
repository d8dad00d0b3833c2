package bridge

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// maxVerbosity is the highest verbosity at which MCM's library logs no secrets. At 4, it logs bootstrap tokens, and from 8
// on, the Kubernetes client logs responses, including Secrets.
const maxVerbosity = 3

// CheckVerbosity returns an error if the flags -v and --vmodule would log secrets, unless the options allow it.
func (o *Options) CheckVerbosity(flags *pflag.FlagSet) error {
	if o.LogSecrets {
		return nil
	}
	levels := map[string]string{}
	if flag := flags.Lookup("v"); flag != nil {
		levels["--v="+flag.Value.String()] = flag.Value.String()
	}
	if flag := flags.Lookup("vmodule"); flag != nil {
		for _, pattern := range strings.Split(flag.Value.String(), ",") {
			_, level, _ := strings.Cut(pattern, "=")
			levels["--vmodule="+pattern] = level
		}
	}
	for asked, level := range levels {
		if number, err := strconv.Atoi(level); err == nil && number > maxVerbosity {
			return fmt.Errorf("%s logs secrets: bootstrap tokens from 4 on, and whole Secrets from 8 on; "+
				"use %d at most, or allow it with --cmi-log-secrets", asked, maxVerbosity)
		}
	}
	return nil
}
