package webhook_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/polset/polset"
	"github.com/polset/polset/webhook"
)

// A clock stands still until it is told to go on.
type clock struct{ nanoseconds atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(1_770_000_000, c.nanoseconds.Load()) }
func (c *clock) goOn(d time.Duration)    { c.nanoseconds.Add(int64(d)) }
func (c *clock) use(cfg *webhook.Config) { cfg.Now = c.now }

const storedSecret = "the stored App's"

func (m *memory) store(secrets ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := polset.Hook{ID: polset.HookGitHubApp}
	for _, s := range secrets {
		h.Secrets = append(h.Secrets, polset.NewSecret(s))
	}
	m.hooks[polset.HookGitHubApp] = h
}

func (m *memory) asked() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lookups
}

func TestStoredApp(t *testing.T) {
	ping := file(t, "ping.json")
	signedBy := func(secret string) *request {
		return delivery("ping", ping).with("X-Hub-Signature-256", sign(secret, ping))
	}
	without := func(c *webhook.Config) { c.Secrets = nil }

	t.Run("signs beside the operator", func(t *testing.T) {
		s := serve(t)
		s.memory.store(storedSecret)
		s.answered(signedBy(appSecret), 200, "ignored")
		if n := s.memory.asked(); n != 0 {
			t.Errorf("the operator's secret matched, and the database was asked %d times", n)
		}
		s.answered(signedBy(storedSecret), 200, "ignored")
		s.refused(signedBy("another"), 401, "unauthorized")
		s.refused(signedBy(""), 401, "unauthorized")
	})

	t.Run("signs alone", func(t *testing.T) {
		s := serve(t, without)
		s.memory.store(storedSecret)
		s.answered(signedBy(storedSecret), 200, "ignored")
		s.refused(signedBy(appSecret), 401, "unauthorized")
		s.refused(signedBy(storedSecret).with("X-Hub-Signature-256"), 401, "unauthorized")
	})

	t.Run("case 05 a stored App without a secret", func(t *testing.T) {
		s := serve(t, without)
		s.memory.store("")
		s.refused(signedBy(""), 503, "unavailable")
		s = serve(t)
		s.memory.store("")
		s.refused(signedBy(""), 401, "unauthorized")
	})

	t.Run("set up while polset runs", func(t *testing.T) {
		c := &clock{}
		s := serve(t, without, c.use)
		for range 20 {
			s.refused(signedBy(storedSecret), 503, "unavailable")
		}
		if n := s.memory.asked(); n != 1 {
			t.Errorf("%d look-ups within one moment", n)
		}
		s.memory.store(storedSecret)
		c.goOn(100 * time.Millisecond)
		s.answered(signedBy(storedSecret), 200, "ignored")
	})

	t.Run("case 02 a flood of wrong signatures", func(t *testing.T) {
		c := &clock{}
		for name, change := range map[string]func(*webhook.Config){"with the operator": func(*webhook.Config) {}, "alone": without} {
			s := serve(t, change, c.use)
			s.memory.store(storedSecret)
			for range 50 {
				s.refused(signedBy("another"), 401, "unauthorized")
			}
			if n := s.memory.asked(); n != 1 {
				t.Errorf("%s: %d look-ups for 50 requests at a time", name, n)
			}
			c.goOn(time.Second)
			for range 50 {
				s.refused(signedBy("another"), 401, "unauthorized")
			}
			if n := s.memory.asked(); n != 2 {
				t.Errorf("%s: %d look-ups a second later", name, n)
			}
		}
	})

	t.Run("a flood at a time", func(t *testing.T) {
		s := serve(t, func(c *webhook.Config) { c.Recorder = slowHook{c.Recorder.(*memory)} }, (&clock{}).use)
		s.memory.store(storedSecret)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { s.refused(signedBy("another"), 401, "unauthorized") })
		}
		all.Wait()
		if n := s.memory.asked(); n != 1 {
			t.Errorf("%d look-ups", n)
		}
	})

	t.Run("a burst while the database is slow", func(t *testing.T) {
		// Every answer is too old for the next request when it comes.
		c := &clock{}
		s := serve(t, without, c.use, func(cfg *webhook.Config) {
			cfg.Recorder = agingHook{slowHook{cfg.Recorder.(*memory)}, c}
		})
		s.memory.store(storedSecret)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { s.answered(signedBy(storedSecret), 200, "ignored") })
		}
		all.Wait()
		if n := s.memory.asked(); n > 2 {
			t.Errorf("%d look-ups, one after the other", n)
		}
	})

	t.Run("case 06 rotation of the stored secret", func(t *testing.T) {
		c := &clock{}
		s := serve(t, without, c.use)
		s.memory.store("old")
		s.answered(signedBy("old"), 200, "ignored")
		s.memory.store("new")
		s.refused(signedBy("new"), 401, "unauthorized")
		c.goOn(time.Second)
		s.answered(signedBy("new"), 200, "ignored")
		s.refused(signedBy("old"), 401, "unauthorized")

		// The old one is forgotten without anybody who signs with the new one.
		s.memory.store("newest")
		s.answered(signedBy("new"), 200, "ignored")
		c.goOn(5 * time.Second)
		s.refused(signedBy("new"), 401, "unauthorized")

		// A clock that was set back does not keep it either.
		s.memory.store("last")
		c.goOn(-time.Hour)
		s.refused(signedBy("newest"), 401, "unauthorized")
	})

	t.Run("case 28 database down", func(t *testing.T) {
		c := &clock{}
		s := serve(t, func(cfg *webhook.Config) { cfg.Recorder = lostHook{cfg.Recorder.(*memory)} }, c.use)
		s.memory.store(storedSecret)
		s.answered(signedBy(appSecret), 200, "ignored")
		for range 10 {
			got := s.refused(signedBy(storedSecret), 503, "unavailable")
			if got.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		}
		if n := s.memory.asked(); n != 1 {
			t.Errorf("a database that is down was asked %d times", n)
		}
		s = serve(t, func(cfg *webhook.Config) { cfg.Recorder, cfg.Secrets = lostHook{cfg.Recorder.(*memory)}, nil })
		s.refused(signedBy(storedSecret), 503, "unavailable")
	})

	t.Run("who hangs up does not spoil it for others", func(t *testing.T) {
		entered, answer, logged := make(chan struct{}, 1), make(chan struct{}), make(chan struct{}, 2)
		s := serve(t, func(c *webhook.Config) {
			c.Recorder = waitingHook{c.Recorder.(*memory), entered, answer}
			c.Logger = c.Logger.WithOptions(zap.Hooks(func(zapcore.Entry) error {
				logged <- struct{}{}
				return nil
			}))
		}, (&clock{}).use)
		s.memory.store(storedSecret)
		ctx, hangUp := context.WithCancel(t.Context())
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			r := signedBy("another")
			req, err := http.NewRequestWithContext(ctx, r.method, s.URL+r.path, r.body)
			if err != nil {
				t.Error(err)
				return
			}
			req.Header = r.header
			if res, err := s.Client().Do(req); err == nil {
				t.Errorf("answered %d", res.StatusCode)
				_ = res.Body.Close()
			}
		}()
		select {
		case <-entered:
		case <-gone:
			t.Fatal("the database was not asked")
		}
		hangUp()
		<-gone
		close(answer)
		<-logged // it was told as everybody else
		s.answered(signedBy(storedSecret), 200, "ignored")
	})
}

// slowHook answers look-ups only when others wait, or a moment passed.
type slowHook struct{ *memory }

func (h slowHook) Hook(ctx context.Context, id string) (polset.Hook, error) {
	select {
	case <-ctx.Done():
		return polset.Hook{}, ctx.Err()
	case <-time.After(100 * time.Millisecond):
	}
	return h.memory.Hook(ctx, id)
}

// agingHook answers a second after it was asked, by polset's clock.
type agingHook struct {
	slowHook
	clock *clock
}

func (h agingHook) Hook(ctx context.Context, id string) (polset.Hook, error) {
	defer h.clock.goOn(time.Second)
	return h.slowHook.Hook(ctx, id)
}

// lostHook counts look-ups and answers none.
type lostHook struct{ *memory }

func (h lostHook) Hook(ctx context.Context, id string) (polset.Hook, error) {
	_, err := h.memory.Hook(ctx, id)
	return polset.Hook{}, errors.Join(errDown, err)
}

// waitingHook answers when it is told to, or not at all.
type waitingHook struct {
	*memory
	entered, answer chan struct{}
}

func (h waitingHook) Hook(ctx context.Context, id string) (polset.Hook, error) {
	select {
	case h.entered <- struct{}{}:
	default:
	}
	select {
	case <-ctx.Done():
		return polset.Hook{}, ctx.Err()
	case <-h.answer:
	}
	return h.memory.Hook(ctx, id)
}
