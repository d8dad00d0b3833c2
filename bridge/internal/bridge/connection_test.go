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
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gardener/machine-controller-manager/pkg/util/provider/machinecodes/codes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"mcm-provider-template/bridge/internal/cmi"
)

func made(context.Context, *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
	return &cmi.CreateMachineResponse{ProviderID: "test:///m1", NodeName: "n1"}, nil
}

// awaitCode repeats a creation until it ends with that code, as MCM repeats it.
func awaitCode(t *testing.T, d *Driver, want codes.Code) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		_, err := createOne(t.Context(), d)
		if codeOf(err) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
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
		"--cmi-endpoint":       func(o *Options) { o.Endpoint = "nowhere" },
		"--cmi-timeout":        func(o *Options) { o.Timeout = 0 },
		"need --cmi-tls-ca":    func(o *Options) { o.TLS = TLSFiles{Certificate: empty, Key: empty} },
		"go together":          func(o *Options) { o.TLS = TLSFiles{CA: empty, Key: empty} },
		"no such file":         func(o *Options) { o.TLS = TLSFiles{CA: empty + "x"} },
		"holds no certificate": func(o *Options) { o.TLS = TLSFiles{CA: empty} },
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
	if !strings.Contains(err.Error(), listener.Addr().String()+" is not there") {
		t.Error(err)
	}
}

func TestDriverThatEndsAmidACallIsUnavailable(t *testing.T) {
	called := make(chan struct{})
	r := &remote{capabilities: everything}
	r.create = func(ctx context.Context, _ *cmi.CreateMachineRequest) (*cmi.CreateMachineResponse, error) {
		close(called)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	listener := onLoopback(t)
	stop := r.serve(t, listener)
	d := dial(t, listener)
	go func() {
		<-called
		stop()
	}()
	_, err := createOne(t.Context(), d)
	requireEqual(t, codeOf(err), codes.Unavailable)
}

func TestDriverThatComesBackIsUsedAgainWithItsNewCapabilities(t *testing.T) {
	before := &remote{capabilities: everything[1:]}
	listener := onLoopback(t)
	address := listener.Addr().String()
	stop := before.serve(t, listener)
	d := dial(t, listener)
	_, err := createOne(t.Context(), d)
	requireEqual(t, codeOf(err), codes.Unimplemented)

	stop()
	awaitCode(t, d, codes.Unavailable)

	after := &remote{capabilities: everything, create: made}
	after.serve(t, listen(t, "tcp", address))
	awaitCode(t, d, codes.OK)
	requireEqual(t, after.machineCalls.Load(), int64(1))
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

// write puts the CA and a certificate of it with its key into a folder, in place of those that are there.
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

// serving returns the server's side: it asks clients for a certificate of the same CA.
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
	stop := r.serve(t, listener, first.serving(t))
	folder := t.TempDir()
	d := dial(t, listener, func(o *Options) { o.TLS = first.write(t, folder) })
	_, err := createOne(t.Context(), d)
	requireEqual(t, err, nil)

	stop()
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
