package bridge

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gardener/machine-controller-manager/pkg/util/provider/machinecodes/codes"
	mcm "github.com/gardener/machine-controller-manager/pkg/util/provider/machinecodes/status"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// translate returns a call's error as MCM understands it: a code of its own, whose first 17 are those of gRPC, and
// a message for people, which MCM stores in the status of the Machine. So it holds none of the call's secrets.
func (d *Driver) translate(ctx context.Context, err error, secrets map[string][]byte) *mcm.Status {
	failure := status.Convert(err)
	code := codes.Code(failure.Code())
	if code > codes.Unauthenticated {
		// Uninitialized is next to it, on which MCM reads the response that such an error doesn't have.
		code = codes.Unknown
	}
	message := mask(failure.Message(), secrets)
	switch {
	case code == codes.DeadlineExceeded && isDue(ctx):
		message = fmt.Sprintf("the driver at %s did not answer within %s", d.endpoint, d.timeout)
	case code == codes.Unavailable && d.connection.GetState() != connectivity.Ready:
		message = fmt.Sprintf("the driver at %s is not there: %s", d.endpoint, message)
	case message == "":
		message = "the driver gave no reason"
	}
	return mcm.New(code, parseable(message))
}

// isDue tells whether a call's deadline has come, or comes so soon that the driver may have noticed it first.
func isDue(ctx context.Context) bool {
	deadline, _ := ctx.Deadline()
	return time.Until(deadline) < time.Second
}

// parseable returns a message that MCM gets back whole.
//
// MCM reads code and message from between the brackets of an error's text, and gives up on the code if those in the
// message don't match. Then they become parentheses.
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
