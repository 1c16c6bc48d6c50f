package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/bundle"
	"github.com/polset/polset/policy"
)

// bundleKey is the key that signs OPA bundles.
type bundleKey struct {
	BundleSigningKey   string `name:"bundle-signing-key" env:"POLSET_BUNDLE_SIGNING_KEY" placeholder:"PEM|FILE" help:"Private key that signs OPA bundles, RSA or ECDSA, or the path of its file. Default: bundles are not signed."`
	BundleSigningKeyID string `name:"bundle-signing-key-id" env:"POLSET_BUNDLE_SIGNING_KEY_ID" default:"polset" placeholder:"ID" help:"Name by which OPA's configuration knows the public key (${default})."`

	signer *policy.Signer
}

// checkBundleKey reads the key, so that a wrong one is told at start and not by
// the agents.
func (k *bundleKey) checkBundleKey() error {
	if k.BundleSigningKey == "" {
		return nil
	}
	if k.BundleSigningKeyID == "" {
		return errors.New("POLSET_BUNDLE_SIGNING_KEY_ID must not be empty: OPA finds the key by it")
	}
	key, err := readPEM("POLSET_BUNDLE_SIGNING_KEY", k.BundleSigningKey)
	if err != nil {
		return err
	}
	if k.signer, err = policy.NewSigner(polset.NewSecret(key), k.BundleSigningKeyID); err != nil {
		return fmt.Errorf("POLSET_BUNDLE_SIGNING_KEY: %w", err)
	}
	k.BundleSigningKey = "" // the signer has it
	return nil
}

// newBundles makes what serves OPA's agents. What it keeps lies in the data
// directory: it is derived, and each node makes its own.
func (c config) newBundles(objects bundle.Objects, log *zap.Logger) (*bundle.Bundles, error) {
	log = log.Named("bundle")
	if c.signer != nil {
		log.Info("bundles are signed", zap.String("keyid", c.signer.KeyID()), zap.String("algorithm", c.signer.Algorithm()), zap.String("fingerprint", c.signer.Fingerprint()))
	}
	return bundle.New(bundle.Config{
		Objects: objects, Dir: filepath.Join(c.DataDir, "bundles"), Limits: c.limits(), Signer: c.signer, Logger: log,
	})
}
