package bridge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gardener/machine-controller-manager/pkg/apis/machine/v1alpha1"
)

// providerFact is the key in a driver's manifest that names its provider.
const providerFact = "provider"

// providersOf returns the names of a driver's provider that a machine class may use: the given one, if there is one;
// otherwise the name of the plugin, such as acme.example, its first part, and the name in its manifest.
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

// wrongProvider returns why a machine class is not for this driver, or nothing if it is. MCM's other drivers check this
// too, so that a class of another provider is refused instead of misread.
func (p *plugin) wrongProvider(class *v1alpha1.MachineClass) string {
	// For the older MCM, the driver's address follows the name: acme//127.0.0.1:8080.
	named, _, _ := strings.Cut(class.Provider, "//")
	for _, name := range p.providers {
		if spelled(name) == spelled(named) {
			return ""
		}
	}
	return fmt.Sprintf("the machine class is for the provider %q, and the driver %s for %q; "+
		"correct the class's provider, or set the bridge's --cmi-provider", named, p.name, p.providers[0])
}

// spelled normalises a name for the comparison: AWS equals aws, and my_cloud equals the plugin my-cloud.
func spelled(name string) string {
	return strings.ReplaceAll(strings.ToLower(name), "_", "-")
}
