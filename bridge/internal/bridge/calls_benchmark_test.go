package bridge

import (
	"context"
	"testing"

	"github.com/ORG/mcm-provider-template/bridge/internal/cmi"
)

// BenchmarkCreateMachine measures a call through the bridge and gRPC, with both ends in this process:
//
//	go test -run '^$' -bench CreateMachine -benchmem -memprofile /tmp/mem ./internal/bridge
func BenchmarkCreateMachine(b *testing.B) {
	r := &remote{capabilities: everything}
	r.create = func(_ context.Context, request *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
		return &cmi.CreateMachineResponse{ProviderID: "test:///" + request.GetMachineName(), NodeName: request.GetMachineName()}, nil
	}
	d := r.start(b)
	for b.Loop() {
		if _, err := createOne(b.Context(), d); err != nil {
			b.Fatal(err)
		}
	}
}
