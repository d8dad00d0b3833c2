package bridge

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ORG/mcm-provider-template/bridge/internal/cmi"
)

// patience is how long a test waits for something that must happen.
const patience = time.Minute

var everything = []capability{
	cmi.PluginCapability_RPC_CREATE_MACHINE,
	cmi.PluginCapability_RPC_DELETE_MACHINE,
	cmi.PluginCapability_RPC_GET_MACHINE_STATUS,
	cmi.PluginCapability_RPC_LIST_MACHINES,
	cmi.PluginCapability_RPC_GET_VOLUME_IDS,
	cmi.PluginCapability_RPC_INITIALIZE_MACHINE,
}

// remote is a driver at an endpoint. Its methods call the functions that a test has set, and count the calls.
type remote struct {
	cmi.UnimplementedIdentityServer
	cmi.UnimplementedMachineServer
	capabilities  []capability
	probe         func() (*cmi.ProbeResponse, error)
	info          func() error
	create        func(context.Context, *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error)
	delete        func(context.Context, *cmi.DeleteMachineRequest) (*cmi.DeleteMachineResponse, error)
	status        func(context.Context, *cmi.GetMachineStatusRequest) (*cmi.GetMachineStatusResponse, error)
	list          func(context.Context, *cmi.ListMachinesRequest) (*cmi.ListMachinesResponse, error)
	initialize    func(context.Context, *cmi.InitializeMachineRequest) (*cmi.InitializeMachineResponse, error)
	volumes       func(context.Context, *cmi.GetVolumeIDsRequest) (*cmi.GetVolumeIDsResponse, error)
	manifest      map[string]string
	machineCalls  atomic.Int64
	identityCalls atomic.Int64
}

func (r *remote) GetPluginInfo(context.Context, *cmi.GetPluginInfoRequest) (*cmi.GetPluginInfoResponse, error) {
	r.identityCalls.Add(1)
	if r.info != nil {
		if err := r.info(); err != nil {
			return nil, err
		}
	}
	return &cmi.GetPluginInfoResponse{Name: "test.example", Version: "1.2.3", Manifest: r.manifest}, nil
}

func (r *remote) GetPluginCapabilities(context.Context, *cmi.GetPluginCapabilitiesRequest) (*cmi.GetPluginCapabilitiesResponse, error) {
	r.identityCalls.Add(1)
	answer := &cmi.GetPluginCapabilitiesResponse{}
	for _, one := range r.capabilities {
		answer.Capabilities = append(answer.Capabilities, &cmi.PluginCapability{
			Type: &cmi.PluginCapability_Rpc{Rpc: &cmi.PluginCapability_RPC{Type: one}},
		})
	}
	return answer, nil
}

func (r *remote) Probe(context.Context, *cmi.ProbeRequest) (*cmi.ProbeResponse, error) {
	r.identityCalls.Add(1)
	if r.probe != nil {
		return r.probe()
	}
	return &cmi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil
}

func (r *remote) CreateMachine(ctx context.Context, request *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
	r.machineCalls.Add(1)
	return r.create(ctx, request)
}

func (r *remote) DeleteMachine(ctx context.Context, request *cmi.DeleteMachineRequest) (*cmi.DeleteMachineResponse, error) {
	r.machineCalls.Add(1)
	return r.delete(ctx, request)
}

func (r *remote) GetMachineStatus(ctx context.Context, request *cmi.GetMachineStatusRequest) (*cmi.GetMachineStatusResponse, error) {
	r.machineCalls.Add(1)
	return r.status(ctx, request)
}

func (r *remote) InitializeMachine(ctx context.Context, request *cmi.InitializeMachineRequest) (*cmi.InitializeMachineResponse, error) {
	r.machineCalls.Add(1)
	return r.initialize(ctx, request)
}

func (r *remote) ListMachines(ctx context.Context, request *cmi.ListMachinesRequest) (*cmi.ListMachinesResponse, error) {
	r.machineCalls.Add(1)
	return r.list(ctx, request)
}

func (r *remote) GetVolumeIDs(ctx context.Context, request *cmi.GetVolumeIDsRequest) (*cmi.GetVolumeIDsResponse, error) {
	r.machineCalls.Add(1)
	return r.volumes(ctx, request)
}

// counting counts the connections that a listener accepts.
type counting struct {
	net.Listener
	accepted atomic.Int64
}

func (c *counting) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.accepted.Add(1)
	}
	return conn, err
}

// serve serves a driver until the end of the test, or until the returned server is stopped.
func (r *remote) serve(t testing.TB, listener net.Listener, options ...grpc.ServerOption) *grpc.Server {
	t.Helper()
	server := grpc.NewServer(options...)
	cmi.RegisterIdentityServer(server, r)
	cmi.RegisterMachineServer(server, r)
	var served sync.WaitGroup
	served.Go(func() {
		if err := server.Serve(listener); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		server.Stop()
		served.Wait()
	})
	return server
}

func listen(t testing.TB, network, address string) *counting {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return &counting{Listener: listener}
}

func onLoopback(t testing.TB) *counting {
	t.Helper()
	return listen(t, "tcp", "127.0.0.1:0")
}

func onSocket(t *testing.T) (*counting, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cmi.sock")
	return listen(t, "unix", path), "unix://" + path
}

// dial returns a driver that forwards to the listener, with the defaults and the given changes to the options.
func dial(t testing.TB, listener net.Listener, change ...func(*Options)) *Driver {
	t.Helper()
	options := NewOptions()
	options.Endpoint = "tcp://" + listener.Addr().String()
	for _, apply := range change {
		apply(&options)
	}
	driver, err := Dial(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := driver.connection.Close(); err != nil {
			t.Error(err)
		}
	})
	return driver
}

// start serves a driver on loopback, and returns a driver that forwards to it.
func (r *remote) start(t testing.TB, change ...func(*Options)) *Driver {
	t.Helper()
	listener := onLoopback(t)
	r.serve(t, listener)
	return dial(t, listener, change...)
}
