package bridge

import (
	"context"
	"net"
	"strings"
	"testing"
)

func TestPlainTextNeedsLoopbackOrAFlag(t *testing.T) {
	for endpoint, allowed := range map[string]bool{
		"tcp://127.0.0.1:8080":          true,
		"tcp://127.8.9.10:8080":         true,
		"tcp://[::1]:8080":              true,
		"tcp://[::ffff:127.0.0.1]:8080": true,
		"tcp://localhost:8080":          true,
		"unix:///run/cmi.sock":          true,
		"tcp://0.0.0.0:8080":            false,
		"tcp://[::]:8080":               false,
		"tcp://192.0.2.1:8080":          false,
		"tcp://[2001:db8::1]:8080":      false,
		"tcp://[::ffff:192.0.2.1]:8080": false,
		"tcp://driver.invalid:8080":     false,
	} {
		options := NewOptions()
		options.Endpoint = endpoint
		if _, err := Dial(options); (err == nil) != allowed || err != nil && !strings.Contains(err.Error(), "--cmi-") {
			t.Errorf("%s: %v", endpoint, err)
		}
		options.Insecure = true
		_, err := Dial(options)
		requireEqual(t, err, nil)
		options.Insecure = false
		options.TLS.CA = newAuthority(t).write(t, t.TempDir()).CA
		_, err = Dial(options)
		requireEqual(t, err, nil)
	}
}

// A name may resolve to loopback at the start, and to another address later.
func TestPlainTextConnectsToLoopbackOnly(t *testing.T) {
	elsewhere := addressBeyondLoopback(t)
	listener := listen(t, "tcp", net.JoinHostPort(elsewhere, "0"))
	defer func() { requireEqual(t, listener.Close(), nil) }()
	options := NewOptions()
	for _, insecure := range []bool{false, true} {
		options.Insecure = insecure
		dialer, err := options.plainTextDialer()
		requireEqual(t, err, nil)
		connection, err := dialer(context.Background(), listener.Addr().String())
		if insecure {
			requireEqual(t, err, nil)
			requireEqual(t, connection.Close(), nil)
		} else if err == nil || !strings.Contains(err.Error(), "is not loopback") {
			t.Error(err)
		}
	}
}

// addressBeyondLoopback returns an address of this machine that others may reach.
func addressBeyondLoopback(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	requireEqual(t, err, nil)
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && network.IP.IsGlobalUnicast() {
			return network.IP.String()
		}
	}
	t.Skip("this machine has only loopback addresses")
	return ""
}
