package bridge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// TLSFiles are the PEM files that secure the connection to the driver.
type TLSFiles struct {
	// CA signed the driver's certificate.
	CA string
	// Certificate and Key are presented to the driver; a driver with --tls-client-ca asks for them.
	Certificate, Key string
}

// credentials returns the credentials of the connection, or nothing if there are no files.
func (f TLSFiles) credentials() (credentials.TransportCredentials, error) {
	switch {
	case f == TLSFiles{}:
		return insecure.NewCredentials(), nil
	case f.CA == "":
		return nil, errors.New("--cmi-tls-cert and --cmi-tls-key need --cmi-tls-ca; name the CA of the driver's certificate")
	case (f.Certificate == "") != (f.Key == ""):
		return nil, errors.New("--cmi-tls-cert and --cmi-tls-key go together; name both or none")
	}
	config, err := f.load()
	if err != nil {
		return nil, err
	}
	return renewing{credentials.NewTLS(config), f}, nil
}

func (f TLSFiles) load() (*tls.Config, error) {
	ca, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("--cmi-tls-ca: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("--cmi-tls-ca %s contains no certificate in PEM", f.CA)
	}
	if f.Certificate != "" {
		certificate, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
		if err != nil {
			return nil, fmt.Errorf("--cmi-tls-cert and --cmi-tls-key: %w", err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}

// renewing rereads the files for each connection, since certificates are renewed while a process runs.
type renewing struct {
	credentials.TransportCredentials
	files TLSFiles
}

func (r renewing) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	config, err := r.files.load()
	if err != nil {
		return nil, nil, err
	}
	return credentials.NewTLS(config).ClientHandshake(ctx, authority, conn)
}

func (r renewing) Clone() credentials.TransportCredentials {
	return renewing{r.TransportCredentials.Clone(), r.files}
}
