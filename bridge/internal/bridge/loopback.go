package bridge

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"k8s.io/klog/v2"
)

const lookupTimeout = 10 * time.Second

// isPlainTCP returns whether secrets are sent over TCP in plain text.
func (o *Options) isPlainTCP() bool {
	endpoint, err := url.Parse(o.Endpoint)
	return err == nil && endpoint.Scheme == "tcp" && o.TLS == TLSFiles{}
}

// plainTextDialer returns a function that connects to the driver in plain text. Unless the options are insecure, it is
// an error if the host has an address beyond loopback. Since a name may get another address later, the function checks
// each address again.
func (o *Options) plainTextDialer() (func(ctx context.Context, address string) (net.Conn, error), error) {
	dialer := new(net.Dialer)
	if o.Insecure {
		klog.Warningf("The secrets of every call are sent to %s in plain text (--cmi-insecure)", o.Endpoint)
	} else {
		if err := o.requireLoopback(); err != nil {
			return nil, err
		}
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			if to, err := netip.ParseAddrPort(address); err != nil || !to.Addr().Unmap().IsLoopback() {
				return fmt.Errorf("%s is not loopback; use TLS (--cmi-tls-ca) or --cmi-insecure", address)
			}
			return nil
		}
	}
	return func(ctx context.Context, address string) (net.Conn, error) {
		return dialer.DialContext(ctx, "tcp", address)
	}, nil
}

// requireLoopback returns an error if any address of the endpoint's host is not loopback.
func (o *Options) requireLoopback() error {
	endpoint, err := url.Parse(o.Endpoint)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", endpoint.Hostname())
	if err != nil {
		return fmt.Errorf("--cmi-endpoint %s: %w; without TLS (--cmi-tls-ca), its host must resolve to loopback addresses", o.Endpoint, err)
	}
	for _, address := range addresses {
		if address = address.Unmap(); !address.IsLoopback() {
			return fmt.Errorf("--cmi-endpoint %s is %s, which is not loopback, and every call contains secrets; "+
				"use TLS (--cmi-tls-ca), or --cmi-insecure for plain text", o.Endpoint, address)
		}
	}
	return nil
}
