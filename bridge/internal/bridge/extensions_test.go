package bridge

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gardener/machine-controller-manager/pkg/util/provider/driver"
	"github.com/gardener/machine-controller-manager/pkg/util/provider/machinecodes/codes"
	"google.golang.org/grpc"
	grpccodes "google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"

	"github.com/ORG/mcm-provider-template/bridge/internal/cmi"
)

var (
	sent      = []*cmi.NodeAddress{{Type: "InternalIP", Address: "10.0.0.1"}, {Type: "ExternalIP", Address: "192.0.2.1"}}
	addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.1"}, {Type: corev1.NodeExternalIP, Address: "192.0.2.1"}}
)

func statusOf(ctx context.Context, d *Driver) (*driver.GetMachineStatusResponse, error) {
	return d.GetMachineStatus(ctx, &driver.GetMachineStatusRequest{Machine: machine, MachineClass: class, Secret: secret})
}

func TestInitializeMachineForwardsEveryField(t *testing.T) {
	r := &remote{capabilities: everything}
	r.initialize = func(_ context.Context, request *cmi.InitializeMachineRequest) (*cmi.InitializeMachineResponse, error) {
		requireEqual(t, request, &cmi.InitializeMachineRequest{
			MachineName: "m1", ProviderSpec: class.ProviderSpec.Raw, Secrets: secret.Data, ProviderID: "test:///m1",
		})
		return &cmi.InitializeMachineResponse{ProviderID: "test:///m1", NodeName: "n1", Addresses: sent}, nil
	}
	response, err := r.start(t).InitializeMachine(t.Context(),
		&driver.InitializeMachineRequest{Machine: machine, MachineClass: class, Secret: secret})
	requireEqual(t, err, nil)
	requireEqual(t, response, &driver.InitializeMachineResponse{ProviderID: "test:///m1", NodeName: "n1", Addresses: addresses})
}

func TestAddressesAreForwarded(t *testing.T) {
	r := &remote{capabilities: everything}
	r.create = func(context.Context, *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
		return &cmi.CreateMachineResponse{Addresses: sent}, nil
	}
	r.status = func(context.Context, *cmi.GetMachineStatusRequest) (*cmi.GetMachineStatusResponse, error) {
		return &cmi.GetMachineStatusResponse{Addresses: sent}, nil
	}
	d := r.start(t)
	created, err := createOne(t.Context(), d)
	requireEqual(t, err, nil)
	requireEqual(t, created.Addresses, addresses)
	found, err := statusOf(t.Context(), d)
	requireEqual(t, err, nil)
	requireEqual(t, found.Addresses, addresses)
}

func TestUninitializedIsReturnedWithTheVM(t *testing.T) {
	r := &remote{capabilities: everything}
	r.status = func(context.Context, *cmi.GetMachineStatusRequest) (*cmi.GetMachineStatusResponse, error) {
		return &cmi.GetMachineStatusResponse{ProviderID: "test:///m1", NodeName: "n1", Uninitialized: true}, nil
	}
	response, err := statusOf(t.Context(), r.start(t))
	requireEqual(t, codeOf(err), codes.Uninitialized)
	requireEqual(t, response, &driver.GetMachineStatusResponse{ProviderID: "test:///m1", NodeName: "n1"})
}

func TestWhatNobodyCanInitializeIsInitialized(t *testing.T) {
	r := &remote{capabilities: everything[:5]}
	r.status = func(context.Context, *cmi.GetMachineStatusRequest) (*cmi.GetMachineStatusResponse, error) {
		return &cmi.GetMachineStatusResponse{ProviderID: "test:///m1", NodeName: "n1", Uninitialized: true}, nil
	}
	_, err := statusOf(t.Context(), r.start(t))
	requireEqual(t, err, nil)
}

func deleteOne(ctx context.Context, d *Driver) (*driver.DeleteMachineResponse, error) {
	return d.DeleteMachine(ctx, &driver.DeleteMachineRequest{Machine: machine, MachineClass: class, Secret: secret})
}

// storableStates are states of a driver, and whether MCM can store them.
var storableStates = map[string]bool{
	"":                                true,
	"disk 7 ✓":                        true,
	"\xff":                            false,
	"with #cloud-config":              false,
	strings.Repeat("x", maxMessage):   true,
	strings.Repeat("x", maxMessage+1): false,
}

func TestAnErrorCarriesTheLastKnownState(t *testing.T) {
	for state, kept := range storableStates {
		fail := func(ctx context.Context) error {
			if err := grpc.SetTrailer(ctx, metadata.Pairs(lastKnownStateKey, state)); err != nil {
				t.Error(err)
			}
			return status.Error(grpccodes.Internal, "broken")
		}
		r := &remote{capabilities: everything}
		r.create = func(ctx context.Context, _ *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
			return nil, fail(ctx)
		}
		r.delete = func(ctx context.Context, _ *cmi.DeleteMachineRequest) (*cmi.DeleteMachineResponse, error) {
			return nil, fail(ctx)
		}
		d := r.start(t)
		ofCreate, ofDelete := "", machine.Status.LastKnownState
		if kept {
			ofCreate, ofDelete = state, state
		}
		created, err := createOne(t.Context(), d)
		requireEqual(t, codeOf(err), codes.Internal)
		requireEqual(t, created.LastKnownState, ofCreate)
		deleted, err := deleteOne(t.Context(), d)
		requireEqual(t, codeOf(err), codes.Internal)
		requireEqual(t, deleted.LastKnownState, ofDelete)
	}
}

func TestADeletionHasNoLastKnownStateThatMCMCanNotStore(t *testing.T) {
	for state, kept := range storableStates {
		r := &remote{capabilities: everything}
		r.delete = func(context.Context, *cmi.DeleteMachineRequest) (*cmi.DeleteMachineResponse, error) {
			return &cmi.DeleteMachineResponse{LastKnownState: []byte(state)}, nil
		}
		want := machine.Status.LastKnownState
		if kept {
			want = state
		}
		deleted, err := deleteOne(t.Context(), r.start(t))
		requireEqual(t, err, nil)
		requireEqual(t, deleted.LastKnownState, want)
	}
}

// MCM decides by the code whether it keeps a machine's state after a failed creation, but always stores that of a deletion.
func TestAnErrorWithoutAStateKeepsThatOfADeletion(t *testing.T) {
	broken := status.Error(grpccodes.Internal, "broken")
	r := &remote{capabilities: everything}
	r.create = func(context.Context, *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
		return nil, broken
	}
	r.delete = func(context.Context, *cmi.DeleteMachineRequest) (*cmi.DeleteMachineResponse, error) {
		return nil, broken
	}
	d := r.start(t)
	created, err := createOne(t.Context(), d)
	requireEqual(t, codeOf(err), codes.Internal)
	requireEqual(t, created.LastKnownState, "")
	deleted, err := deleteOne(t.Context(), d)
	requireEqual(t, codeOf(err), codes.Internal)
	requireEqual(t, deleted.LastKnownState, machine.Status.LastKnownState)
}

func TestAnOutageLosesNoState(t *testing.T) {
	release := make(chan struct{})
	hanging := &remote{capabilities: everything}
	hanging.create = func(context.Context, *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
		<-release
		return nil, nil
	}
	hanging.delete = func(context.Context, *cmi.DeleteMachineRequest) (*cmi.DeleteMachineResponse, error) {
		<-release
		return nil, nil
	}
	hurry := func(o *Options) { o.Timeout = 200 * time.Millisecond }
	gone := onLoopback(t)
	requireEqual(t, gone.Close(), nil)
	for want, d := range map[codes.Code]*Driver{
		codes.DeadlineExceeded: hanging.start(t, hurry),
		codes.Unavailable:      dial(t, gone),
		codes.Unimplemented:    (&remote{capabilities: everything[2:]}).start(t),
		codes.InvalidArgument:  (&remote{capabilities: everything}).start(t, func(o *Options) { o.Provider = "another" }),
	} {
		created, err := createOne(t.Context(), d)
		requireEqual(t, codeOf(err), want)
		requireEqual(t, created.LastKnownState, machine.Status.LastKnownState)
		deleted, err := deleteOne(t.Context(), d)
		requireEqual(t, codeOf(err), want)
		requireEqual(t, deleted.LastKnownState, machine.Status.LastKnownState)
	}
	close(release)
}
