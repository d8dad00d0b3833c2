package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gardener/machine-controller-manager/pkg/apis/machine/v1alpha1"
	"github.com/gardener/machine-controller-manager/pkg/util/provider/driver"
	"github.com/gardener/machine-controller-manager/pkg/util/provider/machinecodes/codes"
	mcm "github.com/gardener/machine-controller-manager/pkg/util/provider/machinecodes/status"
	"github.com/gardener/machine-controller-manager/pkg/util/provider/metrics"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/ORG/mcm-provider-template/bridge/internal/cmi"
)

var (
	machine = &v1alpha1.Machine{
		ObjectMeta: metav1.ObjectMeta{Name: "m1", Namespace: "default"},
		Spec:       v1alpha1.MachineSpec{ProviderID: "test:///m1"},
		Status:     v1alpha1.MachineStatus{LastKnownState: "seen"},
	}
	class  = &v1alpha1.MachineClass{Provider: "test", ProviderSpec: runtime.RawExtension{Raw: []byte(`{"region":"north-1"}`)}}
	secret = &corev1.Secret{Data: map[string][]byte{"userData": []byte("#cloud-config"), "token": {0, 255}}}
)

func createOne(ctx context.Context, d *Driver) (*driver.CreateMachineResponse, error) {
	return d.CreateMachine(ctx, &driver.CreateMachineRequest{Machine: machine, MachineClass: class, Secret: secret})
}

// createMany makes as many calls at once, and waits until all have succeeded.
func createMany(t *testing.T, d *Driver, many int) {
	t.Helper()
	var calls sync.WaitGroup
	for range many {
		calls.Go(func() {
			if _, err := createOne(t.Context(), d); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
}

// creating makes a call in the background, and returns a channel for its error.
func creating(ctx context.Context, d *Driver) <-chan error {
	created := make(chan error, 1)
	go func() {
		_, err := createOne(ctx, d)
		created <- err
	}()
	return created
}

func codeOf(err error) codes.Code {
	failure, _ := mcm.FromError(err)
	return failure.Code()
}

func requireEqual(t *testing.T, got, want any) {
	t.Helper()
	gotten, isMessage := got.(proto.Message)
	wanted, _ := want.(proto.Message)
	if isMessage && proto.Equal(gotten, wanted) {
		return
	}
	if isMessage || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestCreateMachineForwardsEveryField(t *testing.T) {
	r := &remote{capabilities: everything}
	r.create = func(_ context.Context, request *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
		requireEqual(t, request, &cmi.CreateMachineRequest{
			MachineName: "m1", ProviderSpec: class.ProviderSpec.Raw, Secrets: secret.Data, LastKnownState: []byte("seen"),
		})
		return &cmi.CreateMachineResponse{ProviderID: "test:///m1", NodeName: "n1", LastKnownState: []byte("made")}, nil
	}
	response, err := createOne(t.Context(), r.start(t))
	requireEqual(t, err, nil)
	requireEqual(t, response, &driver.CreateMachineResponse{ProviderID: "test:///m1", NodeName: "n1", LastKnownState: "made"})
}

func TestDeleteMachineForwardsEveryField(t *testing.T) {
	r := &remote{capabilities: everything}
	r.delete = func(_ context.Context, request *cmi.DeleteMachineRequest) (*cmi.DeleteMachineResponse, error) {
		requireEqual(t, request, &cmi.DeleteMachineRequest{
			MachineName: "m1", ProviderSpec: class.ProviderSpec.Raw, Secrets: secret.Data,
			ProviderID: "test:///m1", LastKnownState: []byte("seen"),
		})
		return &cmi.DeleteMachineResponse{LastKnownState: []byte("gone")}, nil
	}
	response, err := r.start(t).DeleteMachine(t.Context(),
		&driver.DeleteMachineRequest{Machine: machine, MachineClass: class, Secret: secret})
	requireEqual(t, err, nil)
	requireEqual(t, response, &driver.DeleteMachineResponse{LastKnownState: "gone"})
}

func TestGetMachineStatusForwardsEveryField(t *testing.T) {
	r := &remote{capabilities: everything}
	r.status = func(_ context.Context, request *cmi.GetMachineStatusRequest) (*cmi.GetMachineStatusResponse, error) {
		requireEqual(t, request, &cmi.GetMachineStatusRequest{
			MachineName: "m1", ProviderSpec: class.ProviderSpec.Raw, Secrets: secret.Data, ProviderID: "test:///m1",
		})
		return &cmi.GetMachineStatusResponse{ProviderID: "test:///m1", NodeName: "n1"}, nil
	}
	response, err := r.start(t).GetMachineStatus(t.Context(),
		&driver.GetMachineStatusRequest{Machine: machine, MachineClass: class, Secret: secret})
	requireEqual(t, err, nil)
	requireEqual(t, response, &driver.GetMachineStatusResponse{ProviderID: "test:///m1", NodeName: "n1"})
}

func TestListMachinesForwardsEveryFieldOf50000Machines(t *testing.T) {
	machines := map[string]string{}
	for i := range 50_000 {
		machines[fmt.Sprintf("test:///region-of-the-cloud/%032d", i)] = fmt.Sprintf("shoot--project--cluster-pool-%08d", i)
	}
	r := &remote{capabilities: everything}
	r.list = func(_ context.Context, request *cmi.ListMachinesRequest) (*cmi.ListMachinesResponse, error) {
		requireEqual(t, request, &cmi.ListMachinesRequest{ProviderSpec: class.ProviderSpec.Raw, Secrets: secret.Data})
		return &cmi.ListMachinesResponse{MachineList: machines}, nil
	}
	response, err := r.start(t).ListMachines(t.Context(), &driver.ListMachinesRequest{MachineClass: class, Secret: secret})
	requireEqual(t, err, nil)
	if !reflect.DeepEqual(response.MachineList, machines) {
		t.Errorf("these %d machines are not those that the driver listed", len(response.MachineList))
	}
}

func TestGetVolumeIDsForwardsPersistentVolumes(t *testing.T) {
	volumes := []*corev1.PersistentVolumeSpec{{
		PersistentVolumeSource: corev1.PersistentVolumeSource{
			CSI: &corev1.CSIPersistentVolumeSource{Driver: "csi.test", VolumeHandle: "v1"},
		},
	}}
	r := &remote{capabilities: everything}
	r.volumes = func(_ context.Context, request *cmi.GetVolumeIDsRequest) (*cmi.GetVolumeIDsResponse, error) {
		var got []*corev1.PersistentVolumeSpec
		requireEqual(t, json.Unmarshal(request.GetPVSpecList(), &got), nil)
		requireEqual(t, got, volumes)
		return &cmi.GetVolumeIDsResponse{VolumeIDs: []string{"v1"}}, nil
	}
	response, err := r.start(t).GetVolumeIDs(t.Context(), &driver.GetVolumeIDsRequest{PVSpecs: volumes})
	requireEqual(t, err, nil)
	requireEqual(t, response, &driver.GetVolumeIDsResponse{VolumeIDs: []string{"v1"}})
}

func TestNoVolumesAreAnEmptyList(t *testing.T) {
	r := &remote{capabilities: everything}
	r.volumes = func(_ context.Context, request *cmi.GetVolumeIDsRequest) (*cmi.GetVolumeIDsResponse, error) {
		requireEqual(t, string(request.GetPVSpecList()), "[]")
		return &cmi.GetVolumeIDsResponse{}, nil
	}
	response, err := r.start(t).GetVolumeIDs(t.Context(), &driver.GetVolumeIDsRequest{})
	requireEqual(t, err, nil)
	requireEqual(t, len(response.VolumeIDs), 0)
}

func TestMissingCapabilityIsUnimplementedWithoutACall(t *testing.T) {
	r := &remote{capabilities: everything[:2]}
	d := r.start(t)
	calls := map[string]func() error{
		"INITIALIZE_MACHINE": func() error {
			_, err := d.InitializeMachine(t.Context(), &driver.InitializeMachineRequest{Machine: machine, MachineClass: class, Secret: secret})
			return err
		},
		"GET_MACHINE_STATUS": func() error {
			_, err := d.GetMachineStatus(t.Context(), &driver.GetMachineStatusRequest{Machine: machine, MachineClass: class, Secret: secret})
			return err
		},
		"LIST_MACHINES": func() error {
			_, err := d.ListMachines(t.Context(), &driver.ListMachinesRequest{MachineClass: class, Secret: secret})
			return err
		},
		"GET_VOLUME_IDS": func() error {
			_, err := d.GetVolumeIDs(t.Context(), &driver.GetVolumeIDsRequest{})
			return err
		},
	}
	for name, call := range calls {
		err := call()
		requireEqual(t, codeOf(err), codes.Unimplemented)
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
	requireEqual(t, r.machineCalls.Load(), int64(0))
}

func TestEveryCallHasADeadline(t *testing.T) {
	ended, release := make(chan error, 1), make(chan struct{})
	defer close(release)
	r := &remote{capabilities: everything}
	r.create = func(ctx context.Context, _ *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
		<-ctx.Done()
		ended <- ctx.Err()
		<-release // so that the caller gives up before the answer
		return nil, ctx.Err()
	}
	d := r.start(t, func(o *Options) { o.Timeout = 200 * time.Millisecond })
	_, err := createOne(t.Context(), d)
	requireEqual(t, codeOf(err), codes.DeadlineExceeded)
	if !strings.Contains(err.Error(), "did not answer within 200ms") {
		t.Error(err)
	}
	if <-ended == nil {
		t.Error("the driver's context did not end")
	}
}

func TestFiftyCallsAtOnceShareOneConnection(t *testing.T) {
	const many = 50
	var together sync.WaitGroup
	together.Add(many)
	r := &remote{capabilities: everything}
	r.create = func(context.Context, *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
		together.Done()
		together.Wait() // for all calls, so that they are in flight at the same time
		return &cmi.CreateMachineResponse{}, nil
	}
	listener := onLoopback(t)
	r.serve(t, listener)
	createMany(t, dial(t, listener), many)
	requireEqual(t, listener.accepted.Load(), int64(1))
}

func TestCallsAreMeasured(t *testing.T) {
	metrics.DriverAPIRequestDuration.Reset()
	metrics.DriverFailedAPIRequests.Reset()
	answers := []error{nil, errors.New("broken"), errors.New("broken")}
	r := &remote{capabilities: everything}
	r.create = func(context.Context, *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
		answer := answers[0]
		answers = answers[1:]
		return &cmi.CreateMachineResponse{}, answer
	}
	d := r.start(t)
	for range 3 {
		_, _ = createOne(t.Context(), d)
	}
	failed := metrics.DriverFailedAPIRequests.WithLabelValues("test.example", "create_machine", "2")
	requireEqual(t, testutil.ToFloat64(failed), 2.0)
	requireEqual(t, testutil.CollectAndCount(metrics.DriverAPIRequestDuration), 1)
}

func TestCallsThatDoNotReachTheDriverAreCounted(t *testing.T) {
	metrics.DriverFailedAPIRequests.Reset()
	r := &remote{capabilities: everything[1:]}
	listener := onLoopback(t)
	server := r.serve(t, listener)
	d := dial(t, listener)
	other := &v1alpha1.MachineClass{Provider: "another"}
	_, err := d.ListMachines(t.Context(), &driver.ListMachinesRequest{MachineClass: other, Secret: secret})
	requireEqual(t, codeOf(err), codes.InvalidArgument)
	_, err = createOne(t.Context(), d)
	requireEqual(t, codeOf(err), codes.Unimplemented)
	server.Stop()
	_, err = deleteOne(t.Context(), d)
	requireEqual(t, codeOf(err), codes.Unavailable)
	for operation, code := range map[string]string{"list_machines": "3", "delete_machine": "14"} {
		failed := metrics.DriverFailedAPIRequests.WithLabelValues("test.example", operation, code)
		requireEqual(t, testutil.ToFloat64(failed), 1.0)
	}
	requireEqual(t, testutil.CollectAndCount(metrics.DriverFailedAPIRequests), 2)
}
