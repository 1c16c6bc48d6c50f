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
	leased, tasks, stop := w.keep(ctx, batch.Claims)
	defer stop()

	var failed error
	for _, g := range groups(batch, tasks) {
		failed = errors.Join(failed, w.workGroup(leased, g))
	}
	return failed
}

// A group is the part of a batch that one fetch can serve: one credential,
// and one branch.
type group struct {
	repository polset.Repository
	remote     polset.Remote
	connected  bool
	branch     string
	look       int64
	head       polset.Head // as it was seen last
	lookedBack bool        // whether it was seen twice
	tasks      []task
}

// groups splits a batch by connection and branch, keeping the order.
func groups(b polset.Batch, tasks []task) []*group {
	type key struct{ token, branch string }
	var list []*group
	index := map[key]*group{}
	for _, t := range tasks {
		k := key{t.Ingestion.TokenID, t.Ingestion.Branch}
		g, ok := index[k]
		if !ok {
			remote, connected := b.Remotes[k.token]
			g = &group{
				repository: b.Repository, remote: remote, connected: connected && k.token != "",
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
			err = errors.Join(err, w.settleAll(g.tasks, panicked(p)))
		}
	}()
	if err := w.dropCrashing(g); err != nil || len(g.tasks) == 0 {
		return err
	}
	if !g.connected {
		return w.settleAll(g.tasks, polset.Fail(polset.ClassAuth,
			"The connection of this policy set was deleted; set oauth-token-id of its vcs-repo to another one."))
	}

	if g.head, err = w.observe(ctx, g); err != nil {
		return w.settleAll(g.tasks, err)
	}
	commit := g.tasks[0].Ingestion.Commit
	if commit == "" {
		if err := w.resolve(g); err != nil || len(g.tasks) == 0 {
			return err
		}
		commit = g.head.Commit
	}

	snapshot, err := w.open(ctx, g, commit)
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
		err := w.settle(t, polset.Content{}, polset.Fail(polset.ClassInternal,
			"polset gave up after %d attempts that ended without a word, as a crash does.", silent))
		if err != nil {
			return errors.Join(err, w.abandon(g.tasks), w.abandon(tasks[i+1:]))
		}
	}
	return nil
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
		RepositoryID: g.repository.ID, Branch: g.branch, Head: head, Look: g.look,
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

// resolve gives the head's commit to the tasks that began without one. What
// it could not resolve is settled and gone from the group.
func (w *Worker) resolve(g *group) error {
	if g.head.Commit == "" {
		return w.settleAll(g.tasks, polset.Fail(polset.ClassCommitNotFound,
			"The repository %s has no branch %q; create it, or change the branch of the policy set.", g.remote.Identifier, g.head.Branch))
	}
	tasks := g.tasks
	g.tasks = nil
	for i, t := range tasks {
		if err := w.Branches.Resolve(t.ctx, t.Lease, g.head); err != nil {
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

func (w *Worker) open(ctx context.Context, g *group, commit string) (Snapshot, error) {
	defer w.timed("open")()
	fetch, cancel := context.WithTimeout(ctx, w.FetchTimeout)
	defer cancel()
	s, err := w.Source.Open(fetch, g.remote, commit, g.head.Branch)
	if err != nil {
		return nil, deadline(ctx, fetch, err, "fetch the commit", w.FetchTimeout)
	}
	return s, nil
}

// deadline turns the end of a stage's own deadline into a failure that says so.
func deadline(parent, stage context.Context, err error, doing string, limit time.Duration) error {
	if parent.Err() == nil && errors.Is(stage.Err(), context.DeadlineExceeded) && polset.FailureOf(err).Class == polset.ClassInternal {
		return &polset.Failure{
			Class: polset.ClassTimeout, Retry: true, Hung: true, Err: err,
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
