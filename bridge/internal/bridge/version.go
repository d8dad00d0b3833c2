package bridge

import (
	"runtime/debug"
	"slices"
)

// Version is that of the whole repository: template, framework and bridge. `make release` writes it.
const Version = "0.1.0.dev0"

const mcmModule = "github.com/gardener/machine-controller-manager"

// Versions returns the versions of the bridge and of MCM's library.
func Versions() string {
	text := "bridge of mcm-provider-template " + Version
	build, _ := debug.ReadBuildInfo()
	if build == nil {
		return text
	}
	isMCM := func(dependency *debug.Module) bool { return dependency.Path == mcmModule }
	if at := slices.IndexFunc(build.Deps, isMCM); at >= 0 {
		text += ", with machine-controller-manager " + build.Deps[at].Version
	}
	return text
}
