package store

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/xchacha20poly1305"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/secretdata"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

const keySize = 32

// A Key seals the secrets in the rows, and gives keys for other purposes. It
// prints as a placeholder.
type Key struct {
	keys [][keySize]byte // the first seals, all open
}

// NewKey returns a fresh key in the form that ParseKey reads.
func NewKey() string {
	b := make([]byte, keySize)
	if _, err := rand.Read(b); err != nil {
		panic(err) // crypto/rand never fails on supported systems
	}
	return base64.StdEncoding.EncodeToString(b)
}

// ParseKey reads one or more keys of 32 bytes in base64, separated by commas
// (`openssl rand -base64 32` makes one). To rotate, put the new key before the
// old one: what the old one sealed is sealed anew at the next start, after
// which the old one may go.
func ParseKey(s string) (Key, error) {
	var k Key
	for _, part := range strings.Split(s, ",") {
		part = strings.TrimSpace(part)
		b, err := base64.StdEncoding.DecodeString(part)
		if err != nil {
			b, err = base64.RawURLEncoding.DecodeString(strings.TrimRight(part, "="))
		}
		if err != nil || len(b) != keySize {
			return Key{}, fmt.Errorf("parse encryption key: each key must be %d bytes in base64", keySize)
		}
		k.keys = append(k.keys, [keySize]byte(b))
	}
	return k, nil
}

// Derive returns 32 bytes that belong to the purpose alone. They come from
// the last key, so that they stay the same while keys are rotated.
func (k Key) Derive(purpose string) []byte {
	if len(k.keys) == 0 {
		panic("store: Derive of an empty Key")
	}
	b, err := hkdf.Key(sha256.New, k.keys[len(k.keys)-1][:], nil, "polset/"+purpose, keySize)
	if err != nil {
		panic(err) // only lengths can be wrong
	}
	return b
}

// String implements fmt.Stringer with a placeholder.
func (k Key) String() string { return "[redacted]" }

// GoString implements fmt.GoStringer with a placeholder.
func (k Key) GoString() string { return "[redacted]" }

// aead builds a Tink key set. Each key's number in it is a part of its hash,
// so that every node that has the key agrees on the number.
func (k Key) aead() (tink.AEAD, error) {
	if len(k.keys) == 0 {
		return nil, errors.New("an encryption key is required")
	}
	params, err := xchacha20poly1305.NewParameters(xchacha20poly1305.VariantTink)
	if err != nil {
		return nil, fmt.Errorf("build key set: %w", err)
	}
	m := keyset.NewManager()
	for i, raw := range k.keys {
		sum := sha256.Sum256(raw[:])
		secret := secretdata.NewBytesFromData(raw[:], insecuresecretdataaccess.Token{})
		key, err := xchacha20poly1305.NewKey(secret, binary.BigEndian.Uint32(sum[:]), params)
		if err != nil {
			return nil, fmt.Errorf("build key set: %w", err)
		}
		id, err := m.AddKey(key)
		if err != nil {
			return nil, fmt.Errorf("build key set: %w", err)
		}
		if i == 0 {
			if err := m.SetPrimary(id); err != nil {
				return nil, fmt.Errorf("build key set: %w", err)
			}
		}
	}
	h, err := m.Handle()
	if err != nil {
		return nil, fmt.Errorf("build key set: %w", err)
	}
	return aead.New(h)
}

// A place binds a sealed secret to the row that it lies in.
type place struct{ table, id string }

func (p place) associatedData() []byte { return []byte(p.table + "/" + p.id) }

func connectionPlace(id string) place { return place{"connections", id} }
func hookPlace(id string) place       { return place{"repositories", id} }

var canaryPlace = place{"settings", "canary"}

func (s *Store) seal(at place, secret string) ([]byte, error) {
	b, err := s.aead.Encrypt([]byte(secret), at.associatedData())
	if err != nil {
		return nil, fmt.Errorf("seal secret of %s: %w", at.id, err)
	}
	return b, nil
}

func (s *Store) open(at place, sealed []byte) (polset.Secret, error) {
	b, err := s.aead.Decrypt(sealed, at.associatedData())
	if err != nil {
		return polset.Secret{}, fmt.Errorf("open sealed secret of %s: %w", at.id, err)
	}
	return polset.NewSecret(string(b)), nil
}

// checkKey refuses a key other than the one that sealed this database. The
// canary tells: the first start writes it, every other must be able to read it.
// A canary of a key that is being rotated out has everything sealed anew.
func (s *Store) checkKey(ctx context.Context, key Key) error {
	sealed, err := s.reads.Setting(ctx, canaryPlace.id)
	if errors.Is(err, sql.ErrNoRows) {
		fresh, err := s.seal(canaryPlace, "canary")
		if err != nil {
			return err
		}
		err = s.write(ctx, polset.System, func(ctx context.Context, tx *tx) error {
			return tx.PutSettingOnce(ctx, rows.PutSettingOnceParams{Name: canaryPlace.id, Value: fresh})
		})
		if err != nil {
			return fmt.Errorf("write key canary: %w", err)
		}
		// Another node may have been first, with another key.
		sealed, err = s.reads.Setting(ctx, canaryPlace.id)
		if err != nil {
			return fmt.Errorf("read key canary: %w", err)
		}
	} else if err != nil {
		return fmt.Errorf("read key canary: %w", err)
	}
	if _, err := s.open(canaryPlace, sealed); err != nil {
		return errors.New("the encryption key is not the one that sealed this database; set POLSET_ENCRYPTION_KEY to the one that it was created with")
	}
	primary, err := Key{keys: key.keys[:1]}.aead()
	if err != nil {
		return err
	}
	if _, err := primary.Decrypt(sealed, canaryPlace.associatedData()); err == nil {
		return nil
	}
	return s.reseal(ctx)
}

// reseal seals every secret with the first key, in one transaction.
func (s *Store) reseal(ctx context.Context) error {
	again := func(at place, sealed []byte) ([]byte, error) {
		secret, err := s.open(at, sealed)
		if err != nil {
			return nil, err
		}
		return s.seal(at, secret.Reveal())
	}
	err := s.write(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		tokens, err := tx.SealedTokens(ctx)
		if err != nil {
			return err
		}
		for _, r := range tokens {
			b, err := again(connectionPlace(r.ID), r.SealedToken)
			if err != nil {
				return err
			}
			if err := tx.UpdateSealedToken(ctx, rows.UpdateSealedTokenParams{ID: r.ID, SealedToken: b}); err != nil {
				return err
			}
		}
		secrets, err := tx.SealedSecrets(ctx)
		if err != nil {
			return err
		}
		for _, r := range secrets {
			b, err := again(hookPlace(r.ID), r.SealedSecrets)
			if err != nil {
				return err
			}
			if err := tx.UpdateSealedSecrets(ctx, rows.UpdateSealedSecretsParams{ID: r.ID, SealedSecrets: b}); err != nil {
				return err
			}
		}
		canary, err := s.seal(canaryPlace, "canary")
		if err != nil {
			return err
		}
		tx.note(polset.ChainSite, "key.rotated", canaryPlace.id, nil)
		return tx.UpdateSetting(ctx, rows.UpdateSettingParams{Name: canaryPlace.id, Value: canary})
	})
	if err != nil {
		return fmt.Errorf("seal secrets with the new key: %w", err)
	}
	return nil
}
