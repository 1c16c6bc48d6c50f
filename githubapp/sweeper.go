package githubapp

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/polset/polset"
)

// Registry is what polset knows of installations and deliveries.
type Registry interface {
	// SaveInstallations remembers installations; complete says that there are
	// no others.
	SaveInstallations(ctx context.Context, list []polset.Installation, complete bool) error
	// KnownDeliveries says which of the deliveries to a hook arrived. What it
	// does not mention did not.
	KnownDeliveries(ctx context.Context, hookID string, guids []string) (map[string]bool, error)
}

// SweeperConfig is what a Sweeper needs. Client and Registry are required.
type SweeperConfig struct {
	Client   *Client
	Registry Registry
	// Every is the pause between looks at the deliveries; 5 min.
	Every time.Duration
	// SyncEvery is the pause between looks at the installations; 1 h.
	SyncEvery time.Duration
	Logger    *zap.Logger // nil logs nothing
}

// Bounds of a sweep.
const (
	maxAttempts   = 5           // of GitHub to deliver one event
	attemptPause  = time.Minute // in which the latest may still be answered
	sweepOverlap  = 2 * time.Minute
	maxRedeliver  = 200 // in one sweep
	guidsAtOnce   = 500
	firstAgain    = 15 * time.Second // after a sweep that failed
	maxSweepAgain = time.Hour
	maxLookPages  = 50               // of a hundred attempts, newest first
	maxLookAge    = 15 * time.Minute // then a look begins anew: much is newer
)

// A Sweeper finds what no delivery brought: installations that polset has not
// heard of, or not of their end, and events that failed to arrive. A push is
// not asked for again: the heads of branches tell all that it would.
//
// Its methods are not for concurrent use.
type Sweeper struct {
	SweeperConfig
	now func() time.Time
	seen
}

// seen is what a sweeper remembers of one App.
type seen struct {
	app    int64     // whose installations were synced
	synced time.Time // when
	looked time.Time // the newest attempts then were seen
	swept  time.Time // there is nothing left to see before
	under  *look     // the one that a fault broke off
	told   bool      // that attempts are too many
	open   map[string]*undelivered
}

// A look reads the attempts since the last one, newest first. After a fault the
// next step goes on with the page that is missing.
type look struct {
	began   time.Time
	since   time.Time
	cursor  string          // of the next page
	pages   int             // read
	settled map[string]bool // of which a later attempt arrived
}

// undelivered is an event whose latest known attempt failed.
type undelivered struct {
	event    string
	attempts map[int64]bool // GitHub's numbers
	latest   attempt
	asked    time.Time // when it was last asked for
	refused  int       // times that GitHub refused to send it again
}

// NewSweeper returns a sweeper.
func NewSweeper(c SweeperConfig) (*Sweeper, error) {
	if c.Client == nil || c.Registry == nil {
		return nil, errors.New("githubapp: a sweeper needs Client and Registry")
	}
	if c.Every <= 0 {
		c.Every = 5 * time.Minute
	}
	if c.SyncEvery <= 0 {
		c.SyncEvery = time.Hour
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return &Sweeper{SweeperConfig: c, now: c.Client.now}, nil
}

// Run sweeps at once and then periodically until the context ends. After a
// failure it tries again sooner, or when GitHub allows.
func (s *Sweeper) Run(ctx context.Context) {
	again := firstAgain
	for ctx.Err() == nil {
		pause := s.Every
		if err := guarded(func() error { return s.Step(ctx) }); err != nil && ctx.Err() == nil {
			f := polset.FailureOf(err)
			pause = max(min(again, s.Every), min(f.RetryAfter, maxSweepAgain))
			again = min(2*again, s.Every)
			s.Logger.Warn("sweep of GitHub", zap.Duration("again_after", pause), zap.Error(err))
		} else {
			again = firstAgain
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// Step looks at the installations, where that is due, and at the deliveries.
// Without an App it does nothing.
func (s *Sweeper) Step(ctx context.Context) error {
	app, err := s.Client.apps.get(ctx, false)
	if errors.Is(err, polset.ErrNotFound) {
		s.Logger.Debug("no GitHub App to sweep for")
		return nil
	}
	if err != nil {
		return err
	}
	if app.ID != s.app || s.open == nil {
		s.seen = seen{app: app.ID, open: map[string]*undelivered{}}
	}
	var failed error
	if s.synced.IsZero() || s.now().Sub(s.synced) >= s.SyncEvery {
		failed = s.sync(ctx)
	}
	return errors.Join(failed, s.sweep(ctx))
}

// sync tells the registry of the installations. Where the list may not be
// complete, it says so, for the others would seem to be gone, and the next step
// tries again.
func (s *Sweeper) sync(ctx context.Context) error {
	now := s.now()
	list, complete, err := s.Client.installations(ctx)
	if err != nil {
		return err
	}
	if err := s.Registry.SaveInstallations(ctx, list, complete); err != nil {
		return err
	}
	if complete {
		s.synced = now
	}
	s.Logger.Debug("installations synced", zap.Int("installations", len(list)), zap.Bool("complete", complete))
	return nil
}

// sweep looks at the attempts since the last sweep, and asks for what failed to
// arrive, as far as it could see.
func (s *Sweeper) sweep(ctx context.Context) error {
	now := s.now()
	failed := s.look(ctx, now)
	oldest := now.Add(-deliveryAge)
	for guid, u := range s.open {
		if u.event == "push" || u.latest.DeliveredAt.Before(oldest) {
			delete(s.open, guid)
		}
	}
	return errors.Join(failed, s.redeliver(ctx, now))
}

// look notes the attempts since the last look, or as many of the newest as it
// may read.
func (s *Sweeper) look(ctx context.Context, now time.Time) error {
	l := s.under
	if l == nil || now.Sub(l.began) >= maxLookAge {
		l = &look{began: now, since: now.Add(-deliveryAge), settled: map[string]bool{}}
		if s.swept.After(l.since) {
			l.since = s.swept
		}
		s.under = l
	}
	more := true
	for more && l.pages < maxLookPages {
		page, next, err := s.Client.attempts(ctx, l.cursor)
		if err != nil {
			if !polset.FailureOf(err).Retry {
				s.under = nil // its cursor may be why
			}
			return err
		}
		if l.pages == 0 {
			s.looked = l.began
		}
		l.pages, l.cursor, more = l.pages+1, next, next != ""
		for _, a := range page {
			if a.DeliveredAt.Before(l.since) {
				more = false
				break
			}
			s.note(a, l.settled)
		}
	}
	if more && !s.told {
		s.Logger.Warn("too many deliveries: older ones that failed are not asked for again",
			zap.Int("pages", l.pages), zap.Time("since", l.since))
	}
	s.under, s.swept, s.told = nil, l.began.Add(-sweepOverlap), more
	return nil
}

// note takes one attempt into account; they come newest first.
func (s *Sweeper) note(a attempt, settled map[string]bool) {
	u := s.open[a.GUID]
	switch {
	case settled[a.GUID]:
		return
	case u != nil && (u.latest.DeliveredAt.After(a.DeliveredAt) || u.latest.ID == a.ID):
		u.attempts[a.ID] = true
		if u.latest.ID == a.ID {
			u.latest = a // its answer may have come since
		}
	case u != nil:
		u.attempts[a.ID] = true
		u.latest = a
	case a.failed():
		u = &undelivered{event: a.Event, attempts: map[int64]bool{a.ID: true}, latest: a}
		s.open[a.GUID] = u
	}
	if u == nil || !u.latest.failed() {
		settled[a.GUID] = true
		delete(s.open, a.GUID)
	}
}

// redeliver asks once more for each open event that did not arrive in any
// other way.
func (s *Sweeper) redeliver(ctx context.Context, now time.Time) error {
	due := s.due(now)
	asked := 0
	for len(due) > 0 && asked < maxRedeliver {
		batch := due[:min(len(due), guidsAtOnce)]
		due = due[len(batch):]
		known, err := s.Registry.KnownDeliveries(ctx, polset.HookGitHubApp, batch)
		if err != nil {
			return err
		}
		for _, guid := range batch {
			if known[guid] {
				delete(s.open, guid)
				continue
			}
			if asked == maxRedeliver {
				break
			}
			asked++
			if err := s.again(ctx, guid); err != nil {
				return err
			}
		}
	}
	return nil
}

// due lists the open events that may be asked for now, oldest first. One that
// was asked for has to wait for a look that can tell what became of it.
func (s *Sweeper) due(now time.Time) []string {
	var guids []string
	for guid, u := range s.open {
		if len(u.attempts)+u.refused < maxAttempts && now.Sub(u.latest.DeliveredAt) > attemptPause &&
			now.Sub(u.asked) > attemptPause && u.asked.Before(s.looked) {
			guids = append(guids, guid)
		}
	}
	slices.SortFunc(guids, func(a, b string) int {
		return cmp.Or(s.open[a].latest.DeliveredAt.Compare(s.open[b].latest.DeliveredAt), cmp.Compare(a, b))
	})
	return guids
}

// again asks for one event. Only what would meet the next one as well is an
// error.
func (s *Sweeper) again(ctx context.Context, guid string) error {
	u := s.open[guid]
	facts := []zap.Field{zap.String("delivery", guid), zap.String("event", u.event), zap.Int("attempts", len(u.attempts))}
	err := s.Client.redeliver(ctx, u.latest.ID)
	switch {
	case err == nil:
		s.Logger.Info("delivery asked for again", facts...)
		u.asked = s.now()
	case polset.FailureOf(err).Retry, ctx.Err() != nil:
		return err
	default:
		u.refused++
		s.Logger.Info("delivery cannot be had again", append(facts, zap.Error(err))...)
	}
	return nil
}
