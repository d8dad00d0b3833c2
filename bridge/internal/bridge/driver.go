// Package bridge is a driver of machine-controller-manager that forwards calls to a driver that speaks the Container
// Machine Interface.
package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gardener/machine-controller-manager/pkg/util/provider/driver"
	"github.com/gardener/machine-controller-manager/pkg/util/provider/machinecodes/codes"
	mcm "github.com/gardener/machine-controller-manager/pkg/util/provider/machinecodes/status"
	"github.com/gardener/machine-controller-manager/pkg/util/provider/metrics"
	"google.golang.org/grpc"
	grpccodes "google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"

	"github.com/ORG/mcm-provider-template/bridge/internal/cmi"
)

// Driver forwards each call to the driver at an endpoint.
type Driver struct {
	endpoint   string
	provider   string
	timeout    time.Duration
	connection *grpc.ClientConn
	changes    *connectionChanges
	identity   cmi.IdentityClient
	machine    cmi.MachineClient
	known      atomic.Pointer[plugin]
	asking     chan struct{}
	calls      calls
	tracing    *tracer
}

var _ driver.Driver = (*Driver)(nil)

// CreateMachine creates the VM of a machine. Like DeleteMachine, it may return a last known state with an error. If the
// driver did not answer, that is the state that the machine had, which MCM would forget after some codes.
func (d *Driver) CreateMachine(ctx context.Context, request *driver.CreateMachineRequest) (*driver.CreateMachineResponse, error) {
	about, before := subject{request.Machine, request.MachineClass, request.Secret}, request.Machine.Status.LastKnownState
	var header, trailer metadata.MD
	response, err := forward(ctx, d, cmi.PluginCapability_RPC_CREATE_MACHINE, d.machine.CreateMachine, about, &cmi.CreateMachineRequest{
		MachineName:    request.Machine.Name,
		ProviderSpec:   request.MachineClass.ProviderSpec.Raw,
		Secrets:        request.Secret.Data,
		LastKnownState: []byte(before),
	}, grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil {
		if len(header)+len(trailer) > 0 { // the driver answered
			before = ""
		}
		return &driver.CreateMachineResponse{LastKnownState: about.lastKnownState(trailer, before)}, err
	}
	return &driver.CreateMachineResponse{
		ProviderID:     response.GetProviderID(),
		NodeName:       response.GetNodeName(),
		LastKnownState: string(response.GetLastKnownState()),
		Addresses:      addressesOf(response),
	}, nil
}

// InitializeMachine does the steps that need an existing VM. It is not called for drivers without it.
func (d *Driver) InitializeMachine(ctx context.Context, request *driver.InitializeMachineRequest) (*driver.InitializeMachineResponse, error) {
	response, err := forward(ctx, d, cmi.PluginCapability_RPC_INITIALIZE_MACHINE, d.machine.InitializeMachine, subject{request.Machine, request.MachineClass, request.Secret}, &cmi.InitializeMachineRequest{
		MachineName:  request.Machine.Name,
		ProviderSpec: request.MachineClass.ProviderSpec.Raw,
		Secrets:      request.Secret.Data,
		ProviderID:   request.Machine.Spec.ProviderID,
	})
	if err != nil {
		return nil, err
	}
	return &driver.InitializeMachineResponse{
		ProviderID: response.GetProviderID(),
		NodeName:   response.GetNodeName(),
		Addresses:  addressesOf(response),
	}, nil
}

// DeleteMachine deletes the VM of a machine. After an error, MCM stores only the state in the response. So without one of
// the driver, that is the state that the machine had.
func (d *Driver) DeleteMachine(ctx context.Context, request *driver.DeleteMachineRequest) (*driver.DeleteMachineResponse, error) {
	about, before := subject{request.Machine, request.MachineClass, request.Secret}, request.Machine.Status.LastKnownState
	var trailer metadata.MD
	response, err := forward(ctx, d, cmi.PluginCapability_RPC_DELETE_MACHINE, d.machine.DeleteMachine, about, &cmi.DeleteMachineRequest{
		MachineName:    request.Machine.Name,
		ProviderSpec:   request.MachineClass.ProviderSpec.Raw,
		Secrets:        request.Secret.Data,
		ProviderID:     request.Machine.Spec.ProviderID,
		LastKnownState: []byte(before),
	}, grpc.Trailer(&trailer))
	if err != nil {
		return &driver.DeleteMachineResponse{LastKnownState: about.lastKnownState(trailer, before)}, err
	}
	return &driver.DeleteMachineResponse{LastKnownState: about.storable(string(response.GetLastKnownState()), before)}, nil
}

// GetMachineStatus looks for the VM of a machine. If the VM is not initialized yet, it returns Uninitialized together
// with the VM's IDs: MCM reads both, and then calls InitializeMachine.
func (d *Driver) GetMachineStatus(ctx context.Context, request *driver.GetMachineStatusRequest) (*driver.GetMachineStatusResponse, error) {
	response, err := forward(ctx, d, cmi.PluginCapability_RPC_GET_MACHINE_STATUS, d.machine.GetMachineStatus, subject{request.Machine, request.MachineClass, request.Secret}, &cmi.GetMachineStatusRequest{
		MachineName:  request.Machine.Name,
		ProviderSpec: request.MachineClass.ProviderSpec.Raw,
		Secrets:      request.Secret.Data,
		ProviderID:   request.Machine.Spec.ProviderID,
	})
	if err != nil {
		return nil, err
	}
	answer := &driver.GetMachineStatusResponse{
		ProviderID: response.GetProviderID(),
		NodeName:   response.GetNodeName(),
		Addresses:  addressesOf(response),
	}
	// Without InitializeMachine, this would never change, and MCM would ask for ever.
	if response.GetUninitialized() && d.known.Load().has(cmi.PluginCapability_RPC_INITIALIZE_MACHINE) {
		return answer, mcm.Error(codes.Uninitialized, fmt.Sprintf("the VM of machine %s is not initialized yet", request.Machine.Name))
	}
	return answer, nil
}

// ListMachines lists the VMs of the machine class's cluster.
func (d *Driver) ListMachines(ctx context.Context, request *driver.ListMachinesRequest) (*driver.ListMachinesResponse, error) {
	response, err := forward(ctx, d, cmi.PluginCapability_RPC_LIST_MACHINES, d.machine.ListMachines, subject{nil, request.MachineClass, request.Secret}, &cmi.ListMachinesRequest{
		ProviderSpec: request.MachineClass.ProviderSpec.Raw,
		Secrets:      request.Secret.Data,
	})
	if err != nil {
		return nil, err
	}
	return &driver.ListMachinesResponse{MachineList: response.GetMachineList()}, nil
}

// GetVolumeIDs returns the IDs of the provider's volumes.
func (d *Driver) GetVolumeIDs(ctx context.Context, request *driver.GetVolumeIDsRequest) (*driver.GetVolumeIDsResponse, error) {
	volumes, err := json.Marshal(append([]*corev1.PersistentVolumeSpec{}, request.PVSpecs...)) // an empty list is [], not null
	if err != nil {
		return nil, mcm.Error(codes.Internal, parseable(err.Error()))
	}
	response, err := forward(ctx, d, cmi.PluginCapability_RPC_GET_VOLUME_IDS, d.machine.GetVolumeIDs, subject{}, &cmi.GetVolumeIDsRequest{PVSpecList: volumes})
	if err != nil {
		return nil, err
	}
	return &driver.GetVolumeIDsResponse{VolumeIDs: response.GetVolumeIDs()}, nil
}

// forward calls an RPC that the driver announces, within the timeout, and records the result. It refuses a machine class
// of another provider; only GetVolumeIDs has no class. The message of an error contains none of the secrets.
func forward[Request, Response any](
	ctx context.Context,
	d *Driver,
	wanted capability,
	rpc func(context.Context, *Request, ...grpc.CallOption) (*Response, error),
	about subject,
	request *Request,
	options ...grpc.CallOption,
) (*Response, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	operation := strings.ToLower(wanted.String())
	fail := func(err error) (*Response, error) {
		failure := d.translate(ctx, err, about)
		metrics.DriverFailedAPIRequests.WithLabelValues(d.known.Load().name, operation, strconv.Itoa(int(failure.Code()))).Inc()
		return nil, failure
	}
	if err := d.calls.begin(ctx); err != nil {
		return fail(err)
	}
	defer d.calls.end()
	plugin, err := d.plugin(ctx)
	if err != nil {
		return fail(unidentified(err))
	}
	if !plugin.has(wanted) {
		// A driver may lack a capability, and MCM asks for it again and again: this is no failure.
		return nil, mcm.Error(codes.Unimplemented, fmt.Sprintf("the driver %s does not have the capability %s", plugin.name, wanted))
	}
	if about.class != nil {
		if problem := plugin.wrongProvider(about.class); problem != "" {
			return fail(status.Error(grpccodes.InvalidArgument, problem))
		}
	}
	start := time.Now()
	response, err := rpc(ctx, request, options...)
	if err != nil {
		return fail(err)
	}
	metrics.DriverAPIRequestDuration.WithLabelValues(plugin.name, operation).Observe(time.Since(start).Seconds())
	return response, nil
}
