package lease_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/lease"
)

// dues are numbers that are due, and what was done of them.
type dues struct {
	mu      sync.Mutex
	due     []int
	asked   []int // how many were asked for
	away    error
	running int
	most    int // at once
	done    []int
}

func (d *dues) add(due ...int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.due = append(d.due, due...)
}

func (d *dues) claim(_ context.Context, n int) ([]int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, n)
	if d.away != nil {
		return nil, d.away
	}
	n = min(n, len(d.due))
	claimed := d.due[:n:n]
	d.due = d.due[n:]
	return claimed, nil
}

// do takes a minute for each, whatever its context says.
func (d *dues) do(_ context.Context, due int) error {
	d.mu.Lock()
	d.running++
	d.most = max(d.most, d.running)
	d.mu.Unlock()
	time.Sleep(time.Minute)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running--
	d.done = append(d.done, due)
	return d.away
}

func (d *dues) loop() lease.Loop[int] {
	return lease.Loop[int]{Claim: d.claim, Do: d.do, Most: 2, Pause: time.Second, Poll: time.Hour, Logger: zap.NewNop()}
}

func TestLoop(t *testing.T) {
	t.Run("fills its places, and no more", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := &dues{due: []int{1, 2, 3, 4, 5}}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { d.loop().Run(ctx); close(ended) }()
			time.Sleep(4 * time.Minute)
			stop()
			<-ended
			slices.Sort(d.done)
			if !slices.Equal(d.done, []int{1, 2, 3, 4, 5}) || d.most != 2 {
				t.Errorf("did %v, %d at once", d.done, d.most)
			}
		})
	})
	t.Run("asks for as many as it has places", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := &dues{due: []int{1}}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { d.loop().Run(ctx); close(ended) }()
			time.Sleep(2 * time.Second) // one place is taken
			stop()
			<-ended
			if !slices.Equal(d.asked, []int{2, 1}) {
				t.Errorf("asked for %v", d.asked)
			}
		})
	})
	t.Run("wakes when it is told, or after a while", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d, wake := &dues{}, make(chan struct{}, 1)
			l := d.loop()
			l.Wake = wake
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { l.Run(ctx); close(ended) }()
			synctest.Wait()
			d.add(1)
			time.Sleep(time.Minute)
			synctest.Wait()
			if len(d.done) != 0 || len(d.asked) != 1 {
				t.Errorf("did %v of what it was not told of, after %d looks", d.done, len(d.asked))
			}
			wake <- struct{}{}
			time.Sleep(time.Minute)
			synctest.Wait()
			if !slices.Equal(d.done, []int{1}) {
				t.Errorf("did %v", d.done)
			}
			d.add(2)
			time.Sleep(2 * time.Hour)
			synctest.Wait()
			if !slices.Equal(d.done, []int{1, 2}) {
				t.Errorf("after a while did %v", d.done)
			}
			stop()
			<-ended
		})
	})
	t.Run("goes on when the rows were away", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := &dues{due: []int{1}, away: errors.New("no rows")}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { d.loop().Run(ctx); close(ended) }()
			synctest.Wait()
			d.mu.Lock()
			d.away = nil
			d.mu.Unlock()
			time.Sleep(2 * time.Hour)
			stop()
			<-ended
			if !slices.Equal(d.done, []int{1}) {
				t.Errorf("did %v", d.done)
			}
		})
	})
	t.Run("waits for what it began", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := &dues{due: []int{1, 2}}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { d.loop().Run(ctx); close(ended) }()
			time.Sleep(time.Second)
			stop()
			<-ended
			if len(d.done) != 2 {
				t.Errorf("left after %v", d.done)
			}
		})
	})
}

func TestRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dues{due: []int{1, 2, 3}}
		if n, err := d.loop().Round(t.Context()); n != 2 || err != nil || len(d.done) != 2 {
			t.Errorf("%d, %v; did %v", n, err, d.done)
		}
		d.away = errors.New("no rows")
		if n, err := d.loop().Round(t.Context()); n != 0 || !errors.Is(err, d.away) {
			t.Errorf("%d, %v", n, err)
		}
		if err := d.loop().All(t.Context(), []int{4, 5, 6}); !errors.Is(err, d.away) || len(d.done) != 5 || d.most != 2 {
			t.Errorf("%v; did %v, %d at once", err, d.done, d.most)
		}
	})
}

// rows are leases, some of which are lost.
type rows struct {
	mu      sync.Mutex
	lost    map[string]bool
	away    bool
	renewed map[string]int
}

func (r *rows) renew(_ context.Context, leases []polset.Lease, _ time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away {
		return errors.New("no rows")
	}
	for _, l := range leases {
		if r.lost[l.IngestionID] {
			return polset.ErrFenced
		}
	}
	for _, l := range leases {
		r.renewed[l.IngestionID]++
	}
	return nil
}

// times is how often each was renewed.
func (r *rows) times() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.renewed)
}

func (r *rows) lose(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost[id] = true
}

func TestKeep(t *testing.T) {
	const ttl = 30 * time.Second
	keep := func(t *testing.T, r *rows) (all context.Context, holds []lease.Hold) {
		r.lost, r.renewed = map[string]bool{}, map[string]int{}
		all, holds, stop := lease.Renewal{Rows: r.renew, TTL: ttl, Logger: zap.NewNop()}.
			Keep(t.Context(), []polset.Lease{{IngestionID: "a", Number: 1}, {IngestionID: "b", Number: 1}})
		t.Cleanup(stop)
		return all, holds
	}
	fenced := func(ctx context.Context) bool { return errors.Is(context.Cause(ctx), polset.ErrFenced) }

	t.Run("renews every third of their time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := &rows{}
			all, _ := keep(t, r)
			time.Sleep(10*ttl + time.Second)
			if all.Err() != nil || r.times()["a"] != 30 || r.times()["b"] != 30 {
				t.Errorf("%v, renewed %v", all.Err(), r.times())
			}
		})
	})
	t.Run("what is lost ends, the rest goes on", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := &rows{}
			all, holds := keep(t, r)
			r.lose("a")
			time.Sleep(ttl + time.Second)
			if !fenced(holds[0].Ctx) || holds[1].Ctx.Err() != nil || all.Err() != nil || r.times()["b"] != 3 {
				t.Errorf("%v and %v of %v, renewed %v", holds[0].Ctx.Err(), holds[1].Ctx.Err(), all.Err(), r.times())
			}
			r.lose("b")
			time.Sleep(ttl)
			if !fenced(holds[1].Ctx) || !fenced(all) {
				t.Errorf("with the last: %v of %v", holds[1].Ctx.Err(), all.Err())
			}
		})
	})
	t.Run("what is done is renewed no more, and cannot be lost", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := &rows{}
			all, holds := keep(t, r)
			holds[0].Done()
			r.lose("a") // to whoever claimed it next
			time.Sleep(ttl + time.Second)
			if all.Err() != nil || holds[0].Ctx.Err() != nil || holds[1].Ctx.Err() != nil || r.times()["a"] != 0 || r.times()["b"] != 3 {
				t.Errorf("%v, renewed %v", all.Err(), r.times())
			}
		})
	})
	t.Run("what could not be renewed in time is lost", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := &rows{away: true}
			all, holds := keep(t, r)
			time.Sleep(ttl - time.Second)
			if all.Err() != nil {
				t.Errorf("lost before its time: %v", context.Cause(all))
			}
			time.Sleep(2 * time.Second)
			if !fenced(all) || !fenced(holds[0].Ctx) {
				t.Errorf("still held: %v", all.Err())
			}
		})
	})
	t.Run("rows that were away for a moment", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := &rows{away: true}
			all, _ := keep(t, r)
			time.Sleep(ttl / 2)
			r.mu.Lock()
			r.away = false
			r.mu.Unlock()
			time.Sleep(2 * ttl)
			if all.Err() != nil || r.times()["a"] == 0 {
				t.Errorf("%v, renewed %v", all.Err(), r.times())
			}
		})
	})
}

func TestLastWord(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	rows, cancel := lease.LastWord(over)
	defer cancel()
	if _, bounded := rows.Deadline(); rows.Err() != nil || !bounded {
		t.Errorf("%v, bounded: %v", rows.Err(), bounded)
	}
}

func TestRetries(t *testing.T) {
	r := lease.Retries{Most: 6, Base: 2 * time.Second}
	for _, c := range []struct {
		failure polset.Failure
		want    int
	}{
		{polset.Failure{Class: polset.ClassStorage}, 6},
		{polset.Failure{Class: polset.ClassGitCorrupt}, 3},
		{polset.Failure{Class: polset.ClassTimeout, Hung: true}, 3},
	} {
		if got := r.Attempts(&c.failure); got != c.want {
			t.Errorf("%+v: %d attempts, want %d", c.failure, got, c.want)
		}
	}
	if got := (lease.Retries{Most: 1}).Attempts(&polset.Failure{Hung: true}); got != 1 {
		t.Errorf("of one attempt %d are left", got)
	}
	for _, c := range []struct {
		failures    int
		asked       time.Duration
		least, most time.Duration
	}{
		{0, 0, 2 * time.Second, 2200 * time.Millisecond},
		{3, 0, 16 * time.Second, 17600 * time.Millisecond},
		{3, time.Minute, time.Minute, time.Minute},
		{3, time.Second, 16 * time.Second, 17600 * time.Millisecond},
		{3, 48 * time.Hour, lease.MaxWait, lease.MaxWait},
		{1000, 0, lease.MaxWait, lease.MaxWait * 11 / 10},
	} {
		if got := r.Wait(c.failures, "key", c.asked); got < c.least || got > c.most {
			t.Errorf("after %d failures, asked for %s: %s", c.failures, c.asked, got)
		}
	}
	if a, b := r.Wait(3, "a", 0), r.Wait(3, "b", 0); a == b || a != r.Wait(3, "a", 0) {
		t.Errorf("a waits for %s, b for %s", a, b)
	}
}

func TestPanicked(t *testing.T) {
	var f *polset.Failure
	err := lease.Panicked("the parser broke")
	if !errors.As(err, &f) || f.Class != polset.ClassInternal || !f.Retry || strings.Contains(f.Message, "parser") || !strings.Contains(f.Err.Error(), "the parser broke") {
		t.Errorf("got %+v", err)
	}
}
