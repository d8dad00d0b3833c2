package bridge

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// maxVerbosity is the highest at which MCM's library logs no secret: at 4 it logs bootstrap tokens, and from 8 on the
// Kubernetes client logs what it gets, Secrets among it.
const maxVerbosity = 3

// CheckVerbosity returns an error if the flags -v and --vmodule ask for logs that hold secrets, unless options
// allow it.
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
			return fmt.Errorf("%s logs secrets: from 4 on bootstrap tokens, from 8 on whole Secrets; "+
				"use %d at most, or allow it with --cmi-log-secrets", asked, maxVerbosity)
		}
	}
	return nil
}
