package bridge

import (
	"context"
	"testing"

	"github.com/gardener/machine-controller-manager/pkg/util/provider/machinecodes/codes"
	mcm "github.com/gardener/machine-controller-manager/pkg/util/provider/machinecodes/status"
	grpccodes "google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ORG/mcm-provider-template/bridge/internal/cmi"
)

// failing returns a driver whose CreateMachine always fails with that error.
func failing(t *testing.T, code grpccodes.Code, message string) *Driver {
	r := &remote{capabilities: everything}
	r.create = func(context.Context, *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
		return nil, status.Error(code, message)
	}
	return r.start(t)
}

func TestCodesOfGRPCAreThoseOfMCM(t *testing.T) {
	for code := grpccodes.Canceled; code <= grpccodes.Unauthenticated; code++ {
		t.Run(code.String(), func(t *testing.T) {
			_, err := createOne(t.Context(), failing(t, code, "why it failed"))
			failure, ok := mcm.FromError(err)
			requireEqual(t, ok, true)
			requireEqual(t, failure.Code(), codes.Code(code))
			requireEqual(t, failure.Message(), "why it failed")
		})
	}
}

func TestUninitializedAndUnknownCodesAreNeverSent(t *testing.T) {
	for _, code := range []grpccodes.Code{17, 18, 4711} {
		_, err := createOne(t.Context(), failing(t, code, "odd"))
		requireEqual(t, codeOf(err), codes.Unknown)
	}
}

func TestAnErrorOfIdentityHasNoMeaningForTheMachine(t *testing.T) {
	for code := grpccodes.Canceled; code <= grpccodes.Unauthenticated; code++ {
		r := &remote{info: func() error { return status.Error(code, "who knows") }}
		want, message := codes.Unavailable, "the driver did not say who it is: "+code.String()+": who knows"
		if code == grpccodes.Unavailable || code == grpccodes.DeadlineExceeded {
			want, message = codes.Code(code), "who knows"
		}
		_, err := deleteOne(t.Context(), r.start(t))
		failure, _ := mcm.FromError(err)
		requireEqual(t, failure.Code(), want)
		requireEqual(t, failure.Message(), message)
	}
}

func TestErrorWithoutMessageGetsOne(t *testing.T) {
	_, err := createOne(t.Context(), failing(t, grpccodes.Internal, ""))
	failure, _ := mcm.FromError(err)
	requireEqual(t, failure.Message(), "the driver gave no reason")
}

func TestBracketsSurviveMCM(t *testing.T) {
	for message, want := range map[string]string{
		"providerSpec.disks[0].sizeGiB is too large": "providerSpec.disks[0].sizeGiB is too large",
		"[a [b] c] [d]": "[a [b] c] [d]",
		"no ] before [": "no ) before (",
		"[1, 2":         "(1, 2",
		"1, 2]":         "1, 2)",
		"]]][[[":        ")))(((",
	} {
		_, err := createOne(t.Context(), failing(t, grpccodes.ResourceExhausted, message))
		failure, ok := mcm.FromError(err)
		requireEqual(t, ok, true)
		requireEqual(t, failure.Code(), codes.ResourceExhausted)
		requireEqual(t, failure.Message(), want)
	}
}

func FuzzMessagesSurviveMCM(f *testing.F) {
	for _, message := range []string{"", "plain", "[", "]", "[]", "][", "a[b]c]d[e"} {
		f.Add(message)
	}
	f.Fuzz(func(t *testing.T, message string) {
		sent := mcm.New(codes.NotFound, parseable(message))
		got, ok := mcm.FromError(sent)
		if !ok || got.Code() != codes.NotFound {
			t.Fatalf("MCM does not understand %q", sent)
		}
		if got.Message() != string([]rune(sent.Message())) {
			t.Errorf("MCM reads %q in %q", got.Message(), sent.Message())
		}
	})
}
