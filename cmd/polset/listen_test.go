package main_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	svchost "github.com/hashicorp/terraform-svchost"
	"github.com/hashicorp/terraform-svchost/disco"

	"github.com/polset/polset/internal/polsettest"
)

func TestCase13SlowHeaderIsCut(t *testing.T) {
	t.Parallel() // waits more than it works: a header has 10 s
	n := start(t, env(polsettest.NewGit(t), t.TempDir()))
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(n.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "POST /webhooks/github HTTP/1.1\r\nHost: polset\r\nX-Slow: "); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a header that never ends keeps its connection")
	}
}

// certify writes a certificate for 127.0.0.1 with a serial number.
func certify(t *testing.T, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "polset"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certify(t, certFile, keyFile, 1)
	n := start(t, env(polsettest.NewGit(t), dir, "POLSET_TLS_CERT="+certFile, "POLSET_TLS_KEY="+keyFile))
	if !strings.HasPrefix(n.URL, "https://") {
		t.Errorf("listening on %s", n.URL)
	}
	serial := func() int64 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		//nolint:gosec // the serial number is all that matters here
		conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, "tcp", strings.TrimPrefix(n.URL, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(); got != 1 {
		t.Errorf("the certificate has serial number %d, want 1", got)
	}
	certify(t, certFile, keyFile, 2)
	if got := serial(); got != 2 {
		t.Errorf("after a renewal the certificate has serial number %d, want 2", got)
	}
	certify(t, certFile, keyFile, 3)
	for _, file := range []string{certFile, keyFile} { // made before what they replace
		if err := os.Chtimes(file, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if got := serial(); got != 3 {
		t.Errorf("after a renewal by older files the certificate has serial number %d, want 3", got)
	}
	if err := os.WriteFile(certFile, []byte("half a certif"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != 3 {
		t.Errorf("with a broken file the certificate has serial number %d, want the last good one, 3", got)
	}
}

// TestServiceDiscovery is how Terraform and its provider find the API: with
// their own library, over TLS, which they insist on.
func TestServiceDiscovery(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certify(t, certFile, keyFile, 1)
	n := start(t, env(polsettest.NewGit(t), dir, "POLSET_TLS_CERT="+certFile, "POLSET_TLS_KEY="+keyFile))
	roots := func() *x509.CertPool {
		text, err := os.ReadFile(certFile)
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(text)
		return pool
	}
	_, port, err := net.SplitHostPort(strings.TrimPrefix(n.URL, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	host, err := svchost.ForComparison("localhost:" + port)
	if err != nil {
		t.Fatal(err)
	}
	discover := func(service string, trusted *x509.CertPool) (*url.URL, error) {
		d := disco.New()
		d.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}, DisableKeepAlives: true}
		return d.DiscoverServiceURL(host, service)
	}
	for _, service := range []string{"tfe.v2", "tfe.v2.1", "tfe.v2.2"} {
		if u, err := discover(service, roots()); err != nil || u.String() != "https://localhost:"+port+"/api/v2/" {
			t.Errorf("%s is at %v, %v", service, u, err)
		}
	}
	if u, err := discover("modules.v1", roots()); err == nil {
		t.Errorf("there is a registry of modules at %s", u)
	}
	old := roots()
	certify(t, certFile, keyFile, 2)
	if _, err := discover("tfe.v2.2", roots()); err != nil {
		t.Errorf("after a renewal: %v", err)
	}
	if _, err := discover("tfe.v2.2", old); err == nil {
		t.Error("the old certificate is still served")
	}

	for _, method := range []string{http.MethodGet, http.MethodHead} {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots()}, DisableKeepAlives: true}}
		req, err := http.NewRequestWithContext(t.Context(), method, n.URL+"/.well-known/terraform.json", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" || (len(body) == 0) != (method == http.MethodHead) {
			t.Errorf("%s: %d %v %s %v", method, resp.StatusCode, resp.Header, body, err)
		}
	}
}
