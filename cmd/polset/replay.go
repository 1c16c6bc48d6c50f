package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/google/uuid"

	"github.com/polset/polset"
	"github.com/polset/polset/store"
)

type replayCommand struct {
	rows    `embed:""`
	appKeys `embed:""`
	network `embed:""`

	Delivery string `required:"" placeholder:"ID" help:"The delivery's id, X-GitHub-Delivery."`
}

// Run ingests what a delivery brought once more. A delivery that gave rise to
// no ingestion, or that never arrived, is asked of GitHub again.
func (r *replayCommand) Run(ctx context.Context) error {
	id, err := uuid.Parse(r.Delivery)
	if err != nil {
		return errors.New("--delivery must be a uuid, as GitHub shows it in X-GitHub-Delivery")
	}
	if err := r.checkApp(); err != nil {
		return err
	}
	return r.withStore(ctx, func(s *store.Store) error {
		again, err := s.Replay(ctx, commandLine, id.String())
		if err != nil && !errors.Is(err, polset.ErrNotFound) {
			return err
		}
		for _, i := range again {
			if _, err := fmt.Println(i); err != nil {
				return err
			}
		}
		if len(again) > 0 {
			_, err := fmt.Fprintln(os.Stderr, "these ingestions were begun; a running server takes them up at once")
			return err
		}
		return r.redeliver(ctx, s, id.String())
	})
}

func (r *replayCommand) redeliver(ctx context.Context, s *store.Store, guid string) error {
	log, err := r.logger()
	if err != nil {
		return err
	}
	if _, err := r.apps(s).App(ctx); errors.Is(err, polset.ErrNotFound) {
		return fmt.Errorf("delivery %s began no ingestion, and without a GitHub App GitHub cannot be asked for it again; use Redeliver on the page of the webhook", guid)
	} else if err != nil {
		return err
	}
	client, err := r.newGitHub(r.apps(s), r.network, log, nil)
	if err != nil {
		return err
	}
	err = client.Redeliver(ctx, guid)
	if errors.Is(err, polset.ErrNotFound) {
		return fmt.Errorf("the App has no delivery %s; GitHub forgets deliveries after three days, and those of a repository's own webhook are on that webhook's page: press Redeliver there", guid)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(os.Stderr, "GitHub was asked to deliver it again")
	return err
}
