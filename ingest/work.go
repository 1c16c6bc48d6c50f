package ingest

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/lease"
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
	leased, tasks, stop := w.lease(ctx, batch.Claims)
	defer stop()

	var failed error
	for _, g := range groups(batch, tasks) {
		g.stopped = ctx.Done()
		failed = errors.Join(failed, w.workGroup(leased, g))
	}
	return failed
}

// A task is a claim that is being worked on.
type task struct {
	polset.Claim
	lease.Hold
}

// lease keeps the leases of claims until stop is called.
func (w *Worker) lease(ctx context.Context, claims []polset.Claim) (leased context.Context, tasks []task, stop func()) {
	leases := make([]polset.Lease, len(claims))
	for i, c := range claims {
		leases[i] = c.Lease
	}
	leased, holds, stop := lease.Renewal{Rows: w.Ledger.Renew, TTL: w.Lease, Logger: w.Logger}.Keep(ctx, leases)
	for i, c := range claims {
		tasks = append(tasks, task{c, holds[i]})
	}
	return leased, tasks, stop
}

// A group is the part of a batch that one fetch can serve: one credential,
// and one branch.
type group struct {
	repository polset.Repository
	remote     polset.Remote
	credential string
	connected  bool
	branch     string
	look       int64
	head       polset.Head // as it was seen last
	lookedBack bool        // whether it was seen twice
	tasks      []task
	stopped    <-chan struct{} // the server
}

// groups splits a batch by credential and branch, keeping the order.
func groups(b polset.Batch, tasks []task) []*group {
	type key struct{ credential, branch string }
	var list []*group
	index := map[key]*group{}
	for _, t := range tasks {
		k := key{t.Ingestion.Credential(), t.Ingestion.Branch}
		g, ok := index[k]
		if !ok {
			remote, connected := b.Remotes[k.credential]
			g = &group{
				repository: b.Repository, remote: remote,
				credential: k.credential, connected: connected && k.credential != "",
				branch: k.branch, look: b.Look,
			}
			index[k] = g
			list = append(list, g)
		}
		g.tasks = append(g.tasks, t)
	}
	return list
}

// workGroup observes the branch, opens the commit and works on each task.
func (w *Worker) workGroup(ctx context.Context, g *group) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.Join(err, w.settleAll(g.tasks, lease.Panicked(p)))
		}
	}()
	if err := w.dropCrashing(g); err != nil || len(g.tasks) == 0 {
		return err
	}
	if !g.connected {
		return w.settleAll(g.tasks, disconnected(g.tasks[0].Ingestion.InstallationID))
	}

	if g.head, err = w.observe(ctx, g); err != nil {
		return w.settleAll(g.tasks, err)
	}
	commit := g.tasks[0].Ingestion.Commit
	if commit == "" {
		if err := w.resolveHead(g); err != nil || len(g.tasks) == 0 {
			return err
		}
		commit = g.head.Commit
	}

	snapshot, err := w.open(ctx, g.remote, commit, g.head.Branch)
	if err != nil {
		return w.settleAll(g.tasks, err)
	}
	defer func() {
		if cerr := snapshot.Close(); cerr != nil {
			w.Logger.Warn("close snapshot", zap.String("repo", g.remote.Identifier), zap.Error(cerr))
		}
	}()
	for len(g.tasks) > 0 {
		t := g.tasks[0]
		g.tasks = g.tasks[1:] // a panic below is t's alone
		failure, err := w.workTask(snapshot, g, t)
		if err != nil {
			return errors.Join(err, w.abandon(g.tasks))
		}
		if failure != nil && failure.Hung {
			// A server that hangs would hang for each of them.
			return w.settleAll(g.tasks, failure)
		}
	}
	return nil
}

// disconnected is the failure of what has nothing to read with; the id is that
// of the installation it was to read with, "" where that was a connection.
func disconnected(installationID string) error {
	if installationID != "" {
		return polset.Fail(polset.ClassAuth,
			"The GitHub App installation of this policy set was removed, or its organization may not use it any more; "+
				"set github-app-installation-id of its vcs-repo to another one, or let the organization use it again.")
	}
	return polset.Fail(polset.ClassAuth,
		"The connection of this policy set was deleted; set oauth-token-id or github-app-installation-id of its vcs-repo to another one.")
}

// dropCrashing ends what took its worker with it too often.
func (w *Worker) dropCrashing(g *group) error {
	tasks := g.tasks
	g.tasks = nil
	for i, t := range tasks {
		silent := t.Ingestion.Attempts - 1 - t.Ingestion.Failures
		if silent < w.MaxCrashes {
			g.tasks = append(g.tasks, t)
			continue
		}
		err := w.settle(t, polset.Content{}, gaveUp(silent))
		if err != nil {
			return errors.Join(err, w.abandon(g.tasks), w.abandon(tasks[i+1:]))
		}
	}
	return nil
}

// gaveUp is the failure of what ended so many attempts without a word.
func gaveUp(silent int) error {
	return polset.Fail(polset.ClassInternal,
		"polset gave up after %d attempts that ended without a word, as a crash does.", silent)
}

// observe looks where the branch stands and records it.
func (w *Worker) observe(ctx context.Context, g *group) (polset.Head, error) {
	defer w.timed("head")()
	look, cancel := context.WithTimeout(ctx, w.HeadTimeout)
	defer cancel()
	head, err := w.Source.Head(look, g.remote, g.branch)
	if err != nil {
		return head, deadline(ctx, look, err, "look at the branch", w.HeadTimeout)
	}
	err = w.Branches.Observe(ctx, polset.Observation{
		RepositoryID: g.repository.ID, Branch: g.branch, Head: head, Credential: g.credential, Look: g.look,
	})
	if err != nil {
		return head, fmt.Errorf("record the head of %s: %w", g.remote.Identifier, err)
	}
	return head, nil
}

// lookAgain looks a second time at a branch whose head was another commit:
// GitHub's replicas lag, and the time of the fetch is often enough. It cannot
// fail: the first look stands.
func (w *Worker) lookAgain(ctx context.Context, g *group, commit string) {
	if commit == g.head.Commit || g.lookedBack {
		return
	}
	g.lookedBack = true
	head, err := w.observe(ctx, g)
	if err != nil {
		w.Logger.Info("second look failed", zap.String("repo", g.remote.Identifier), zap.Error(err))
		return
	}
	g.head = head
}

// resolveHead gives the head's commit to the tasks that began without one. What
// it could not resolve is settled and gone from the group.
func (w *Worker) resolveHead(g *group) error {
	if g.head.Commit == "" {
		return w.settleAll(g.tasks, polset.Fail(polset.ClassCommitNotFound,
			"The repository %s has no branch %q; create it, or change the branch of the policy set.", g.remote.Identifier, g.head.Branch))
	}
	tasks := g.tasks
	g.tasks = nil
	for i, t := range tasks {
		if err := w.Branches.Resolve(t.Ctx, t.Lease, g.head); err != nil {
			if err := w.settle(t, polset.Content{}, err); err != nil {
				return errors.Join(err, w.abandon(g.tasks), w.abandon(tasks[i+1:]))
			}
			continue
		}
		t.Ingestion.Commit = g.head.Commit
		g.tasks = append(g.tasks, t)
	}
	return nil
}
