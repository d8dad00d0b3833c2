package bridge

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gardener/machine-controller-manager/pkg/util/provider/machinecodes/codes"
	mcm "github.com/gardener/machine-controller-manager/pkg/util/provider/machinecodes/status"
	grpccodes "google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// translate returns a call's error in MCM's form: one of MCM's codes, the first 17 of which are those of gRPC, and a
// message for people. MCM stores the message in the status of the Machine, so it contains none of the call's secrets.
func (d *Driver) translate(ctx context.Context, err error, about subject) *mcm.Status {
	failure := status.Convert(err)
	code := codes.Code(failure.Code())
	if code > codes.Unauthenticated {
		// The next code is Uninitialized, after which MCM reads the response, which this error does not have.
		code = codes.Unknown
	}
	message := about.mask(failure.Message())
	switch {
	case code == codes.DeadlineExceeded && isDue(ctx):
		message = fmt.Sprintf("the driver at %s did not answer within %s", d.endpoint, d.timeout)
	case code == codes.Unavailable && d.connection.GetState() != connectivity.Ready:
		message = fmt.Sprintf("the driver at %s can't be reached: %s", d.endpoint, message)
	case message == "":
		message = "the driver gave no reason"
	}
	return mcm.New(code, parseable(message))
}

// unidentified returns the error of a call for which the driver did not say who it is. The code of a call of Identity would
// mislead MCM: after NotFound, it takes a VM for deleted, and after Unimplemented, it never initializes one.
func unidentified(err error) error {
	switch status.Code(err) {
	case grpccodes.Unavailable, grpccodes.DeadlineExceeded:
		return err
	}
	return status.Errorf(grpccodes.Unavailable, "the driver did not say who it is: %s", describe(err))
}

// isDue returns whether a call's deadline has passed, or is so close that the driver may have noticed it first.
func isDue(ctx context.Context) bool {
	deadline, _ := ctx.Deadline()
	return time.Until(deadline) < time.Second
}

// parseable returns a message that MCM can parse.
//
// MCM reads code and message from between brackets in an error's text. If the brackets within the message don't match,
// MCM can't find the code, so they become parentheses.
func parseable(message string) string {
	depth := 0
	for _, char := range message {
		switch char {
		case '[':
			depth++
		case ']':
			depth--
		}
		if depth < 0 {
			break
		}
	}
	if depth == 0 {
		return message
	}
	return strings.NewReplacer("[", "(", "]", ")").Replace(message)
}
