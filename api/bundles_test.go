package api_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"

	"github.com/polset/polset"
	"github.com/polset/polset/api"
)

// The name says whose it is: a path leads to a bundle by two names.
var _ = thing("bundle", func(e *estate) string {
	name := "bundle-of-" + e.name
	e.version(e.create("/organizations/{organization}/policy-sets", strings.Replace(followingSet, `"name":"production"`, `"name":"`+name+`","kind":"opa"`, 1)))
	return name + ".tar.gz"
})

const agentType = "application/vnd.openpolicyagent.bundles"

// A bundled is a server with a set of acme that has a version in force.
type bundled struct {
	*server
	bundles *plainBundles
	set     polset.PolicySet
	path    string
}

func newBundled(t *testing.T, adjust ...func(*api.Config)) *bundled {
	t.Helper()
	b := &bundled{bundles: &plainBundles{}}
	b.server = newServer(t, append([]func(*api.Config){func(c *api.Config) { c.Bundles, c.WatchInterval = b.bundles, 5*time.Millisecond }}, adjust...)...)
	t.Cleanup(b.api.Stop) // before the server closes, which waits for its requests
	b.set = b.follow("acme", "production")
	b.path = b.url + "/bundles/acme/production.tar.gz"
	b.bring()
	return b
}

// bring brings another version into force.
func (b *bundled) bring() polset.Version {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	v := polset.Version{ID: b.id("polsetver"), PolicySetID: b.set.ID, Status: polset.VersionReady}
	b.versions = append(b.versions, v)
	for i := range b.sets {
		if b.sets[i].ID == b.set.ID {
			b.sets[i].CurrentVersionID = v.ID
		}
	}
	return v
}

func (b *bundled) get(token string, header http.Header) answer {
	b.t.Helper()
	return b.askWith(token, http.MethodGet, b.path, "", header)
}

// polls asks as an agent does that knows a bundle and waits.
func polls(tag, wait string) http.Header {
	return http.Header{"If-None-Match": {tag}, "Prefer": {"modes=snapshot,delta;wait=" + wait}}
}

func TestDownloadBundle(t *testing.T) {
	b := newBundled(t)
	a := b.get(guest, nil)
	v := b.set.CurrentVersionID
	b.mu.Lock()
	for _, s := range b.sets {
		if s.ID == b.set.ID {
			v = s.CurrentVersionID
		}
	}
	b.mu.Unlock()
	if a.status != http.StatusOK || a.body != "bundle of "+v || a.header.Get("ETag") != `"tag-of-`+v+`"` ||
		a.header.Get("Content-Type") != agentType || a.header.Get("Cache-Control") != "private, no-cache" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	tag := a.header.Get("ETag")
	head := b.askWith(guest, http.MethodHead, b.path, "", nil)
	if head.status != http.StatusOK || head.body != "" || head.header.Get("Content-Length") != a.header.Get("Content-Length") || head.header.Get("ETag") != tag {
		t.Errorf("HEAD: %d %v", head.status, head.header)
	}
	for _, known := range []string{tag, "W/" + tag, `"older", ` + tag, "*"} {
		a := b.get(guest, http.Header{"If-None-Match": {known}})
		if a.status != http.StatusNotModified || a.body != "" || a.header.Get("ETag") != tag {
			t.Errorf("If-None-Match %s: %d %v", known, a.status, a.header)
		}
	}
	// Who waits for another than what is in force need not wait.
	if a := b.get(guest, polls(`"older"`, "60")); a.status != http.StatusOK {
		t.Errorf("a bundle that is not known: %d", a.status)
	}
	if a := b.askWith(guest, http.MethodHead, b.path, "", polls(tag, "60")); a.status != http.StatusNotModified {
		t.Errorf("HEAD waits: %d", a.status)
	}
}

// Whatever there is no bundle of, or of which nobody may know, is not found, in
// one way.
func TestNoBundle(t *testing.T) {
	b := newBundled(t)
	b.mu.Lock()
	sentinel, empty := b.sets[0], b.sets[0]
	sentinel.ID, sentinel.Name, sentinel.Kind = "polset-sentinel", "sentinel", polset.KindSentinel
	empty.ID, empty.Name, empty.CurrentVersionID = "polset-empty", "empty", ""
	sentinel.CurrentVersionID = b.versions[len(b.versions)-1].ID
	b.sets = append(b.sets, sentinel, empty)
	b.mu.Unlock()
	missing := b.askWith(acme, http.MethodGet, b.url+"/bundles/acme/missing.tar.gz", "", nil)
	problemsOf(t, missing, http.StatusNotFound)
	for what, ask := range map[string]struct{ token, path string }{
		"another organization's":   {evil, "acme/production.tar.gz"},
		"a missing organization's": {acme, "nobody/production.tar.gz"},
		"of a Sentinel set":        {acme, "acme/sentinel.tar.gz"},
		"with no version":          {acme, "acme/empty.tar.gz"},
		"without its suffix":       {acme, "acme/production"},
		"with another suffix":      {acme, "acme/production.zip"},
		"of nothing":               {acme, "acme/.tar.gz"},
		"with a suffix too many":   {acme, "acme/production.tar.gz.tar.gz"},
		"with a strange name":      {acme, "acme/pro%00duction.tar.gz"},
	} {
		a := b.askWith(ask.token, http.MethodGet, b.url+"/bundles/"+ask.path, "", nil)
		for _, answer := range []*answer{&a, &missing} {
			answer.header.Del("X-Request-Id")
			answer.header.Del("Date")
		}
		if a.status != missing.status || a.body != missing.body || !cmp.Equal(a.header, missing.header) {
			t.Errorf("a bundle %s: %d %v %s", what, a.status, a.header, a.body)
		}
	}
	if a := b.get("", nil); a.status != http.StatusUnauthorized {
		t.Errorf("without a token: %d", a.status)
	}
	if a := b.askWith(acme, http.MethodPost, b.path, "", nil); a.status != http.StatusNotFound {
		t.Errorf("POST: %d", a.status)
	}
}

func TestBundleFailures(t *testing.T) {
	b := newBundled(t)
	b.bundles.broken = &polset.Failure{Class: polset.ClassPolicyInvalid, Message: "data.json:1:1: this file defines data.b twice"}
	a := b.get(acme, nil)
	if p := problemsOf(t, a, http.StatusConflict)[0]; !strings.Contains(p.Detail, "data.json:1:1") || a.header.Get("ETag") != "" {
		t.Errorf("what OPA would not load: %s %v", a.body, a.header)
	}
	b.bundles.broken = &polset.Failure{Class: polset.ClassStorage, Retry: true, RetryAfter: 5 * time.Second, Message: "Ask again later."}
	if a := b.get(acme, nil); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") != "5" {
		t.Errorf("a storage that is away: %d %v", a.status, a.header)
	}
	b.bundles.broken = errors.New("disk on fire")
	if a := b.get(acme, nil); a.status != http.StatusInternalServerError || strings.Contains(a.body, "fire") {
		t.Errorf("a fault: %d %s", a.status, a.body)
	}
}

// waiting asks and returns once the server waits for what to answer; looks are
// taken from then on.
func (b *bundled) waiting(token string, wait string) <-chan answer {
	b.t.Helper()
	tag := b.get(token, nil).header.Get("ETag")
	answers := make(chan answer, 1)
	go func() { answers <- b.get(token, polls(tag, wait)) }()
	b.look(1)
	return answers
}

// look waits for so many looks, and returns what the last one was for.
func (b *bundled) look(n int) (sets []string) {
	b.t.Helper()
	for range n {
		select {
		case sets = <-b.looks:
		case <-time.After(20 * time.Second):
			b.t.Fatal("nobody looks at what is in force")
		}
	}
	return sets
}

// drain takes the looks that nobody is interested in.
func (b *bundled) drain() {
	done := make(chan struct{})
	b.t.Cleanup(func() { close(done) })
	go func() {
		for {
			select {
			case <-b.looks:
			case <-done:
				return
			}
		}
	}()
}

func newWaiting(t *testing.T, adjust ...func(*api.Config)) *bundled {
	t.Helper()
	b := newBundled(t, adjust...)
	b.looks = make(chan []string)
	return b
}

func TestWaitForBundle(t *testing.T) {
	t.Run("another version", func(t *testing.T) {
		b := newWaiting(t)
		answers := b.waiting(guest, "60")
		b.look(2)
		select {
		case a := <-answers:
			t.Fatalf("nothing changed, and the answer is %d", a.status)
		default:
		}
		v := b.bring()
		b.drain()
		if a := <-answers; a.status != http.StatusOK || a.body != "bundle of "+v.ID || a.header.Get("Content-Type") != agentType {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("the end of the wait", func(t *testing.T) {
		b := newWaiting(t)
		answers := b.waiting(guest, "1")
		b.drain()
		if a := <-answers; a.status != http.StatusNotModified || a.header.Get("ETag") == "" {
			t.Errorf("%d %v", a.status, a.header)
		}
	})
	t.Run("the end of the set", func(t *testing.T) {
		b := newWaiting(t)
		answers := b.waiting(guest, "60")
		if err := b.DeletePolicySet(t.Context(), polset.System, b.set.ID); err != nil {
			t.Fatal(err)
		}
		b.drain()
		if a := <-answers; a.status != http.StatusNotFound {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("the end of the server", func(t *testing.T) {
		b := newWaiting(t)
		answers := b.waiting(guest, "60")
		b.drain()
		b.api.Stop()
		b.api.Stop()
		if a := <-answers; a.status != http.StatusNotModified {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a := b.get(guest, polls(a304(b), "60")); a.status != http.StatusNotModified {
			t.Errorf("a wait after the end: %d", a.status)
		}
	})
	t.Run("a token that is revoked meanwhile", func(t *testing.T) {
		b := newWaiting(t)
		answers := b.waiting(guest, "60")
		b.mu.Lock()
		delete(b.tokens, guest)
		b.mu.Unlock()
		b.bring()
		b.drain()
		if a := <-answers; a.status != http.StatusUnauthorized {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("a client that leaves", func(t *testing.T) {
		b := newWaiting(t)
		tag := b.get(guest, nil).header.Get("ETag")
		ctx, leave := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = polls(tag, "60")
		req.Header.Set("Authorization", "Bearer "+guest)
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			if res, err := http.DefaultClient.Do(req); err == nil {
				_ = res.Body.Close()
			}
		}()
		b.look(1)
		leave()
		<-gone
		// Nobody waits: looking ends, once the server has noticed.
		quiet := false
		for looks := 0; !quiet; looks++ {
			select {
			case <-b.looks:
			case <-time.After(500 * time.Millisecond):
				quiet = true
			}
			if looks == 200 {
				t.Fatal("what nobody waits for any more is still looked at")
			}
		}
		if a := b.get(guest, nil); a.status != http.StatusOK {
			t.Errorf("the next request: %d", a.status)
		}
	})
}

func a304(b *bundled) string { return b.get(guest, nil).header.Get("ETag") }

// However many wait, what is in force is looked up for all of them together.
func TestOneLookForAll(t *testing.T) {
	b := newWaiting(t)
	b.follow("acme", "other") // which nobody waits for
	tag := b.get(guest, nil).header.Get("ETag")
	const agents = 30
	answers := make(chan answer, agents)
	for range agents {
		go func() { answers <- b.get(guest, polls(tag, "60")) }()
	}
	for range 3 {
		if sets := b.look(1); !slices.Equal(sets, []string{b.set.ID}) {
			t.Errorf("looked at %v", sets)
		}
	}
	v := b.bring()
	b.drain()
	for range agents {
		if a := <-answers; a.status != http.StatusOK || a.body != "bundle of "+v.ID {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}

// An agent that finds no place to wait gets the bundle again, under a type that
// has it ask now and then: OPA would repeat a 304 at once.
func TestNoPlaceToWait(t *testing.T) {
	b := newWaiting(t)
	b.api.BoundWaiting(1)
	answers := b.waiting(guest, "60")
	b.drain()
	tag := b.get(guest, nil).header.Get("ETag")
	if a := b.get(acme, polls(tag, "60")); a.status != http.StatusOK || a.header.Get("Content-Type") != "application/gzip" || a.header.Get("ETag") != tag {
		t.Errorf("no place: %d %v", a.status, a.header)
	}
	b.bring()
	<-answers
	again := b.get(guest, nil).header.Get("ETag")
	if a := b.get(guest, polls(again, "1")); a.status != http.StatusNotModified {
		t.Errorf("the place is not given back: %d", a.status)
	}
}

// The deadlines of a server bound requests that are answered at once; see nextInForce.
func TestWaitIsLongerThanTheServersDeadlines(t *testing.T) {
	b := newWaiting(t)
	b.drain()
	e := echo.New()
	b.api.Register(e)
	web := httptest.NewUnstartedServer(e)
	web.Config.ReadTimeout, web.Config.WriteTimeout = 700*time.Millisecond, 700*time.Millisecond
	web.Start()
	t.Cleanup(web.Close)
	tag := b.get(guest, nil).header.Get("ETag")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, web.URL+"/bundles/acme/production.tar.gz", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = polls(tag, "1")
	req.Header.Set("Authorization", "Bearer "+guest)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	if _ = res.Body.Close(); res.StatusCode != http.StatusNotModified {
		t.Errorf("after the wait: %s", res.Status)
	}
}
