package policy_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
)

// privateKey writes a key as openssl does.
func privateKey(t *testing.T, kind string, der []byte, err error) polset.Secret {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return polset.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ecdsaKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestSigner(t *testing.T) {
	pkcs8 := func(key any) polset.Secret {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		return privateKey(t, "PRIVATE KEY", der, err)
	}
	ec, err := x509.MarshalECPrivateKey(ecdsaKey(t, elliptic.P384()))
	for algorithm, keys := range map[string][]polset.Secret{
		"RS256": {pkcs8(rsaKey(t, 2048)), privateKey(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey(t, 2048)), nil)},
		"ES256": {pkcs8(ecdsaKey(t, elliptic.P256()))},
		"ES384": {privateKey(t, "EC PRIVATE KEY", ec, err)},
		"ES512": {pkcs8(ecdsaKey(t, elliptic.P521()))},
	} {
		for _, key := range keys {
			signer, err := policy.NewSigner(key, "our-key")
			if err != nil {
				t.Fatal(err)
			}
			if signer.Algorithm() != algorithm || signer.KeyID() != "our-key" {
				t.Errorf("%s: got %s, %s", algorithm, signer.Algorithm(), signer.KeyID())
			}
			files := map[string][]byte{
				"a.rego": []byte("package a\n\nx := data.n\n"), "data.json": []byte(`{"n": 1.50, "m": "<é>"}`), "b/data.yaml": []byte("k: [1, x]\n"),
				".manifest": []byte(`{"revision": "1", "roots": ["a", "n", "m", "b"], "rego_version": 1}`),
			}
			signature, err := signer.Sign(files)
			if err != nil {
				t.Fatal(err)
			}
			signed := func(change string, to string) []byte {
				changed := maps.Clone(files)
				changed[policy.SignaturesFile] = signature
				if change != "" {
					changed[change] = []byte(to)
				}
				return tarball(t, changed)
			}
			check := func(content []byte, by *policy.Signer) error { return policy.CheckBundle(bytes.NewReader(content), by) }
			if err := check(signed("", ""), signer); err != nil {
				t.Errorf("%s: OPA does not verify: %v", algorithm, err)
			}
			if err := check(signed("data.json", `{"m":"<é>","n":1.50}`), signer); err != nil {
				t.Errorf("%s: another spelling of the same data: %v", algorithm, err)
			}
			for name, content := range map[string]string{
				"a.rego": "package a\n\nx := 7\n", "data.json": `{"n": 2}`, "b/data.yaml": "k: [2, x]\n", "more.rego": "package a\n",
				".manifest": `{"revision": "2", "roots": [""], "rego_version": 1}`,
			} {
				if err := check(signed(name, content), signer); err == nil {
					t.Errorf("%s: a changed %s passes", algorithm, name)
				}
			}
			if err := check(tarball(t, files), signer); err == nil {
				t.Errorf("%s: an unsigned bundle passes", algorithm)
			}
			other, err := policy.NewSigner(pkcs8(ecdsaKey(t, elliptic.P256())), "our-key")
			if err != nil {
				t.Fatal(err)
			}
			if err := check(signed("", ""), other); err == nil {
				t.Errorf("%s: another key passes", algorithm)
			}
			if other.Fingerprint() == signer.Fingerprint() || len(signer.Fingerprint()) != 64 {
				t.Errorf("%s: fingerprints %s and %s", algorithm, other.Fingerprint(), signer.Fingerprint())
			}
			if text := fmt.Sprintf("%v %+v %#v", signer, signer, signer); strings.Contains(text, "BEGIN PRIVATE") {
				t.Errorf("%s: the key shows", algorithm)
			}
		}
	}
}

func TestSigningKeysThatAreNone(t *testing.T) {
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed, err := x509.MarshalPKCS8PrivateKey(edwards)
	p224, err224 := x509.MarshalECPrivateKey(ecdsaKey(t, elliptic.P224()))
	short := privateKey(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey(t, 1024)), nil)
	for want, key := range map[string]polset.Secret{
		"no PEM block":                    polset.NewSecret("hunter2"),
		"is RSA of 1024 bits":             short,
		"is on the curve P-224":           privateKey(t, "EC PRIVATE KEY", p224, err224),
		"is a ed25519.PrivateKey":         privateKey(t, "PRIVATE KEY", ed, err),
		"does not parse as PRIVATE KEY":   privateKey(t, "PRIVATE KEY", []byte("hunter2"), nil),
		`a PEM block "CERTIFICATE"`:       privateKey(t, "CERTIFICATE", []byte("hunter2"), nil),
		`block "ENCRYPTED PRIVATE KEY"; `: privateKey(t, "ENCRYPTED PRIVATE KEY", []byte("hunter2"), nil),
	} {
		_, err := policy.NewSigner(key, "id")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
