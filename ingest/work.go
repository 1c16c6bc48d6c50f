package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/polset/polset"
)

// Work does whatever is due of one commit of one repository; commit is ""
// for ingestions that begin with the branch head. It returns an error only
// when the rows could not be reached: every other outcome is in them.
func (w *Worker) Work(ctx context.Context, repositoryID, commit string) error {
	batch, err := w.Ledger.Claim(ctx, repositoryID, commit, w.Lease)
	if err != nil {
		return fmt.Errorf("claim ingestions of %s at %q: %w", repositoryID, commit, err)
	}
	if len(batch.Claims) == 0 {
		return nil
	}
	w.Logger.Debug("commit claimed", zap.String("repo", batch.Repository.Identifier),
		zap.String("commit", commit), zap.Int("ingestions", len(batch.Claims)))
	leased, stop := w.keep(ctx, batch)
	defer stop()

	var failed error
	for _, g := range groups(batch) {
		if err := w.workGroup(leased, g); err != nil {
			failed = err
		}
	}
	return failed
}

// A group is the part of a batch that one fetch can serve: one credential,
// and one branch as a hint.
type group struct {
	repository polset.Repository
	remote     polset.Remote
	connected  bool
	branch     string
	at         time.Time
	claims     []polset.Claim
}

// groups splits a batch by connection and branch, keeping the order.
func groups(b polset.Batch) []group {
	type key struct{ token, branch string }
	var list []group
	index := map[key]int{}
	for _, c := range b.Claims {
		k := key{c.Ingestion.TokenID, c.Ingestion.Branch}
		i, ok := index[k]
		if !ok {
			remote, connected := b.Remotes[k.token]
			i = len(list)
			index[k] = i
			list = append(list, group{
				repository: b.Repository, remote: remote, connected: connected && k.token != "",
				branch: k.branch, at: b.At,
			})
		}
		list[i].claims = append(list[i].claims, c)
	}
	return list
}

// workGroup observes the branch, opens the commit and works on each claim.
func (w *Worker) workGroup(ctx context.Context, g group) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = w.settleAll(ctx, g, panicked(p))
		}
	}()

	var fresh []polset.Claim
	for _, c := range g.claims {
		if c.Ingestion.Attempts > w.MaxCrashes {
			if err := w.settle(ctx, c, polset.Content{}, polset.Fail(polset.ClassInternal,
				"polset gave up after %d attempts that ended without a word, as a crash does.", c.Ingestion.Attempts-1)); err != nil {
				return err
			}
			continue
		}
		fresh = append(fresh, c)
	}
	g.claims = fresh
	if len(g.claims) == 0 {
		return nil
	}
	if !g.connected {
		return w.settleAll(ctx, g, polset.Fail(polset.ClassAuth,
			"The connection of this policy set was deleted; set oauth-token-id of its vcs-repo to another one."))
	}

	head, err := w.observe(ctx, g)
	if err != nil {
		return w.settleAll(ctx, g, err)
	}
	commit := g.claims[0].Ingestion.Commit
	if commit == "" {
		if g, err = w.resolve(ctx, g, head); err != nil || len(g.claims) == 0 {
			return err
		}
		commit = head.Commit
	}

	snapshot, err := w.open(ctx, g, commit, head.Branch)
	if err != nil {
		return w.settleAll(ctx, g, err)
	}
	defer func() {
		if cerr := snapshot.Close(); cerr != nil {
			w.Logger.Warn("close snapshot", zap.String("repo", g.remote.Identifier), zap.Error(cerr))
		}
	}()
	for i, c := range g.claims {
		if err := w.workClaim(ctx, snapshot, c); err != nil {
			return errors.Join(err, w.abandon(ctx, g.claims[i+1:]))
		}
	}
	return nil
}

// observe looks where the branch stands and records it.
func (w *Worker) observe(ctx context.Context, g group) (polset.Head, error) {
	defer w.timed("head")()
	look, cancel := context.WithTimeout(ctx, w.HeadTimeout)
	defer cancel()
	head, err := w.Source.Head(look, g.remote, g.branch)
	if err != nil {
		return head, deadline(ctx, look, err, "look at the branch", w.HeadTimeout)
	}
	err = w.Branches.Observe(ctx, polset.Observation{
		RepositoryID: g.repository.ID, Branch: g.branch, Head: head, At: g.at,
	})
	if err != nil {
		return head, fmt.Errorf("record the head of %s: %w", g.remote.Identifier, err)
	}
	return head, nil
}

// resolve gives the head's commit to the claims that began without one. What
// it could not resolve is settled and gone from the group that it returns.
func (w *Worker) resolve(ctx context.Context, g group, head polset.Head) (group, error) {
	if head.Commit == "" {
		return group{}, w.settleAll(ctx, g, polset.Fail(polset.ClassCommitNotFound,
			"The repository %s has no branch %q; create it, or change the branch of the policy set.", g.remote.Identifier, head.Branch))
	}
	claims := g.claims[:0:0]
	for _, c := range g.claims {
		if err := w.Branches.Resolve(ctx, c.Lease, head); err != nil {
			if err := w.settle(ctx, c, polset.Content{}, err); err != nil {
				return group{}, err
			}
			continue
		}
		c.Ingestion.Commit = head.Commit
		claims = append(claims, c)
	}
	g.claims = claims
	return g, nil
}

func (w *Worker) open(ctx context.Context, g group, commit, branch string) (Snapshot, error) {
	defer w.timed("open")()
	fetch, cancel := context.WithTimeout(ctx, w.FetchTimeout)
	defer cancel()
	s, err := w.Source.Open(fetch, g.remote, commit, branch)
	if err != nil {
		return nil, deadline(ctx, fetch, err, "fetch the commit", w.FetchTimeout)
	}
	return s, nil
}

// deadline turns the end of a stage's own deadline into a failure that says so.
func deadline(parent, stage context.Context, err error, doing string, limit time.Duration) error {
	if parent.Err() == nil && errors.Is(stage.Err(), context.DeadlineExceeded) && polset.FailureOf(err).Class == polset.ClassInternal {
		return &polset.Failure{
			Class: polset.ClassTimeout, Retry: true, Err: err,
			Message: fmt.Sprintf("It took longer than %s to %s.", limit, doing),
		}
	}
	return err
}

// timed starts the clock of a stage; the function that it returns stops it.
func (w *Worker) timed(stage string) func() {
	start := time.Now()
	return func() { w.stages.WithLabelValues(stage).Observe(time.Since(start).Seconds()) }
}
