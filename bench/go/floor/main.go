// Command floor is the smallest driver in Go: it decodes a call, parses its provider spec, and answers.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"mcm-provider-template/bench/cmi"
)

type spec struct {
	Region      string            `json:"region"`
	MachineType string            `json:"machineType"`
	Image       string            `json:"image"`
	Tags        map[string]string `json:"tags"`
	Disks       []struct {
		Name    string `json:"name"`
		SizeGiB int    `json:"sizeGiB"`
		Type    string `json:"type"`
	} `json:"disks"`
	Network struct {
		Subnet         string   `json:"subnet"`
		SecurityGroups []string `json:"securityGroups"`
	} `json:"network"`
}

type driver struct {
	cmi.UnimplementedMachineServer
}

func (driver) CreateMachine(
	_ context.Context, request *cmi.CreateMachineRequest,
) (*cmi.CreateMachineResponse, error) {
	if err := check(request.ProviderSpec); err != nil {
		return nil, err
	}
	return &cmi.CreateMachineResponse{ProviderID: "noop:///" + request.MachineName, NodeName: request.MachineName}, nil
}

func (driver) GetMachineStatus(
	_ context.Context, request *cmi.GetMachineStatusRequest,
) (*cmi.GetMachineStatusResponse, error) {
	if err := check(request.ProviderSpec); err != nil {
		return nil, err
	}
	return &cmi.GetMachineStatusResponse{ProviderID: "noop:///" + request.MachineName, NodeName: request.MachineName}, nil
}

func (driver) ListMachines(
	_ context.Context, request *cmi.ListMachinesRequest,
) (*cmi.ListMachinesResponse, error) {
	if err := check(request.ProviderSpec); err != nil {
		return nil, err
	}
	return &cmi.ListMachinesResponse{MachineList: map[string]string{"noop:///m-1": "m-1"}}, nil
}

func check(providerSpec []byte) error {
	var parsed spec
	if err := json.Unmarshal(providerSpec, &parsed); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	return nil
}

func main() {
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	server := grpc.NewServer()
	cmi.RegisterMachineServer(server, driver{})
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	fmt.Fprintf(os.Stderr, "{\"message\": \"serving\", \"endpoint\": \"tcp://%s\"}\n", listener.Addr())
	if err := server.Serve(listener); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
