package bridge

import (
	"fmt"
	"net"
	"net/url"
	"path"
	"strconv"
	"time"

	"github.com/spf13/pflag"
)

// Options contain the driver's address, and how to connect to it.
type Options struct {
	// Endpoint is tcp://host:port or unix:///path.
	Endpoint string
	// Provider is the provider's name in machine classes; if it is empty, the names that the driver gives itself count.
	Provider string
	// Timeout is the maximum duration of a call to the driver.
	Timeout time.Duration
	// Keepalive is how long a connection with calls on it may be silent before the driver is pinged.
	Keepalive time.Duration
	// GracePeriod is how long calls may continue after SIGTERM.
	GracePeriod time.Duration
	// TLS contains the files that secure the connection; without any file, it is plain text.
	TLS TLSFiles
	// Insecure allows plain text to an address beyond loopback.
	Insecure bool
	// Tracing sends a span for each call over OTLP.
	Tracing bool
	// LogSecrets allows a verbosity at which MCM's library logs secrets.
	LogSecrets bool
}

// NewOptions returns the defaults.
func NewOptions() Options {
	return Options{
		Endpoint: "tcp://127.0.0.1:8080",
		Timeout:  10 * time.Minute,
		// By default, gRPC servers close the connection of a client that pings more often than every five minutes.
		Keepalive: 5*time.Minute + 30*time.Second,
		// A driver gives its own calls 30 s, and Kubernetes ends both after the Pod's 60 s.
		GracePeriod: 40 * time.Second,
	}
}

// AddFlags adds a flag for each option.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.Endpoint, "cmi-endpoint", o.Endpoint,
		"Where the driver serves the Container Machine Interface: tcp://host:port or unix:///path")
	flags.StringVar(&o.Provider, "cmi-provider", o.Provider,
		"The provider that machine classes have to name; by default, the names that the driver gives itself")
	flags.DurationVar(&o.Timeout, "cmi-timeout", o.Timeout,
		"Maximum duration of a call to the driver")
	flags.StringVar(&o.TLS.CA, "cmi-tls-ca", o.TLS.CA,
		"PEM file with the CA of the driver's certificate; a renewed file takes effect with the next connection")
	flags.StringVar(&o.TLS.Certificate, "cmi-tls-cert", o.TLS.Certificate,
		"PEM file with the certificate to present to the driver")
	flags.StringVar(&o.TLS.Key, "cmi-tls-key", o.TLS.Key,
		"PEM file with the private key of that certificate")
	flags.BoolVar(&o.Insecure, "cmi-insecure", o.Insecure,
		"Allow plain text to an address that is not loopback; everybody on the network path can read the secrets of every call")
	flags.DurationVar(&o.Keepalive, "cmi-keepalive", o.Keepalive,
		"How long a connection with calls on it may be silent before the driver is pinged, 10s or more; "+
			"drivers of the template permit 10s, servers with gRPC's defaults 5m")
	flags.DurationVar(&o.GracePeriod, "cmi-grace-period", o.GracePeriod,
		"How long calls to the driver may continue after SIGTERM")
	flags.BoolVar(&o.Tracing, "cmi-tracing", o.Tracing,
		"Send a span for each call to the driver over OTLP, configured by the OTEL_* variables")
	flags.BoolVar(&o.LogSecrets, "cmi-log-secrets", o.LogSecrets,
		"Allow -v=4 and more, although machine-controller-manager's library then logs bootstrap tokens and whole Secrets")
}

// target returns the endpoint in gRPC's syntax.
func (o *Options) target() (string, error) {
	malformed := fmt.Errorf("--cmi-endpoint %q is neither tcp://host:port nor unix:///path; "+
		"use for example tcp://127.0.0.1:8080", o.Endpoint)
	endpoint, err := url.Parse(o.Endpoint)
	if err != nil || endpoint.RawQuery != "" || endpoint.Fragment != "" || endpoint.User != nil {
		return "", malformed
	}
	switch endpoint.Scheme {
	case "tcp":
		port, err := strconv.ParseUint(endpoint.Port(), 10, 16)
		if err != nil || port == 0 || endpoint.Hostname() == "" || endpoint.Path != "" {
			return "", malformed
		}
		// The name is looked up at each attempt to connect, since a driver may come back at another address.
		return "passthrough:///" + net.JoinHostPort(endpoint.Hostname(), endpoint.Port()), nil
	case "unix":
		if endpoint.Host != "" || !path.IsAbs(endpoint.Path) {
			return "", malformed
		}
		return "unix://" + endpoint.Path, nil
	}
	return "", malformed
}
