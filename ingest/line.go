package ingest

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/lease"
)

const (
	// A host that does not answer is left alone for a while, which doubles
	// for as long as it does not.
	firstHostPause = 30 * time.Second
	lastHostPause  = 5 * time.Minute

	// longestLine bounds the looks that wait.
	longestLine = 1000
)

// A line is where looks that were given out wait for their turn: while their
// host is in trouble, while their credential may not be used, and while their
// host has as many places as one host gets. To wait is no failure of a
// repository, and takes a place from nobody.
type line struct {
	now  func() time.Time
	keep time.Duration // after which a look was given out again
	room int           // for looks at one host at once

	mu      sync.Mutex
	waiting []turn
	hosts   map[string]*host
	limited map[payer]time.Time // until when
}

// A turn is a look, from when it was given out until it has ended.
type turn struct {
	polset.Look
	since  time.Time // it was given out
	begun  time.Time
	paused bool // it waited because of its host or credential
}

// A host is what is known of one while looks at it are under way, or while it
// is in trouble.
type host struct {
	busy     int           // looks under way
	answered time.Time     // a look, last
	pause    time.Duration // the last one; 0 where it is not in trouble
	until    time.Time     // the end of the pause
}

// A payer is a credential at a host: what it may ask is counted apart.
type payer struct{ host, credential string }

func newLine(now func() time.Time, keep time.Duration, room int) *line {
	return &line{now: now, keep: keep, room: room, hosts: map[string]*host{}, limited: map[payer]time.Time{}}
}

// join lets looks wait, and returns how many of them have to because of their
// host or credential. A look at the same takes the place of an older one. In a
// line that is too long those give way that have to wait longest: they are
// given out again anyway.
func (l *line) join(looks []polset.Look) (paused int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for _, look := range looks {
		t := turn{Look: look, since: now, paused: l.paused(look, now)}
		if t.paused {
			paused++
		}
		l.waiting = append(slices.DeleteFunc(l.waiting, t.repeats), t)
	}
	for len(l.waiting) > longestLine {
		i := slices.IndexFunc(l.waiting, l.troubled)
		if i < 0 {
			break
		}
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
	return paused
}

// full tells that no other look should be asked for: those that wait can all
// be done as soon as there is room.
func (l *line) full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting) >= longestLine && !slices.ContainsFunc(l.waiting, l.troubled)
}

// next begins at most n looks whose turn it is.
func (l *line) next(n int) (begun []turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.waiting = slices.DeleteFunc(l.waiting, func(t turn) bool { return now.Sub(t.since) > l.keep })
	for i := 0; i < len(l.waiting) && len(begun) < n; {
		t := &l.waiting[i]
		if l.paused(t.Look, now) {
			t.paused = true
			i++
			continue
		}
		h := l.host(hostOf(t.Remote))
		if h.busy >= l.roomAt(h) {
			i++
			continue
		}
		h.busy++
		t.begun = now
		begun = append(begun, *t)
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
	return begun
}

// leave ends the turn of a look.
func (l *line) leave(t turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := hostOf(t.Remote)
	h := l.host(name)
	if h.busy--; h.busy == 0 && h.pause == 0 {
		delete(l.hosts, name)
	}
}

// answered notes that a host answered a look: its trouble is over.
func (l *line) answered(t turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.host(hostOf(t.Remote))
	h.answered, h.pause, h.until = l.now(), 0, time.Time{}
}

// failed notes what a failure says of others than the repository. A wish for a
// pause concerns the credential that was used; silence concerns the host, unless
// it has answered others meanwhile. The pause is that of the host where it
// begins with this failure.
func (l *line) failed(t turn, f *polset.Failure) (pause time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, name := l.now(), hostOf(t.Remote)
	switch {
	case f.Class == polset.ClassAuth: // of this repository, whatever else it says
		return 0
	case f.RetryAfter > 0:
		maps.DeleteFunc(l.limited, func(_ payer, until time.Time) bool { return !until.After(now) })
		p := payer{name, t.Credential}
		if until := now.Add(min(f.RetryAfter, lease.MaxWait)); until.After(l.limited[p]) {
			l.limited[p] = until
		}
		return 0
	case f.Class != polset.ClassTimeout:
		return 0
	}
	maps.DeleteFunc(l.hosts, func(_ string, h *host) bool { return h.busy == 0 && now.Sub(h.until) > lease.MaxWait })
	h := l.host(name)
	if h.answered.After(t.begun) || t.begun.Before(h.until) {
		return 0
	}
	h.pause = min(max(2*h.pause, firstHostPause), lastHostPause)
	h.until = now.Add(h.pause)
	return h.pause
}

// host is what is known of a host, to be changed under the lock.
func (l *line) host(name string) *host {
	h, ok := l.hosts[name]
	if !ok {
		h = &host{}
		l.hosts[name] = h
	}
	return h
}

// roomAt is how many looks at a host may be under way. One that is in trouble
// is tried by a single look.
func (l *line) roomAt(h *host) int {
	if h.pause > 0 {
		return 1
	}
	return l.room
}

// paused tells whether a look must not be begun whatever room there is.
func (l *line) paused(look polset.Look, now time.Time) bool {
	name := hostOf(look.Remote)
	if h, ok := l.hosts[name]; ok && now.Before(h.until) {
		return true
	}
	return now.Before(l.limited[payer{name, look.Credential}])
}

// troubled tells whether a look waits for more than room, now or until its host
// has answered.
func (l *line) troubled(t turn) bool {
	h, ok := l.hosts[hostOf(t.Remote)]
	return ok && h.pause > 0 || l.paused(t.Look, l.now())
}

// repeats tells whether two looks are at the same.
func (t turn) repeats(other turn) bool {
	return t.Repository.ID == other.Repository.ID && t.Credential == other.Credential
}

func hostOf(remote polset.Remote) string { return strings.ToLower(remote.HTTPURL) }
