package bridge

import (
	"github.com/gardener/machine-controller-manager/pkg/apis/machine/v1alpha1"
	corev1 "k8s.io/api/core/v1"
)

// subject is what a call is about. A list is about no machine, and GetVolumeIDs only about volumes.
type subject struct {
	machine *v1alpha1.Machine
	class   *v1alpha1.MachineClass
	secret  *corev1.Secret
}

// mask returns a message without the secrets of the call. It shows what the cluster stores in the clear as well: people
// who read the Machine's status can read the Machine and its class too.
func (s subject) mask(message string) string {
	var secrets map[string][]byte
	if s.secret != nil {
		secrets = s.secret.Data
	}
	var inClear []string
	if s.machine != nil {
		inClear = append(inClear, s.machine.Name, s.machine.Spec.ProviderID)
	}
	if s.class != nil {
		inClear = append(inClear, string(s.class.ProviderSpec.Raw))
	}
	return mask(message, secrets, inClear...)
}
