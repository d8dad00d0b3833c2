package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gardener/machine-controller-manager/pkg/util/provider/driver"
	"github.com/gardener/machine-controller-manager/pkg/util/provider/machinecodes/codes"
	"github.com/gardener/machine-controller-manager/pkg/util/provider/machinecodes/status"
	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	clusterPrefix = "kubernetes.io/cluster/"
	rolePrefix    = "kubernetes.io/role/"
	idPrefix      = "bench:///"
)

// A wait reads the instance again after one second at first, and later every five seconds.
const (
	firstPause   = time.Second
	pauseGrowth  = 1.5
	longestPause = 5 * time.Second
	pauseJitter  = 0.2
)

// nativeDriver creates an instance for each machine.
type nativeDriver struct {
	client     *client
	waits      bool
	throttling codes.Code
}

var _ driver.Driver = (*nativeDriver)(nil)

// CreateMachine launches an instance. With the same token, a repeated call launches no second one.
func (d *nativeDriver) CreateMachine(ctx context.Context, request *driver.CreateMachineRequest) (*driver.CreateMachineResponse, error) {
	scope, err := scopeOf(request.MachineClass.ProviderSpec.Raw)
	if err != nil {
		return nil, err
	}
	name := request.Machine.Name
	tags := maps.Clone(scope)
	tags["Name"] = name
	made, err := d.client.run(ctx, string(request.Machine.UID), tags)
	if err != nil {
		return nil, d.translate(err)
	}
	wanted := []string{"pending", "running"}
	if d.waits {
		wanted = []string{"running"}
	}
	if err := d.await(ctx, made, wanted...); err != nil {
		return nil, d.translate(err)
	}
	return &driver.CreateMachineResponse{ProviderID: idPrefix + made.ID, NodeName: name}, nil
}

// InitializeMachine has nothing to do.
func (*nativeDriver) InitializeMachine(context.Context, *driver.InitializeMachineRequest) (*driver.InitializeMachineResponse, error) {
	return nil, status.Error(codes.Unimplemented, "there is nothing to initialize")
}

// DeleteMachine terminates the instance.
func (d *nativeDriver) DeleteMachine(ctx context.Context, request *driver.DeleteMachineRequest) (*driver.DeleteMachineResponse, error) {
	ids, err := d.ids(ctx, request)
	if err != nil || len(ids) == 0 {
		return &driver.DeleteMachineResponse{}, err
	}
	terminating, err := d.client.terminate(ctx, ids)
	if err != nil {
		return nil, d.translate(err)
	}
	if d.waits {
		for _, each := range terminating {
			if err := d.await(ctx, each, "terminated"); err != nil {
				return nil, d.translate(err)
			}
		}
	}
	return &driver.DeleteMachineResponse{}, nil
}

// ids returns the IDs of the machine's instances. The cloud is asked for them only if MCM does not know the ID.
func (d *nativeDriver) ids(ctx context.Context, request *driver.DeleteMachineRequest) ([]string, error) {
	if id, ok := strings.CutPrefix(request.Machine.Spec.ProviderID, idPrefix); ok {
		return []string{id}, nil
	}
	named, err := d.named(ctx, request.MachineClass.ProviderSpec.Raw, request.Machine.Name)
	var ids []string
	for _, each := range named {
		if each.State != "terminated" {
			ids = append(ids, each.ID)
		}
	}
	return ids, err
}

// GetMachineStatus finds the instance. A driver that waits does not report an instance that is still pending: MCM then
// calls CreateMachine, which waits for it.
func (d *nativeDriver) GetMachineStatus(ctx context.Context, request *driver.GetMachineStatusRequest) (*driver.GetMachineStatusResponse, error) {
	name := request.Machine.Name
	found, err := d.found(ctx, request.MachineClass.ProviderSpec.Raw, name, request.Machine.Spec.ProviderID)
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, status.Error(codes.NotFound, fmt.Sprintf("machine %s has no instance", name))
	case len(found) > 1:
		return nil, status.Error(codes.OutOfRange, fmt.Sprintf("machine %s has %d instances", name, len(found)))
	}
	return &driver.GetMachineStatusResponse{ProviderID: idPrefix + found[0].ID, NodeName: name}, nil
}

// ListMachines lists the instances of the cluster.
func (d *nativeDriver) ListMachines(ctx context.Context, request *driver.ListMachinesRequest) (*driver.ListMachinesResponse, error) {
	scope, err := scopeOf(request.MachineClass.ProviderSpec.Raw)
	if err != nil {
		return nil, err
	}
	found, err := d.client.find(ctx, scope)
	if err != nil {
		return nil, d.translate(err)
	}
	machines := map[string]string{}
	for _, each := range found {
		if each.State == "pending" || each.State == "running" {
			machines[idPrefix+each.ID] = each.Tags["Name"]
		}
	}
	return &driver.ListMachinesResponse{MachineList: machines}, nil
}

// GetVolumeIDs returns nothing, since the cloud has no volumes.
func (*nativeDriver) GetVolumeIDs(context.Context, *driver.GetVolumeIDsRequest) (*driver.GetVolumeIDsResponse, error) {
	return &driver.GetVolumeIDsResponse{}, nil
}

// found returns the machine's instances that exist. It finds them by the ID, or by the name until MCM knows the ID.
func (d *nativeDriver) found(ctx context.Context, spec []byte, name, providerID string) ([]instance, error) {
	var found []instance
	var err error
	if id, ok := strings.CutPrefix(providerID, idPrefix); ok {
		if found, err = d.client.get(ctx, id); err != nil {
			err = d.translate(err)
		}
	} else {
		found, err = d.named(ctx, spec, name)
	}
	return slices.DeleteFunc(found, func(each instance) bool {
		return each.State != "running" && (d.waits || each.State != "pending")
	}), err
}

// named returns the instances that have the machine's name.
func (d *nativeDriver) named(ctx context.Context, spec []byte, name string) ([]instance, error) {
	tags, err := scopeOf(spec)
	if err != nil {
		return nil, err
	}
	tags["Name"] = name
	found, err := d.client.find(ctx, tags)
	if err != nil {
		return nil, d.translate(err)
	}
	return found, nil
}

// await waits until an instance, as the cloud has just returned it, is in one of these states.
func (d *nativeDriver) await(ctx context.Context, current instance, states ...string) error {
	for pause := firstPause; !slices.Contains(states, current.State); pause = min(time.Duration(float64(pause)*pauseGrowth), longestPause) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait.Jitter(pause, pauseJitter)):
		}
		found, err := d.client.get(ctx, current.ID)
		if err != nil && !errors.Is(err, errThrottled) { // after throttling, it looks again
			return err
		}
		if len(found) == 1 {
			current = found[0]
		}
	}
	return nil
}

func (d *nativeDriver) translate(err error) error {
	code := codes.Internal
	switch {
	case errors.Is(err, errThrottled):
		code = d.throttling
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	}
	return status.Error(code, err.Error())
}

// scopeOf returns the two tags that distinguish a cluster's instances from all others.
func scopeOf(providerSpec []byte) (map[string]string, error) {
	var spec struct {
		Tags map[string]string `json:"tags"`
	}
	if err := json.Unmarshal(providerSpec, &spec); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	scope := map[string]string{}
	for key, value := range spec.Tags {
		if strings.HasPrefix(key, clusterPrefix) || strings.HasPrefix(key, rolePrefix) {
			scope[key] = value
		}
	}
	if len(scope) != 2 {
		return nil, status.Error(codes.InvalidArgument, "the two tags of the cluster and the role are not there")
	}
	return scope, nil
}
