package policy

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/util"

	"github.com/polset/polset"
)

// SignaturesFile is where a bundle holds its signature.
const SignaturesFile = ".signatures.json"

// minSigningBits is the shortest RSA key that signs bundles.
const minSigningBits = 2048

// A Signer signs bundles so that agents can tell that polset made them
// (https://www.openpolicyagent.org/docs/management-bundles#signing).
type Signer struct {
	id, algorithm, fingerprint string
	private                    polset.Secret // PKCS #8 in PEM
	public                     string        // PKIX in PEM
}

// NewSigner reads a private key in PEM, RSA of 2048 bits or more or ECDSA on one
// of NIST's curves. Agents know its public key by the id.
func NewSigner(key polset.Secret, id string) (*Signer, error) {
	block, _ := pem.Decode([]byte(key.Reveal()))
	if block == nil {
		return nil, errors.New("the signing key holds no PEM block")
	}
	private, err := parsePrivateKey(block)
	if err != nil {
		return nil, err
	}
	s := &Signer{id: id}
	var public any
	switch private := private.(type) {
	case *rsa.PrivateKey:
		if bits := private.N.BitLen(); bits < minSigningBits {
			return nil, fmt.Errorf("the signing key is RSA of %d bits; use one of %d or more", bits, minSigningBits)
		}
		s.algorithm, public = "RS256", private.Public()
	case *ecdsa.PrivateKey:
		curve := private.Curve.Params().Name
		if s.algorithm = map[string]string{"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}[curve]; s.algorithm == "" {
			return nil, fmt.Errorf("the signing key is on the curve %s; use P-256, P-384 or P-521", curve)
		}
		public = private.Public()
	default:
		return nil, fmt.Errorf("the signing key is a %T; use RSA or ECDSA", private)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("encode the signing key: %w", err)
	}
	pkix, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("encode the public key of the signing key: %w", err)
	}
	s.private = polset.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
	s.public = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix}))
	digest := sha256.Sum256(pkix)
	s.fingerprint = hex.EncodeToString(digest[:])
	return s, nil
}

// parsePrivateKey says nothing of what is in the block: it is a secret.
func parsePrivateKey(block *pem.Block) (key any, err error) {
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("the signing key is a PEM block %q; use an unencrypted private key", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("the signing key does not parse as %s", block.Type)
	}
	return key, nil
}

// KeyID is the name that agents know the public key by.
func (s *Signer) KeyID() string { return s.id }

// Algorithm is what agents must be told of the key, in OPA's words, such as
// RS256.
func (s *Signer) Algorithm() string { return s.algorithm }

// Fingerprint is the sha256 of the public key, in hex.
func (s *Signer) Fingerprint() string { return s.fingerprint }

// PublicKey is what agents verify with, in PEM.
func (s *Signer) PublicKey() string { return s.public }

// String implements fmt.Stringer without the key.
func (s *Signer) String() string { return s.algorithm + " key " + s.id }

// GoString implements fmt.GoStringer without the key.
func (s *Signer) GoString() string { return s.String() }

// Sign returns the content of SignaturesFile for a bundle of these files, its
// manifest among them. Two signatures of the same files may differ.
func (s *Signer) Sign(files map[string][]byte) ([]byte, error) {
	hasher, err := bundle.NewSignatureHasher(bundle.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign bundle: %w", err)
	}
	infos := make([]bundle.FileInfo, 0, len(files))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		// Of what is structured, the value is hashed, not its spelling.
		var value any = files[name]
		if bundle.IsStructuredDoc(path.Clean(name)) {
			value = nil
			if err := util.Unmarshal(files[name], &value); err != nil {
				return nil, fmt.Errorf("sign bundle: read %s: %w", name, err)
			}
		}
		hash, err := hasher.HashFile(value)
		if err != nil {
			return nil, fmt.Errorf("sign bundle: hash %s: %w", name, err)
		}
		infos = append(infos, bundle.NewFile(name, hex.EncodeToString(hash), bundle.SHA256.String()))
	}
	token, err := bundle.GenerateSignedToken(infos, bundle.NewSigningConfig(s.private.Reveal(), s.algorithm, ""), s.id)
	if err != nil {
		return nil, fmt.Errorf("sign bundle: %w", err)
	}
	content, err := json.Marshal(bundle.SignaturesConfig{Signatures: []string{token}})
	if err != nil {
		return nil, fmt.Errorf("sign bundle: %w", err)
	}
	return append(content, '\n'), nil
}

// verification is what an agent is configured with.
func (s *Signer) verification() *bundle.VerificationConfig {
	return bundle.NewVerificationConfig(map[string]*bundle.KeyConfig{s.id: {Key: s.public, Algorithm: s.algorithm}}, s.id, "", nil)
}
