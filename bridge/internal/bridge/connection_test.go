package bridge

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gardener/machine-controller-manager/pkg/util/provider/driver"
	"github.com/gardener/machine-controller-manager/pkg/util/provider/machinecodes/codes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/ORG/mcm-provider-template/bridge/internal/cmi"
)

func made(context.Context, *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
	return &cmi.CreateMachineResponse{ProviderID: "test:///m1", NodeName: "n1"}, nil
}

// await calls a function until it succeeds.
func await(t *testing.T, try func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// awaitCode repeats a creation, as MCM does, until it ends with that code.
func awaitCode(t *testing.T, d *Driver, want codes.Code) {
	t.Helper()
	await(t, func() error {
		_, err := createOne(t.Context(), d)
		if got := codeOf(err); got != want {
			return fmt.Errorf("%s, not %s: %w", got, want, err)
		}
		return nil
	})
}

func TestEndpoints(t *testing.T) {
	for endpoint, want := range map[string]string{
		"tcp://127.0.0.1:8080":    "passthrough:///127.0.0.1:8080",
		"tcp://[::1]:8080":        "passthrough:///[::1]:8080",
		"tcp://driver.example:1":  "passthrough:///driver.example:1",
		"unix:///run/cmi/a.sock":  "unix:///run/cmi/a.sock",
		"":                        "",
		"127.0.0.1:8080":          "",
		"tcp://127.0.0.1":         "",
		"tcp://:8080":             "",
		"tcp://host:0":            "",
		"tcp://host:99999":        "",
		"tcp://host:8080/path":    "",
		"tcp://user@host:8080":    "",
		"http://127.0.0.1:8080":   "",
		"unix://relative/a.sock":  "",
		"unix:relative/a.sock":    "",
		"aws//127.0.0.1:8080":     "",
		"tcp://127.0.0.1:8080?x=": "",
	} {
		options := Options{Endpoint: endpoint}
		got, err := options.target()
		requireEqual(t, got, want)
		if want == "" && (err == nil || !strings.Contains(err.Error(), "use for example")) {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
}

func TestOptionsThatCanNotBeUsed(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	requireEqual(t, os.WriteFile(empty, nil, 0o600), nil)
	for want, change := range map[string]func(*Options){
		"--cmi-endpoint":          func(o *Options) { o.Endpoint = "nowhere" },
		"--cmi-timeout":           func(o *Options) { o.Timeout = 0 },
		"--cmi-grace-period":      func(o *Options) { o.GracePeriod = -1 },
		"is below 10s":            func(o *Options) { o.Keepalive = 9 * time.Second },
		"need --cmi-tls-ca":       func(o *Options) { o.TLS = TLSFiles{Certificate: empty, Key: empty} },
		"go together":             func(o *Options) { o.TLS = TLSFiles{CA: empty, Key: empty} },
		"no such file":            func(o *Options) { o.TLS = TLSFiles{CA: empty + "x"} },
		"contains no certificate": func(o *Options) { o.TLS = TLSFiles{CA: empty} },
	} {
		options := NewOptions()
		change(&options)
		_, err := Dial(options)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

func TestUnixSocket(t *testing.T) {
	r := &remote{capabilities: everything, create: made}
	listener, endpoint := onSocket(t)
	r.serve(t, listener)
	_, err := createOne(t.Context(), dial(t, listener, func(o *Options) { o.Endpoint = endpoint }))
	requireEqual(t, err, nil)
}

func TestDriverThatIsNotThereIsUnavailable(t *testing.T) {
	listener := onLoopback(t)
	requireEqual(t, listener.Close(), nil)
	_, err := createOne(t.Context(), dial(t, listener))
	requireEqual(t, codeOf(err), codes.Unavailable)
	if !strings.Contains(err.Error(), listener.Addr().String()+" can't be reached") {
		t.Error(err)
	}
}

func TestDriverThatEndsDuringACallIsUnavailable(t *testing.T) {
	called := make(chan struct{})
	r := &remote{capabilities: everything}
	r.create = func(ctx context.Context, _ *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
		close(called)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	listener := onLoopback(t)
	server := r.serve(t, listener)
	d := dial(t, listener)
	go func() {
		<-called
		server.Stop()
	}()
	_, err := createOne(t.Context(), d)
	requireEqual(t, codeOf(err), codes.Unavailable)
}

func TestDriverThatComesBackIsUsedAgainWithItsNewCapabilities(t *testing.T) {
	before := &remote{capabilities: everything[1:]}
	listener := onLoopback(t)
	address := listener.Addr().String()
	server := before.serve(t, listener)
	d := dial(t, listener)
	_, err := createOne(t.Context(), d)
	requireEqual(t, codeOf(err), codes.Unimplemented)

	server.Stop()
	awaitCode(t, d, codes.Unavailable)

	after := &remote{capabilities: everything, create: made}
	after.serve(t, listen(t, "tcp", address))
	awaitCode(t, d, codes.OK)
	requireEqual(t, after.machineCalls.Load(), int64(1))
}

// listenAgain listens on an address as soon as another server has stopped listening on it.
func listenAgain(t *testing.T, address string) net.Listener {
	t.Helper()
	var listener net.Listener
	await(t, func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	})
	return listener
}

func TestDriverThatEndsGracefullyIsReplacedAtOnce(t *testing.T) {
	called, release := make(chan struct{}), make(chan struct{})
	letGo := sync.OnceFunc(func() { close(release) })
	defer letGo()
	volumes := func(context.Context, *cmi.GetVolumeIDsRequest) (*cmi.GetVolumeIDsResponse, error) {
		return &cmi.GetVolumeIDsResponse{}, nil
	}
	before := &remote{capabilities: everything[1:], volumes: volumes}
	before.delete = func(context.Context, *cmi.DeleteMachineRequest) (*cmi.DeleteMachineResponse, error) {
		close(called)
		<-release
		return &cmi.DeleteMachineResponse{}, nil
	}
	listener := onLoopback(t)
	address := listener.Addr().String()
	server := before.serve(t, listener)
	d := dial(t, listener)
	deleted := make(chan error, 1)
	go func() {
		_, err := d.DeleteMachine(t.Context(), &driver.DeleteMachineRequest{Machine: machine, MachineClass: class, Secret: secret})
		deleted <- err
	}()
	<-called
	go server.GracefulStop()

	// The call of the old driver continues while the new driver gets calls.
	after := &remote{capabilities: everything, create: made, volumes: volumes}
	after.serve(t, listenAgain(t, address))
	await(t, func() error {
		if _, err := d.GetVolumeIDs(t.Context(), &driver.GetVolumeIDsRequest{}); err != nil {
			return err
		}
		_, err := createOne(t.Context(), d)
		return err
	})
	letGo()
	requireEqual(t, <-deleted, nil)
}

// authority signs certificates for 127.0.0.1.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	requireEqual(t, err, nil)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	requireEqual(t, err, nil)
	certificate, err := x509.ParseCertificate(der)
	requireEqual(t, err, nil)
	return authority{certificate, key}
}

// write writes the CA, and a certificate signed by it with its key, into a folder. It replaces existing files.
func (a authority) write(t *testing.T, folder string) TLSFiles {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	requireEqual(t, err, nil)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: a.certificate.NotBefore, NotAfter: a.certificate.NotAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	requireEqual(t, err, nil)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	requireEqual(t, err, nil)
	files := TLSFiles{
		CA:          filepath.Join(folder, "ca.crt"),
		Certificate: filepath.Join(folder, "tls.crt"),
		Key:         filepath.Join(folder, "tls.key"),
	}
	for path, block := range map[string]*pem.Block{
		files.CA:          {Type: "CERTIFICATE", Bytes: a.certificate.Raw},
		files.Certificate: {Type: "CERTIFICATE", Bytes: der},
		files.Key:         {Type: "PRIVATE KEY", Bytes: private},
	} {
		requireEqual(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600), nil)
	}
	return files
}

// serving returns credentials for a server, which requires that clients have a certificate of the same CA.
func (a authority) serving(t *testing.T) grpc.ServerOption {
	t.Helper()
	files := a.write(t, t.TempDir())
	config, err := files.load()
	requireEqual(t, err, nil)
	config.ClientCAs, config.ClientAuth = config.RootCAs, tls.RequireAndVerifyClientCert
	return grpc.Creds(credentials.NewTLS(config))
}

func TestMutualTLSWithRenewedFiles(t *testing.T) {
	r := &remote{capabilities: everything, create: made}
	listener := onLoopback(t)
	address := listener.Addr().String()
	first := newAuthority(t)
	server := r.serve(t, listener, first.serving(t))
	folder := t.TempDir()
	d := dial(t, listener, func(o *Options) { o.TLS = first.write(t, folder) })
	_, err := createOne(t.Context(), d)
	requireEqual(t, err, nil)

	server.Stop()
	second := newAuthority(t)
	r.serve(t, listen(t, "tcp", address), second.serving(t))
	_, err = createOne(t.Context(), d)
	requireEqual(t, codeOf(err), codes.Unavailable)

	second.write(t, folder)
	awaitCode(t, d, codes.OK)
}

func TestDriverThatAsksForACertificateIsUnavailableWithoutOne(t *testing.T) {
	r := &remote{capabilities: everything, create: made}
	listener := onLoopback(t)
	ca := newAuthority(t)
	r.serve(t, listener, ca.serving(t))
	d := dial(t, listener, func(o *Options) { o.TLS.CA = ca.write(t, t.TempDir()).CA })
	_, err := createOne(t.Context(), d)
	requireEqual(t, codeOf(err), codes.Unavailable)
}

// Rendered drivers permit pings every ten seconds, so a call survives if the bridge pings that often. A driver that
// does not permit this closes the connection after three pings.
func TestKeepaliveIsInHarmonyWithTheDriver(t *testing.T) {
	if testing.Short() {
		t.Skip("this takes 45 s, since gRPC pings at most every ten seconds")
	}
	for permitted, want := range map[time.Duration]codes.Code{10 * time.Second: codes.OK, 5 * time.Minute: codes.Unavailable} {
		t.Run(permitted.String(), func(t *testing.T) {
			t.Parallel()
			r := &remote{capabilities: everything}
			r.create = func(ctx context.Context, _ *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
				select {
				case <-time.After(45 * time.Second):
				case <-ctx.Done():
				}
				return &cmi.CreateMachineResponse{}, nil
			}
			listener := onLoopback(t)
			r.serve(t, listener, grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: permitted}))
			_, err := createOne(t.Context(), dial(t, listener, func(o *Options) { o.Keepalive = minKeepalive }))
			requireEqual(t, codeOf(err), want)
		})
	}
}
