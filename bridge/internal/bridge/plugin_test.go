package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/gardener/machine-controller-manager/pkg/util/provider/driver"
	mcmcodes "github.com/gardener/machine-controller-manager/pkg/util/provider/machinecodes/codes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ORG/mcm-provider-template/bridge/internal/cmi"
)

func TestWaitsUntilTheDriverIsReady(t *testing.T) {
	answers := []struct {
		response *cmi.ProbeResponse
		err      error
	}{
		{nil, status.Error(codes.FailedPrecondition, "the cloud does not answer")},
		{&cmi.ProbeResponse{Ready: wrapperspb.Bool(false)}, nil},
		{&cmi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil},
	}
	var asked atomic.Int64
	r := &remote{capabilities: everything}
	r.probe = func() (*cmi.ProbeResponse, error) {
		answer := answers[asked.Add(1)-1]
		return answer.response, answer.err
	}
	requireEqual(t, r.start(t).AwaitReady(t.Context()), nil)
	requireEqual(t, asked.Load(), int64(len(answers)))
}

func TestDriverThatDoesNotSayWhetherItIsReadyIsReady(t *testing.T) {
	r := &remote{capabilities: everything}
	r.probe = func() (*cmi.ProbeResponse, error) { return &cmi.ProbeResponse{}, nil }
	requireEqual(t, r.start(t).AwaitReady(t.Context()), nil)
}

func TestWaitsForADriverThatStartsLater(t *testing.T) {
	listener := onLoopback(t)
	address := listener.Addr().String()
	requireEqual(t, listener.Close(), nil)
	d := dial(t, listener)
	ready := make(chan error)
	go func() { ready <- d.AwaitReady(t.Context()) }()
	_, err := createOne(t.Context(), d)
	if err == nil {
		t.Fatal("the driver can't be ready before it listens")
	}
	r := &remote{capabilities: everything}
	r.serve(t, listen(t, "tcp", address))
	requireEqual(t, <-ready, nil)
}

func TestWaitCanBeGivenUp(t *testing.T) {
	asked := make(chan struct{}, 1)
	r := &remote{capabilities: everything}
	r.probe = func() (*cmi.ProbeResponse, error) {
		asked <- struct{}{}
		return &cmi.ProbeResponse{Ready: wrapperspb.Bool(false)}, nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	if err := r.start(t).AwaitReady(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestADriverIsAskedWhoItIsOnceAndThenOnlyWhatMCMAsks(t *testing.T) {
	r := &remote{capabilities: everything}
	r.create = func(context.Context, *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
		return &cmi.CreateMachineResponse{}, nil
	}
	r.delete = func(context.Context, *cmi.DeleteMachineRequest) (*cmi.DeleteMachineResponse, error) {
		return &cmi.DeleteMachineResponse{}, nil
	}
	r.status = func(context.Context, *cmi.GetMachineStatusRequest) (*cmi.GetMachineStatusResponse, error) {
		return &cmi.GetMachineStatusResponse{}, nil
	}
	r.list = func(context.Context, *cmi.ListMachinesRequest) (*cmi.ListMachinesResponse, error) {
		return &cmi.ListMachinesResponse{}, nil
	}
	r.initialize = func(context.Context, *cmi.InitializeMachineRequest) (*cmi.InitializeMachineResponse, error) {
		return &cmi.InitializeMachineResponse{}, nil
	}
	r.volumes = func(context.Context, *cmi.GetVolumeIDsRequest) (*cmi.GetVolumeIDsResponse, error) {
		return &cmi.GetVolumeIDsResponse{}, nil
	}
	d := r.start(t)
	requireEqual(t, d.AwaitReady(t.Context()), nil)
	calls := []func(context.Context) error{
		func(ctx context.Context) error {
			_, err := createOne(ctx, d)
			return err
		},
		func(ctx context.Context) error {
			_, err := d.DeleteMachine(ctx, &driver.DeleteMachineRequest{Machine: machine, MachineClass: class, Secret: secret})
			return err
		},
		func(ctx context.Context) error {
			_, err := d.GetMachineStatus(ctx, &driver.GetMachineStatusRequest{Machine: machine, MachineClass: class, Secret: secret})
			return err
		},
		func(ctx context.Context) error {
			_, err := d.ListMachines(ctx, &driver.ListMachinesRequest{MachineClass: class, Secret: secret})
			return err
		},
		func(ctx context.Context) error {
			_, err := d.InitializeMachine(ctx, &driver.InitializeMachineRequest{Machine: machine, MachineClass: class, Secret: secret})
			return err
		},
		func(ctx context.Context) error {
			_, err := d.GetVolumeIDs(ctx, &driver.GetVolumeIDsRequest{})
			return err
		},
	}
	for range 2 {
		for _, call := range calls {
			requireEqual(t, call(t.Context()), nil)
		}
	}
	requireEqual(t, r.machineCalls.Load(), int64(2*len(calls)))
	requireEqual(t, r.identityCalls.Load(), int64(3)) // Probe, GetPluginInfo and GetPluginCapabilities
}

func TestOneOfManyCallsAsksWhoTheDriverIs(t *testing.T) {
	const many = 100
	var d *Driver
	r := &remote{capabilities: everything, create: made}
	r.info = func() error {
		await(t, func() error {
			d.calls.mutex.Lock()
			defer d.calls.mutex.Unlock()
			if d.calls.count < many {
				return fmt.Errorf("only %d calls have begun", d.calls.count)
			}
			return nil
		})
		return nil
	}
	d = r.start(t)
	createMany(t, d, many)
	requireEqual(t, r.identityCalls.Load(), int64(2)) // GetPluginInfo and GetPluginCapabilities
}

func TestACallThatWaitsForAnotherToAskCanEnd(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	r := &remote{capabilities: everything, create: made}
	r.info = func() error {
		close(asked)
		<-release
		return nil
	}
	d := r.start(t)
	created := creating(t.Context(), d)
	<-asked
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := createOne(ended, d)
	requireEqual(t, codeOf(err), mcmcodes.Unavailable)
	close(release)
	requireEqual(t, <-created, nil)
}
