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
	"strconv"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/xchacha20poly1305"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/secretdata"
	"github.com/tink-crypto/tink-go/v2/tink"
	"go.uber.org/zap"

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
// (`openssl rand -base64 32` makes one). The first seals, all open. To rotate,
// start every node with "old,new", so that all can open what the new key will
// seal; then every node with "new,old", whose start seals anew what the old key
// sealed; and when no node seals with the old key any more and one has been
// started since, every node with "new".
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
// the first key, so that they change once in a rotation.
func (k Key) Derive(purpose string) []byte {
	if len(k.keys) == 0 {
		panic("store: Derive of an empty Key")
	}
	b, err := hkdf.Key(sha256.New, k.keys[0][:], nil, "polset/"+purpose, keySize)
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
func parameterPlace(id string) place  { return place{"policy_set_parameters", id} }
func outcomePlace(id string) place    { return place{"policy_set_outcomes", id} }
func appPlace(column string) place    { return place{"github_app", column} }

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
// What the first key cannot open is then sealed anew.
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
	return s.reseal(ctx, primary)
}

// reseal seals with the first key what it cannot open, in one transaction. It
// looks at every row at every start: a node that did not have the key yet may
// have sealed some after the others were done.
func (s *Store) reseal(ctx context.Context, primary tink.AEAD) error {
	err := s.write(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		sealer := resealer{store: s, primary: primary}
		tokens, err := tx.SealedTokens(ctx)
		if err != nil {
			return err
		}
		for _, r := range tokens {
			err := sealer.again(connectionPlace(r.ID), r.SealedToken, func(b []byte) error {
				return tx.UpdateSealedToken(ctx, rows.UpdateSealedTokenParams{ID: r.ID, SealedToken: b})
			})
			if err != nil {
				return err
			}
		}
		secrets, err := tx.SealedSecrets(ctx)
		if err != nil {
			return err
		}
		for _, r := range secrets {
			err := sealer.again(hookPlace(r.ID), r.SealedSecrets, func(b []byte) error {
				return tx.UpdateSealedSecrets(ctx, rows.UpdateSealedSecretsParams{ID: r.ID, SealedSecrets: b})
			})
			if err != nil {
				return err
			}
		}
		values, err := tx.SealedParameters(ctx)
		if err != nil {
			return err
		}
		for _, r := range values {
			err := sealer.again(parameterPlace(r.ID), r.SealedValue, func(b []byte) error {
				return tx.UpdateSealedParameter(ctx, rows.UpdateSealedParameterParams{ID: r.ID, SealedValue: b})
			})
			if err != nil {
				return err
			}
		}
		kept, err := tx.SealedOutcomeParameters(ctx)
		if err != nil {
			return err
		}
		for _, r := range kept {
			err := sealer.again(outcomePlace(r.ID), r.SealedParameters, func(b []byte) error {
				return tx.UpdateSealedOutcomeParameters(ctx, rows.UpdateSealedOutcomeParametersParams{ID: r.ID, SealedParameters: b})
			})
			if err != nil {
				return err
			}
		}
		if err := sealer.app(ctx, tx); err != nil {
			return err
		}
		canary, err := tx.Setting(ctx, canaryPlace.id)
		if err != nil {
			return err
		}
		err = sealer.again(canaryPlace, canary, func(b []byte) error {
			return tx.UpdateSetting(ctx, rows.UpdateSettingParams{Name: canaryPlace.id, Value: b})
		})
		if err != nil {
			return err
		}
		if sealer.resealed > 0 {
			tx.note(polset.ChainSite, "key.rotated", canaryPlace.id, map[string]string{"secrets": strconv.Itoa(sealer.resealed)})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("seal secrets with the first key: %w", err)
	}
	return nil
}

type resealer struct {
	store    *Store
	primary  tink.AEAD
	resealed int
}

// app seals anew what the GitHub App's row holds.
func (r *resealer) app(ctx context.Context, tx *tx) error {
	row, err := tx.App(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	before := r.resealed
	for column, sealed := range map[string]*[]byte{
		appPrivateKey: &row.SealedPrivateKey, appWebhookSecret: &row.SealedWebhookSecret, appClientSecret: &row.SealedClientSecret,
	} {
		err := r.again(appPlace(column), *sealed, func(b []byte) error {
			*sealed = b
			return nil
		})
		if err != nil {
			return err
		}
	}
	if r.resealed == before {
		return nil
	}
	return tx.UpdateSealedApp(ctx, rows.UpdateSealedAppParams{
		SealedPrivateKey: row.SealedPrivateKey, SealedWebhookSecret: row.SealedWebhookSecret, SealedClientSecret: row.SealedClientSecret,
	})
}

// again gives a secret, sealed anew, to put, if the first key does not open
// it. One that no key opens stays as it is: the rest must work without it.
func (r *resealer) again(at place, sealed []byte, put func(sealed []byte) error) error {
	if _, err := r.primary.Decrypt(sealed, at.associatedData()); err == nil {
		return nil
	}
	secret, err := r.store.open(at, sealed)
	if err != nil {
		r.store.logger.Error("sealed secret cannot be opened; is POLSET_ENCRYPTION_KEY complete?",
			zap.String("table", at.table), zap.String("row", at.id), zap.Error(err))
		return nil
	}
	fresh, err := r.store.seal(at, secret.Reveal())
	if err != nil {
		return err
	}
	r.resealed++
	return put(fresh)
}
