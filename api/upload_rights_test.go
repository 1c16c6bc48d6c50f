package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-tfe"

	"github.com/polset/polset"
	"github.com/polset/polset/api"
)

// answered reads the answer to what was sent on a connection.
func (w *world) answered(conn net.Conn) answer {
	w.t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		w.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// spooling waits until that many uploads are in the spool directory.
func (w *world) spooling(n int) {
	w.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for len(w.spooled()) < n {
		if time.Now().After(deadline) {
			w.t.Fatalf("the spool directory holds %d files, not %d", len(w.spooled()), n)
		}
		time.Sleep(5 * time.Millisecond) // nothing tells of a file that comes
	}
}

// TestUploadLinksOfTokens: whoever takes a token back takes back what it may
// still bring into force.
func TestUploadLinksOfTokens(t *testing.T) {
	w := newWorld(t)
	body := packed(t, opaPolicies)
	set := w.uploadable("net")
	workspace := workspaceOf(t, w.client(w.acme), "acme", "net")
	token := func(t *testing.T, expires time.Time) (polset.Token, string) {
		t.Helper()
		k, secret, err := w.store.CreateToken(t.Context(), polset.System, polset.Token{
			OrganizationID: w.acmeID, Permissions: []polset.Permission{polset.PermissionManagePolicies}, ExpiresAt: expires,
		})
		if err != nil {
			t.Fatal(err)
		}
		return k, secret.Reveal()
	}
	links := func(t *testing.T, secret string) (version, upload, configuration string) {
		t.Helper()
		version, upload = w.linkOf(w.ask(secret, "POST", "/policy-sets/"+set+"/versions", ""))
		c, err := w.client(secret).ConfigurationVersions.Create(t.Context(), workspace.ID, tfe.ConfigurationVersionCreateOptions{AutoQueueRuns: tfe.Bool(false)})
		if err != nil {
			t.Fatal(err)
		}
		return version, upload, c.UploadURL
	}
	refused := func(t *testing.T, version string, answers ...answer) {
		t.Helper()
		for _, a := range answers {
			problemsOf(t, a, http.StatusForbidden)
		}
		if s := w.status(version); s != polset.VersionPending {
			t.Errorf("the version is %s", s)
		}
		w.emptied()
	}
	t.Run("revoked", func(t *testing.T) {
		k, secret := token(t, time.Time{})
		version, upload, configuration := links(t, secret)
		if err := w.store.RevokeToken(t.Context(), polset.System, k.ID); err != nil {
			t.Fatal(err)
		}
		refused(t, version, w.put(upload, body), w.put(configuration, body))
	})
	t.Run("expired", func(t *testing.T) {
		_, secret := token(t, time.Now().Add(10*time.Minute))
		version, upload, configuration := links(t, secret)
		w.clock.Store(int64(11 * time.Minute))
		defer w.clock.Store(0)
		refused(t, version, w.put(upload, body), w.put(configuration, body))
	})
	t.Run("revoked while the bytes come", func(t *testing.T) {
		k, secret := token(t, time.Time{})
		version, upload, configuration := links(t, secret)
		conns := []net.Conn{w.partly(upload, len(body), body[:20]), w.partly(configuration, len(body), body[:20])}
		w.spooling(2)
		if err := w.store.RevokeToken(t.Context(), polset.System, k.ID); err != nil {
			t.Fatal(err)
		}
		var answers []answer
		for _, conn := range conns {
			if _, err := conn.Write(body[20:]); err != nil {
				t.Fatal(err)
			}
			answers = append(answers, w.answered(conn))
		}
		refused(t, version, answers...)
	})
	t.Run("the site admin's", func(t *testing.T) {
		for _, secret := range []string{admin} {
			version, upload, configuration := links(t, secret)
			for _, link := range []string{upload, configuration} {
				if a := w.put(link, body); a.status != http.StatusOK {
					t.Errorf("%d %s", a.status, a.body)
				}
			}
			if s := w.status(version); s != polset.VersionReady {
				t.Errorf("the version is %s", s)
			}
		}
	})
}

// A busyUploader works on each upload until it is told to end.
type busyUploader struct {
	api.Uploader
	began chan struct{}
	end   chan struct{}
}

func (u busyUploader) Upload(ctx context.Context, by polset.Principal, id string, body io.Reader) (polset.Version, error) {
	u.began <- struct{}{}
	<-u.end
	return u.Uploader.Upload(ctx, by, id, body)
}

// TestUploadShares: an organization that uploads all it can, and is slow, or is
// waited for, fills neither the disk nor the places of others.
func TestUploadShares(t *testing.T) {
	const share = 16
	busy := busyUploader{began: make(chan struct{}, share+1), end: make(chan struct{})}
	w := newWorld(t, func(c *api.Config) {
		busy.Uploader = c.Uploader
		c.Uploader = busy
	})
	body := packed(t, opaPolicies)
	set := w.uploadable("net")
	_, link := w.awaiting(set)
	policy := w.policy("code", "sentinel")
	full := func(t *testing.T) {
		t.Helper()
		_, another := w.awaiting(set)
		for _, a := range []answer{
			w.put(another, body),
			w.putCode(w.acme, "/policies/"+policy+"/upload", strings.NewReader("main = rule { true }"), nil),
		} {
			if e := problemsOf(t, a, http.StatusServiceUnavailable)[0]; !strings.Contains(e.Detail, "16 uploads of your organization") || a.header.Get("Retry-After") == "" {
				t.Errorf("%+v %v", e, a.header)
			}
		}
		if n := len(w.spooled()); n != share {
			t.Errorf("the spool directory holds %d files", n)
		}
	}
	others := func(t *testing.T) {
		t.Helper()
		c, err := w.client(w.evil).Policies.Create(t.Context(), "evilcorp", tfe.PolicyCreateOptions{
			Name: tfe.String(strings.ReplaceAll(t.Name(), "/", "-")), EnforcementLevel: tfe.EnforcementMode(tfe.EnforcementHard),
		})
		if err != nil {
			t.Fatal(err)
		}
		if a := w.putCode(w.evil, "/policies/"+c.ID+"/upload", strings.NewReader("main = rule { true }"), nil); a.status != http.StatusOK {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	t.Run("by_one_slow_client", func(t *testing.T) {
		conns := make([]net.Conn, share)
		for i := range conns {
			conns[i] = w.partly(link, len(body), body[:20])
		}
		w.spooling(share)
		full(t)
		others(t)
		for _, conn := range conns {
			_ = conn.Close()
		}
		w.emptied()
	})
	t.Run("by_uploads_that_wait_for_their_turn", func(t *testing.T) {
		answers := make(chan answer, share)
		for range share {
			go func() { answers <- w.put(link, body) }()
		}
		for range share {
			<-busy.began
		}
		full(t)
		others(t)
		close(busy.end)
		took := 0
		for range share {
			switch a := <-answers; a.status {
			case http.StatusOK:
				took++
			case http.StatusConflict:
			default:
				t.Errorf("%d %s", a.status, a.body)
			}
		}
		if took != 1 {
			t.Errorf("%d uploads were taken", took)
		}
	})
	w.emptied()
}

// TestLargeDocuments: what clients send slowly is held in memory, so that an
// organization sends only some of it at once.
func TestLargeDocuments(t *testing.T) {
	const share = 16
	w := newWorld(t)
	set := w.uploadable("net")
	at := "/policy-sets/" + set + "/relationships/workspaces"
	linkage := `{"data":[]` + strings.Repeat(" ", 64<<10) + "}"
	send := func(token string, bytes int) net.Conn {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		// The server says "continue" when it begins to read.
		_, err = fmt.Fprintf(conn, "POST /api/v2%s HTTP/1.1\r\nHost: polset\r\nAuthorization: Bearer %s\r\nContent-Type: application/vnd.api+json\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", at, token, bytes)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	conns := make([]net.Conn, share)
	for i := range conns {
		conns[i] = send(w.acme, len(linkage))
		if a := w.answered(conns[i]); a.status != http.StatusContinue {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	a := w.answered(send(w.acme, len(linkage)))
	if e := problemsOf(t, a, http.StatusServiceUnavailable)[0]; !strings.Contains(e.Detail, "16 large documents of your organization") || a.header.Get("Retry-After") == "" {
		t.Errorf("%+v %v", e, a.header)
	}
	if a := w.ask(w.acme, "POST", at, `{"data":[]}`); a.status != http.StatusNoContent {
		t.Errorf("a small one: %d %s", a.status, a.body)
	}
	problemsOf(t, w.ask(w.evil, "POST", at, linkage), http.StatusNotFound) // nobody's body is read who may not
	if a := w.ask(admin, "POST", at, linkage); a.status != http.StatusNoContent {
		t.Errorf("somebody else's: %d %s", a.status, a.body)
	}
	for _, conn := range conns {
		if _, err := io.WriteString(conn, linkage); err != nil {
			t.Fatal(err)
		}
		if a := w.answered(conn); a.status != http.StatusNoContent {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if a := w.ask(w.acme, "POST", at, linkage); a.status != http.StatusNoContent {
		t.Errorf("the places are not given back: %d %s", a.status, a.body)
	}
}
