package webhook

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/polset/polset"
)

// How long what the database said of the App's secret is believed.
const (
	// secretsFor is for who signed with it: after this, one that was replaced
	// signs no more.
	secretsFor = 5 * time.Second
	// mismatchFor is for who signed with another: it may be new.
	mismatchFor = time.Second
	// absenceFor is for the time before the App's set-up, whose first
	// deliveries come right after it.
	absenceFor = 100 * time.Millisecond
)

// appSecrets are what may sign for the App's hook: the operator's secrets and
// those of the stored App. The latter are remembered for a moment, and all
// requests that need them meanwhile share one reading, so that a flood of
// requests that nobody signed costs about one small query at a time, and a slow
// database makes none of them wait for more than one answer.
type appSecrets struct {
	operator []polset.Secret
	read     func(context.Context) ([]polset.Secret, error)
	now      func() time.Time

	memory atomic.Pointer[storedSecrets]
	mu     sync.Mutex
	flight *reading // the one under way; nil: none
}

// storedSecrets is what the database said, and when it was asked.
type storedSecrets struct {
	at      time.Time
	secrets []polset.Secret
	err     error // none exist, or the database did not answer
}

// A reading is a question that the database has not answered yet, perhaps for
// many requests.
type reading struct {
	done   chan struct{} // closed when it has
	answer storedSecrets // not to be read before
}

// known returns the secrets without asking the database where it can: the
// operator's with those that are remembered. It answers a refusal where there
// is none.
func (a *appSecrets) known(ctx context.Context) ([]polset.Secret, error) {
	if m := a.recent(secretsFor); m != nil && m.err == nil {
		return append(m.secrets[:len(m.secrets):len(m.secrets)], a.operator...), nil
	}
	if len(a.operator) > 0 {
		return a.operator, nil
	}
	m := a.ask(ctx, absenceFor)
	switch {
	case errors.Is(m.err, polset.ErrNotFound):
		return nil, unavailable(noSecret, errors.New("POLSET_GITHUB_WEBHOOK_SECRET is not set and no GitHub App has been set up"))
	case m.err != nil:
		return nil, notLookedUp(m.err)
	}
	return m.secrets, nil
}

// again returns the stored secrets for a request that none of the known ones
// has signed.
func (a *appSecrets) again(ctx context.Context) ([]polset.Secret, error) {
	m := a.ask(ctx, mismatchFor)
	switch {
	case errors.Is(m.err, polset.ErrNotFound):
		return nil, nil
	case m.err != nil:
		return nil, notLookedUp(m.err) // who signed cannot be told
	}
	return m.secrets, nil
}

// ask returns what the database said at most so long ago, or waits for what it
// says now. Requests wait together; each waits at most for the question that
// was under way when it came and, if that was asked too long ago, for one more.
func (a *appSecrets) ask(ctx context.Context, age time.Duration) *storedSecrets {
	if m := a.recent(age); m != nil {
		return m
	}
	came := a.now()
	var m *storedSecrets
	for range 2 {
		r, known := a.join(ctx, age)
		if known != nil {
			return known
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			return &storedSecrets{err: ctx.Err()}
		}
		m = &r.answer
		down := m.err != nil && !errors.Is(m.err, polset.ErrNotFound)
		if down || came.Sub(m.at) < age {
			break
		}
	}
	return m
}

// join returns the reading that is under way, or begins one. Where one ended a
// moment ago it returns what that said.
func (a *appSecrets) join(ctx context.Context, age time.Duration) (*reading, *storedSecrets) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.flight != nil {
		return a.flight, nil
	}
	if m := a.recent(age); m != nil {
		return nil, m
	}
	r := &reading{done: make(chan struct{})}
	r.answer.at = a.now() // before the answer: it may be old when it comes
	a.flight = r
	// The answer is for every request: one that hangs up must not spoil it.
	ctx = context.WithoutCancel(ctx)
	go func() {
		r.answer.secrets, r.answer.err = a.read(ctx)
		a.memory.Store(&r.answer)
		a.mu.Lock()
		a.flight = nil
		a.mu.Unlock()
		close(r.done)
	}()
	return r, nil
}

// recent returns the memory if it is younger than age. A clock that was set
// back makes it old.
func (a *appSecrets) recent(age time.Duration) *storedSecrets {
	m := a.memory.Load()
	if m == nil {
		return nil
	}
	if d := a.now().Sub(m.at); d < 0 || d >= age {
		return nil
	}
	return m
}

// storedSecrets reads the secrets of the stored App. One that holds none is as
// good as none.
func (r *Receiver) storedSecrets(ctx context.Context) ([]polset.Secret, error) {
	ctx, cancel := context.WithTimeout(ctx, r.answerTimeout)
	defer cancel()
	app, err := r.recorder.Hook(ctx, polset.HookGitHubApp)
	if err != nil {
		return nil, err
	}
	if !usable(app.Secrets) {
		return nil, polset.ErrNotFound
	}
	return app.Secrets, nil
}

// usable reports whether any of the secrets can sign.
func usable(secrets []polset.Secret) bool {
	for _, s := range secrets {
		if !s.Empty() {
			return true
		}
	}
	return false
}
