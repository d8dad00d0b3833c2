package bridge

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/gardener/machine-controller-manager/pkg/apis/machine/v1alpha1"
	"github.com/gardener/machine-controller-manager/pkg/util/provider/driver"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// BenchmarkListMachines lists the machines of a running driver, which `make bench` in the parent folder starts.
func BenchmarkListMachines(b *testing.B) {
	options := NewOptions()
	options.Endpoint = os.Getenv("CMI_ENDPOINT")
	if options.Endpoint == "" {
		b.Skip("CMI_ENDPOINT names no driver")
	}
	var sample struct {
		ProviderSpec json.RawMessage
		Secrets      map[string][]byte
	}
	if err := json.Unmarshal([]byte(os.Getenv("MACHINE_CLASS")), &sample); err != nil {
		b.Fatal(err)
	}
	forwarder, err := Dial(options)
	if err != nil {
		b.Fatal(err)
	}
	request := &driver.ListMachinesRequest{
		MachineClass: &v1alpha1.MachineClass{Provider: "test", ProviderSpec: runtime.RawExtension{Raw: sample.ProviderSpec}},
		Secret:       &corev1.Secret{Data: sample.Secrets},
	}
	for b.Loop() {
		if _, err := forwarder.ListMachines(b.Context(), request); err != nil {
			b.Fatal(err)
		}
	}
}
