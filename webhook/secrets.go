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
// those of the stored App. The latter are remembered for a moment, and read by
// one request at a time, so that a flood of requests that nobody signed costs
// about one small query a second.
type appSecrets struct {
	operator []polset.Secret
	read     func(context.Context) ([]polset.Secret, error)
	now      func() time.Time

	reading sync.Mutex
	memory  atomic.Pointer[storedSecrets]
}

// storedSecrets is what the database said, and when it was asked.
type storedSecrets struct {
	at      time.Time
	secrets []polset.Secret
	err     error // none exist, or the database did not answer
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

// ask returns what the database said at most so long ago, or asks it.
func (a *appSecrets) ask(ctx context.Context, age time.Duration) *storedSecrets {
	if m := a.recent(age); m != nil {
		return m
	}
	a.reading.Lock()
	defer a.reading.Unlock()
	if m := a.recent(age); m != nil { // another request has asked meanwhile
		return m
	}
	m := &storedSecrets{at: a.now()} // before the answer: it may be old when it comes
	// The answer is for every request: one that hangs up must not spoil it.
	m.secrets, m.err = a.read(context.WithoutCancel(ctx))
	a.memory.Store(m)
	return m
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
