package bridge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gardener/machine-controller-manager/pkg/apis/machine/v1alpha1"
)

// providerFact is the fact of a driver's manifest that tells which provider it is for.
const providerFact = "provider"

// providersOf returns the names that a machine class may call a driver's provider by: the given one, if there is one,
// else the name of the plugin, such as acme.example, its first part, and what its manifest says.
func providersOf(given, name string, manifest map[string]string) []string {
	if given != "" {
		return []string{given}
	}
	first, _, _ := strings.Cut(name, ".")
	names := []string{first, name}
	if told := manifest[providerFact]; told != "" {
		names = slices.Insert(names, 0, told)
	}
	return names
}

// wrongProvider returns why a machine class is not for this driver, or nothing if it is. As MCM's other drivers do it,
// so that a class of another provider is refused and not misread.
func (p *plugin) wrongProvider(class *v1alpha1.MachineClass) string {
	// An older MCM has the driver's address behind the name: acme//127.0.0.1:8080.
	named, _, _ := strings.Cut(class.Provider, "//")
	for _, name := range p.providers {
		if spelled(name) == spelled(named) {
			return ""
		}
	}
	return fmt.Sprintf("the machine class is for the provider %q, and the driver %s for %q; "+
		"correct the class's provider, or give the bridge --cmi-provider", named, p.name, p.providers[0])
}

// spelled returns a name in the spelling that is compared: AWS is aws, and my_cloud is the plugin my-cloud.
func spelled(name string) string {
	return strings.ReplaceAll(strings.ToLower(name), "_", "-")
}
