package bridge

import (
	"strings"
	"testing"

	"github.com/gardener/machine-controller-manager/pkg/apis/machine/v1alpha1"
	"github.com/gardener/machine-controller-manager/pkg/util/provider/driver"
	"github.com/gardener/machine-controller-manager/pkg/util/provider/machinecodes/codes"
)

func TestProviders(t *testing.T) {
	manifest := map[string]string{"provider": "my_cloud"}
	for _, test := range []struct {
		given    string
		plugin   string
		manifest map[string]string
		class    string
		fits     bool
	}{
		{plugin: "acme.example", class: "acme", fits: true},
		{plugin: "acme.example", class: "acme.example", fits: true},
		{plugin: "acme.example", class: "acme//127.0.0.1:8080", fits: true},
		{plugin: "aws.example", class: "AWS", fits: true},
		{plugin: "my-cloud.example", class: "my_cloud", fits: true},
		{plugin: "example.cloud", manifest: manifest, class: "my_cloud", fits: true},
		{plugin: "acme.example", class: "example"},
		{plugin: "acme.example", class: "AWS"},
		{plugin: "acme.example", class: ""},
		{given: "AWS", plugin: "acme.example", class: "aws", fits: true},
		{given: "AWS", plugin: "acme.example", manifest: manifest, class: "acme"},
		{given: "AWS", plugin: "acme.example", manifest: manifest, class: "my_cloud"},
	} {
		p := &plugin{name: test.plugin, providers: providersOf(test.given, test.plugin, test.manifest)}
		problem := p.wrongProvider(&v1alpha1.MachineClass{Provider: test.class})
		if (problem == "") != test.fits {
			t.Errorf("%+v: %q", test, problem)
		}
	}
}

func TestAClassOfAnotherProviderIsRefusedWithoutACall(t *testing.T) {
	r := &remote{capabilities: everything}
	d := r.start(t)
	other := &v1alpha1.MachineClass{Provider: "another"}
	calls := map[string]func() error{
		"create": func() error {
			_, err := d.CreateMachine(t.Context(), &driver.CreateMachineRequest{Machine: machine, MachineClass: other, Secret: secret})
			return err
		},
		"initialize": func() error {
			_, err := d.InitializeMachine(t.Context(), &driver.InitializeMachineRequest{Machine: machine, MachineClass: other, Secret: secret})
			return err
		},
		"delete": func() error {
			_, err := d.DeleteMachine(t.Context(), &driver.DeleteMachineRequest{Machine: machine, MachineClass: other, Secret: secret})
			return err
		},
		"status": func() error {
			_, err := d.GetMachineStatus(t.Context(), &driver.GetMachineStatusRequest{Machine: machine, MachineClass: other, Secret: secret})
			return err
		},
		"list": func() error {
			_, err := d.ListMachines(t.Context(), &driver.ListMachinesRequest{MachineClass: other, Secret: secret})
			return err
		},
	}
	for name, call := range calls {
		err := call()
		requireEqual(t, codeOf(err), codes.InvalidArgument)
		if err == nil || !strings.Contains(err.Error(), `for the provider "another", and the driver test.example for "test"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
	requireEqual(t, r.machineCalls.Load(), int64(0))
}

func TestTheProviderCanBeGiven(t *testing.T) {
	r := &remote{capabilities: everything}
	d := r.start(t, func(o *Options) { o.Provider = "another" })
	_, err := createOne(t.Context(), d)
	requireEqual(t, codeOf(err), codes.InvalidArgument)
}
