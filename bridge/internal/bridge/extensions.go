package bridge

import (
	"unicode/utf8"

	"google.golang.org/grpc/metadata"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/ORG/mcm-provider-template/bridge/internal/cmi"
)

// lastKnownStateKey is the trailing metadata of an error that carries a last known state: with an error, there is no
// response that could contain it.
const lastKnownStateKey = "cmi-last-known-state-bin"

// lastKnownState returns the state that a driver sent with an error, or another one if it sent none.
func (s subject) lastKnownState(trailer metadata.MD, otherwise string) string {
	values := trailer.Get(lastKnownStateKey)
	if len(values) == 0 {
		return otherwise
	}
	return s.storable(values[len(values)-1], otherwise)
}

// storable returns a driver's state, or another one if MCM can't store it. MCM stores it in the Machine's status, so it
// has to be text, and must contain none of the call's secrets.
func (s subject) storable(state, otherwise string) string {
	if len(state) > maxMessage || !utf8.ValidString(state) || s.mask(state) != state {
		klog.Warningf("Dropped the last known state of the machine %s: it is not UTF-8 of at most %d bytes without secrets",
			s.machine.Name, maxMessage)
		return otherwise
	}
	return state
}

// addressesOf returns the addresses of a VM, as far as the driver reports them.
func addressesOf(response interface{ GetAddresses() []*cmi.NodeAddress }) []corev1.NodeAddress {
	var addresses []corev1.NodeAddress
	for _, each := range response.GetAddresses() {
		addresses = append(addresses, corev1.NodeAddress{Type: corev1.NodeAddressType(each.GetType()), Address: each.GetAddress()})
	}
	return addresses
}
