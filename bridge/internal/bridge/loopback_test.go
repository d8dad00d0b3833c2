package bridge

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
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

func TestANameThatGetsAnotherAddressIsNotDialled(t *testing.T) {
	elsewhere := netip.MustParseAddr(addressBeyondLoopback(t))
	var address atomic.Pointer[netip.Addr]
	address.Store(new(netip.AddrFrom4([4]byte{127, 0, 0, 1})))
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go answer(server, *address.Load())
		return client, nil
	}}
	t.Cleanup(func() { net.DefaultResolver = before })
	r := &remote{capabilities: everything, create: made}
	listener := listen(t, "tcp", netip.AddrPortFrom(elsewhere, 0).String())
	r.serve(t, listener)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	requireEqual(t, err, nil)
	d := dial(t, listener, func(o *Options) { o.Endpoint = "tcp://driver.example:" + port })
	address.Store(&elsewhere)
	_, err = createOne(t.Context(), d)
	if err == nil || !strings.Contains(err.Error(), "is not loopback") {
		t.Error(err)
	}
}

// answer answers a query of DNS over a stream: every name has one address.
func answer(stream net.Conn, address netip.Addr) {
	buffer := make([]byte, 512)
	size, err := stream.Read(buffer)
	if err != nil {
		return
	}
	query := buffer[2:size] // after the length
	end := 12 + bytes.IndexByte(query[12:], 0) + 5
	kind := query[end-3]                                             // 1 is A, 28 is AAAA
	reply := append(query[:2:2], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0) // one question, no answer
	reply = append(reply, query[12:end]...)
	if (kind == 1) == address.Is4() {
		reply[7] = 1
		ip := address.AsSlice()
		reply = append(reply, 0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 0, 0, byte(len(ip)))
		reply = append(reply, ip...)
	}
	_, _ = stream.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
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
