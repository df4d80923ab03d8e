// The certificate of the site, which can be exchanged while it runs.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// certificate is what the site shows to new connections.
type certificate struct {
	now atomic.Pointer[tls.Certificate]
}

// newCertificate reads the pair of the lab file, or makes one of its own. It returns the file clients have to trust;
// that is the certificate itself when it is the site's own.
func newCertificate(lab *labFile) (*certificate, string, error) {
	c := &certificate{}
	if lab.TLS != nil {
		return c, lab.TLS.Cert, c.load(lab.TLS.Cert, lab.TLS.Key)
	}
	pair, err := selfSigned(lab.Site)
	if err != nil {
		return nil, "", err
	}
	c.now.Store(pair)
	file := filepath.Join(lab.Root, lab.Site+"-certificate.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	return c, file, os.WriteFile(file, text, 0o644)
}

// load takes another pair from files; on an error the old one stays.
func (c *certificate) load(cert, key string) error {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return err
	}
	c.now.Store(&pair)
	return nil
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.now.Load(), nil },
	}
}

func (c *certificate) route(a *admin) {
	a.handle("PUT /certificate", func(r *http.Request) (any, error) {
		var files labTLS
		if err := readJSON(r, &files); err != nil {
			return nil, err
		}
		if err := c.load(files.Cert, files.Key); err != nil {
			return nil, badRequest{err}
		}
		return files, nil
	})
}

func selfSigned(site string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "labsim " + site},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
