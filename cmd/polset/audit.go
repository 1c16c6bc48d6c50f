package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/store"
	"github.com/polset/polset/store/object"
)

type auditCommands struct {
	Verify auditVerifyCommand `cmd:"" help:"Walk the audit chains, and check that every ready version's archive exists with its digest."`
}

type auditVerifyCommand struct {
	rows    `embed:""`
	objects `embed:""`

	Head    map[string]string `placeholder:"CHAIN=HASH" help:"A hash that the chain is known to have held; it must still hold it. CHAIN is site or an org-… id; repeatable."`
	Objects bool              `default:"true" negatable:"" help:"Check the archives too (on)."`
}

// Run reads only: it works while a server runs, and without one.
func (a *auditVerifyCommand) Run(ctx context.Context) (err error) {
	log, err := a.logger()
	if err != nil {
		return err
	}
	s, err := a.openReadOnly(ctx, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()

	heads, err := s.VerifyAudit(ctx, a.Head)
	for _, h := range heads {
		fmt.Printf("chain %s  %d rows  head %s\n", h.Chain, h.Sequence, h.Hash)
	}
	var broken *store.BrokenChain
	if errors.As(err, &broken) {
		return fmt.Errorf("chain %s is broken at row %d: %s", broken.Chain, broken.Sequence, broken.Why)
	}
	if err != nil {
		return err
	}
	if !a.Objects {
		return nil
	}
	return a.verifyObjects(ctx, s, log)
}

func (a *auditVerifyCommand) openReadOnly(ctx context.Context, log *zap.Logger) (*store.Store, error) {
	if err := a.checkDatabase(); err != nil {
		return nil, err
	}
	if a.DatabaseURL == "" {
		if _, err := os.Stat(a.database()); err != nil {
			return nil, fmt.Errorf("there is no database in POLSET_DATA_DIR: %w", err)
		}
	}
	return store.OpenReadOnly(ctx, store.Config{URL: a.database(), Logger: log})
}

// verifyObjects reads every archive once and names every one that is missing
// or is not what its row says.
func (a *auditVerifyCommand) verifyObjects(ctx context.Context, s *store.Store, log *zap.Logger) error {
	bucket, err := a.openObjects(ctx, a.DataDir, log)
	if err != nil {
		return err
	}
	verified := map[string]error{}
	versions, bad := 0, 0
	err = s.ReadyVersions(ctx, func(v polset.Version) error {
		versions++
		err, seen := verified[v.Artifact.Digest]
		if !seen {
			err = object.Verify(ctx, bucket, v.Artifact.Digest)
			verified[v.Artifact.Digest] = err
		}
		if err != nil {
			bad++
			fmt.Fprintf(os.Stderr, "version %s of %s: %v\n", v.ID, v.PolicySetID, err)
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	fmt.Printf("%d ready versions, %d archives, %d bad\n", versions, len(verified), bad)
	if bad > 0 {
		return fmt.Errorf("%d of %d ready versions have no archive with their digest", bad, versions)
	}
	return nil
}
