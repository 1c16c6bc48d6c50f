package api_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	slug "github.com/hashicorp/go-slug"
	tfe "github.com/hashicorp/go-tfe"

	"github.com/polset/polset"
	"github.com/polset/polset/api"
)

// policyDir is a directory of OPA policies as a user has it.
func policyDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// moduleDir is where a dependency's source lies.
func moduleDir(t *testing.T, module string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

var opaPolicies = map[string]string{
	"policies.hcl": "policy \"a\" {\n  query = \"data.a.deny\"\n  enforcement_level = \"mandatory\"\n}\n",
	"lib/a.rego":   "package a\n\ndeny contains \"no\" if input.no\n",
}

// packed is a directory of policies as the official client packs it.
func packed(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := slug.Pack(policyDir(t, files), &out, true); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// uploadable makes an OPA policy set of acme's that follows nothing.
func (w *world) uploadable(name string) string {
	w.t.Helper()
	p, err := w.store.CreatePolicySet(w.t.Context(), polset.System, polset.PolicySetDraft{Organization: "acme", Name: name, Kind: polset.KindOPA})
	if err != nil {
		w.t.Fatal(err)
	}
	return p.ID
}

// awaiting makes a version, and returns its id and its link.
func (w *world) awaiting(setID string) (id, link string) {
	w.t.Helper()
	a := w.ask(w.acme, "POST", "/policy-sets/"+setID+"/versions", "")
	if a.status != http.StatusCreated {
		w.t.Fatalf("%d %s", a.status, a.body)
	}
	return w.linkOf(a)
}

func (w *world) linkOf(a answer) (id, link string) {
	w.t.Helper()
	var doc struct {
		Data struct {
			ID    string
			Links map[string]string
		}
	}
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
		w.t.Fatal(err)
	}
	return doc.Data.ID, doc.Data.Links["upload"]
}

// put sends bytes to a link, as the official client does.
func (w *world) put(link string, body []byte) answer {
	w.t.Helper()
	return w.askWith("", "PUT", link, string(body), http.Header{"Content-Type": {"application/octet-stream"}, "Accept": {"application/json"}})
}

func (w *world) status(versionID string) polset.VersionStatus {
	w.t.Helper()
	v, err := w.store.Version(w.t.Context(), polset.System, versionID)
	if err != nil {
		w.t.Fatal(err)
	}
	return v.Status
}

// spooled are the files that uploads have left in the spool directory.
func (w *world) spooled() []os.DirEntry {
	w.t.Helper()
	files, err := os.ReadDir(w.api.SpoolDir)
	if err != nil {
		w.t.Fatal(err)
	}
	return files
}

// emptied waits until nothing is left in the spool directory.
func (w *world) emptied() {
	w.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for len(w.spooled()) > 0 {
		if time.Now().After(deadline) {
			w.t.Fatalf("the spool directory still holds %v", w.spooled())
		}
		time.Sleep(5 * time.Millisecond) // nothing tells of a file that goes
	}
}

func TestUploadWithTheOfficialClient(t *testing.T) {
	w := newWorld(t)
	client, ctx := w.client(w.acme), t.Context()
	set, err := client.PolicySets.Create(ctx, "acme", tfe.PolicySetCreateOptions{Name: tfe.String("uploaded"), Kind: tfe.OPA})
	if err != nil {
		t.Fatal(err)
	}
	first, err := client.PolicySetVersions.Create(ctx, set.ID)
	if err != nil {
		t.Fatal(err)
	}
	if first.Source != tfe.PolicySetVersionSourceAPI || first.Status != tfe.PolicySetVersionPending || first.PolicySet.ID != set.ID ||
		first.IngressAttributes != nil || first.StatusTimestamps.PendingAt.IsZero() {
		t.Fatalf("created %+v", first)
	}
	second, err := client.PolicySetVersions.Create(ctx, set.ID)
	if err != nil {
		t.Fatal(err)
	}
	read, err := client.PolicySetVersions.Read(ctx, first.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !read.CreatedAt.Equal(first.CreatedAt) || !read.UpdatedAt.Equal(first.UpdatedAt) || read.StatusTimestamps != first.StatusTimestamps || read.Links["upload"] == "" {
		t.Errorf("created %+v, read %+v", first, read)
	}

	if err := client.PolicySetVersions.Upload(ctx, *read, policyDir(t, opaPolicies)); err != nil {
		t.Fatal(err)
	}
	// The answer came with the outcome: there is nothing to wait for.
	if read, err = client.PolicySetVersions.Read(ctx, first.ID); err != nil || read.Status != tfe.PolicySetVersionReady ||
		read.StatusTimestamps.ReadyAt.IsZero() || read.IngressAttributes != nil || read.Links["upload"] != nil {
		t.Fatalf("uploaded %+v, %v", read, err)
	}
	got, err := client.PolicySets.ReadWithOptions(ctx, set.ID, &tfe.PolicySetReadOptions{
		Include: []tfe.PolicySetIncludeOpt{tfe.PolicySetCurrentVersion, tfe.PolicySetNewestVersion},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.NewestVersion.ID != second.ID || got.NewestVersion.Status != tfe.PolicySetVersionPending ||
		got.CurrentVersion.ID != first.ID || got.CurrentVersion.Status != tfe.PolicySetVersionReady {
		t.Errorf("newest %+v, current %+v", got.NewestVersion, got.CurrentVersion)
	}
	t.Run("the client's own fixture, in Sentinel", func(t *testing.T) {
		set, err := client.PolicySets.Create(ctx, "acme", tfe.PolicySetCreateOptions{Name: tfe.String("sentinel")})
		if err != nil {
			t.Fatal(err)
		}
		v, err := client.PolicySetVersions.Create(ctx, set.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := client.PolicySetVersions.Upload(ctx, *v, filepath.Join(moduleDir(t, "github.com/hashicorp/go-tfe"), "test-fixtures", "policy-set-version")); err != nil {
			t.Fatal(err)
		}
		if v, err = client.PolicySetVersions.Read(ctx, v.ID); err != nil || v.Status != tfe.PolicySetVersionReady {
			t.Errorf("%+v, %v", v, err)
		}
	})
	t.Run("what is wrong is the version's", func(t *testing.T) {
		if err := client.PolicySetVersions.Upload(ctx, *second, policyDir(t, map[string]string{"policies.hcl": "policy {"})); err != nil {
			t.Fatal(err)
		}
		v, err := client.PolicySetVersions.Read(ctx, second.ID)
		if err != nil || v.Status != tfe.PolicySetVersionErrored || v.Error != "policy-invalid" || !strings.Contains(v.ErrorMessage, "policies.hcl:1:") {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

func TestCreateVersion(t *testing.T) {
	w := newWorld(t)
	set := w.uploadable("net")
	id, link := w.awaiting(set)
	if !strings.HasPrefix(link, w.url+"/v1/object/") {
		t.Errorf("the link is %q", link)
	}
	t.Run("the link is for who may manage policies", func(t *testing.T) {
		for _, path := range []string{"/policy-set-versions/" + id, "/policy-sets/" + set + "/versions"} {
			if a := w.ask(w.acme, "GET", path, ""); !strings.Contains(a.body, `"upload":"`+w.url+"/v1/object/") {
				t.Errorf("%s: %s", path, a.body)
			}
			if a := w.ask(w.guest, "GET", path, ""); a.status != http.StatusOK || strings.Contains(a.body, "upload") || strings.Contains(a.body, "/v1/object/") {
				t.Errorf("a reader may upload: %s: %s", path, a.body)
			}
		}
		for _, token := range []string{w.guest, w.evil} {
			problemsOf(t, w.ask(token, "POST", "/policy-sets/"+set+"/versions", ""), http.StatusNotFound)
		}
	})
	t.Run("a set that follows a repository", func(t *testing.T) {
		c, err := w.store.CreateConnection(t.Context(), polset.System, polset.ConnectionDraft{
			Organization: "acme", ServiceProvider: "github", HTTPURL: "https://github.com", APIURL: "https://api.github.com", Token: polset.NewSecret("ghp_secret"),
		})
		if err != nil {
			t.Fatal(err)
		}
		p, err := w.store.CreatePolicySet(t.Context(), polset.System, polset.PolicySetDraft{
			Organization: "acme", Name: "follower", Kind: polset.KindOPA,
			VCS: &polset.VCSDraft{Identifier: "acme/policies", TokenID: c.TokenID, Head: polset.Head{Branch: "main", Commit: commit}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if e := problemsOf(t, w.ask(w.acme, "POST", "/policy-sets/"+p.ID+"/versions", ""), http.StatusUnprocessableEntity)[0]; !strings.Contains(e.Detail, "follows a repository") {
			t.Errorf("%+v", e)
		}
		if a := w.ask(w.acme, "GET", "/policy-set-versions/"+p.NewestVersionID, ""); strings.Contains(a.body, "/v1/object/") {
			t.Errorf("a commit may be uploaded: %s", a.body)
		}
	})
	t.Run("the answer to the upload", func(t *testing.T) {
		a := w.put(link, packed(t, opaPolicies))
		if a.status != http.StatusOK || !strings.Contains(a.body, `"status":"ready"`) || strings.Contains(a.body, "/v1/object/") {
			t.Errorf("%d %s", a.status, a.body)
		}
		if d := w.ask(w.acme, "GET", "/policy-set-versions/"+id+"/download", ""); d.status != http.StatusFound {
			t.Errorf("download: %d %s", d.status, d.body)
		}
	})
	for _, entry := range w.logs.All() {
		for _, field := range entry.Context {
			if len(field.String) > 20 && strings.Contains(link, field.String) {
				t.Errorf("logged: %s", field.String)
			}
		}
	}
}

func TestUploadTooLarge(t *testing.T) {
	const limit = 64 << 10
	w := newWorld(t, func(c *api.Config) { c.MaxArchiveBytes = limit })
	id, link := w.awaiting(w.uploadable("net"))
	check := func(t *testing.T, a answer) {
		t.Helper()
		if e := problemsOf(t, a, http.StatusRequestEntityTooLarge)[0]; !strings.Contains(e.Detail, fmt.Sprint(limit)) || !strings.Contains(e.Detail, "POLSET_MAX_ARCHIVE_BYTES") {
			t.Errorf("%+v", e)
		}
		if s := w.status(id); s != polset.VersionPending {
			t.Errorf("the version is %s", s)
		}
		w.emptied()
	}
	t.Run("case 76 oversize PUT", func(t *testing.T) { check(t, w.put(link, make([]byte, limit+1))) })
	t.Run("case 76 much larger", func(t *testing.T) { check(t, w.put(link, make([]byte, 64<<20))) })
	t.Run("case 76 without a length", func(t *testing.T) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, link, struct{ io.Reader }{bytes.NewReader(make([]byte, limit+1))})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		check(t, answer{resp.StatusCode, resp.Header, string(b)})
	})
	t.Run("of exactly the limit it is an archive or not", func(t *testing.T) {
		if a := w.put(link, make([]byte, limit)); a.status != http.StatusOK || !strings.Contains(a.body, `"error":"content-invalid"`) {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

func TestUploadLinks(t *testing.T) {
	w := newWorld(t)
	set := w.uploadable("net")
	id, link := w.awaiting(set)
	other, _ := w.awaiting(set)
	body := packed(t, opaPolicies)
	base, token := link[:strings.LastIndex(link, "/")+1], link[strings.LastIndex(link, "/")+1:]
	claims, signature, _ := strings.Cut(token, ".")
	said, err := base64.RawURLEncoding.DecodeString(claims)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(said), id) {
		t.Fatalf("the link says %s", said)
	}
	swapped := base64.RawURLEncoding.EncodeToString(bytes.Replace(said, []byte(id), []byte(other), 1))
	forbidden := func(t *testing.T, a answer) {
		t.Helper()
		problemsOf(t, a, http.StatusForbidden)
		for _, v := range []string{id, other} {
			if s := w.status(v); s != polset.VersionPending {
				t.Errorf("%s is %s", v, s)
			}
		}
	}
	for label, link := range map[string]string{
		"case 77 forged":                base + claims + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 32)),
		"case 77 unsigned":              base + claims,
		"case 77 id-swapped":            base + swapped + "." + signature,
		"case 77 with a character more": link + "A",
		"case 77 nonsense":              base + "x",
	} {
		t.Run(label, func(t *testing.T) { forbidden(t, w.put(link, body)) })
	}
	for _, method := range []string{"GET", "POST", "PATCH", "DELETE"} {
		t.Run("case 77 wrong method "+method, func(t *testing.T) { forbidden(t, w.ask(w.acme, method, link, "")) })
	}
	t.Run("case 77 expired", func(t *testing.T) {
		w.clock.Store(int64(time.Hour + time.Minute))
		defer w.clock.Store(0)
		forbidden(t, w.put(link, body))
		// While the version waits, there is another link for who asks.
		_, fresh := w.linkOf(w.ask(w.acme, "GET", "/policy-set-versions/"+other, ""))
		if a := w.put(fresh, body); a.status != http.StatusOK {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("case 77 a link to download", func(t *testing.T) {
		location := w.ask(w.acme, "GET", "/policy-set-versions/"+other+"/download", "").header.Get("Location")
		problemsOf(t, w.put(location, body), http.StatusForbidden)
	})
	t.Run("of a version that is gone", func(t *testing.T) {
		if err := w.store.DeletePolicySet(t.Context(), polset.System, set); err != nil {
			t.Fatal(err)
		}
		problemsOf(t, w.put(link, body), http.StatusNotFound)
	})
}

func TestSecondUpload(t *testing.T) {
	w := newWorld(t)
	set := w.uploadable("net")
	body := packed(t, opaPolicies)
	t.Run("case 78 after it is ready", func(t *testing.T) {
		_, link := w.awaiting(set)
		if a := w.put(link, body); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if e := problemsOf(t, w.put(link, body), http.StatusConflict)[0]; !strings.Contains(e.Detail, "is ready") {
			t.Errorf("%+v", e)
		}
	})
	t.Run("case 78 after it is errored", func(t *testing.T) {
		_, link := w.awaiting(set)
		if a := w.put(link, []byte("nonsense")); a.status != http.StatusOK || !strings.Contains(a.body, `"status":"errored"`) {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if e := problemsOf(t, w.put(link, body), http.StatusConflict)[0]; !strings.Contains(e.Detail, "is errored") {
			t.Errorf("%+v", e)
		}
	})
	t.Run("case 78 two at once", func(t *testing.T) {
		id, link := w.awaiting(set)
		answers := make(chan answer, 6)
		for range cap(answers) {
			go func() { answers <- w.put(link, body) }()
		}
		took := 0
		for range cap(answers) {
			switch a := <-answers; a.status {
			case http.StatusOK:
				took++
			case http.StatusConflict:
			default:
				t.Errorf("%d %s", a.status, a.body)
			}
		}
		if took != 1 || w.status(id) != polset.VersionReady {
			t.Errorf("%d uploads were taken, the version is %s", took, w.status(id))
		}
	})
	w.emptied()
}

// partly sends the head of an upload and some of its bytes.
func (w *world) partly(link string, length int, sent []byte) net.Conn {
	w.t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		w.t.Fatal(err)
	}
	conn, err := (&net.Dialer{}).DialContext(w.t.Context(), "tcp", u.Host)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	if _, err := fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n%s", u.Path, u.Host, length, sent); err != nil {
		w.t.Fatal(err)
	}
	return conn
}

func TestInterruptedUpload(t *testing.T) {
	w := newWorld(t)
	set := w.uploadable("net")
	body := packed(t, opaPolicies)
	t.Run("case 79 disconnect mid-PUT", func(t *testing.T) {
		id, link := w.awaiting(set)
		for _, n := range []int{0, 1, len(body) - 1} {
			if err := w.partly(link, len(body), body[:n]).Close(); err != nil {
				t.Fatal(err)
			}
			w.emptied()
			if s := w.status(id); s != polset.VersionPending {
				t.Fatalf("after %d bytes the version is %s", n, s)
			}
		}
		if a := w.put(link, body); a.status != http.StatusOK || w.status(id) != polset.VersionReady {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("case 79 half closed", func(t *testing.T) {
		id, link := w.awaiting(set)
		conn, ok := w.partly(link, len(body), body[:20]).(*net.TCPConn)
		if !ok {
			t.Fatal("no TCP")
		}
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if status := answered(t, conn); status != http.StatusBadRequest {
			t.Errorf("status %d", status)
		}
		if s := w.status(id); s != polset.VersionPending {
			t.Errorf("the version is %s", s)
		}
	})
	w.emptied()
}

// answered waits for the answer to what was sent by hand.
func answered(t *testing.T, conn net.Conn) (status int) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func TestSlowUpload(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.UploadIdle = 300 * time.Millisecond })
	set := w.uploadable("net")
	body := packed(t, opaPolicies)
	t.Run("case 13 one that stops is cut", func(t *testing.T) {
		id, link := w.awaiting(set)
		if status := answered(t, w.partly(link, len(body), body[:20])); status != http.StatusRequestTimeout {
			t.Errorf("status %d", status)
		}
		w.emptied()
		if s := w.status(id); s != polset.VersionPending {
			t.Errorf("the version is %s", s)
		}
	})
	t.Run("one that goes on takes its time", func(t *testing.T) {
		_, link := w.awaiting(set)
		conn := w.partly(link, len(body), nil)
		for part := range 8 { // longer than it may be silent
			time.Sleep(100 * time.Millisecond)
			from, to := len(body)*part/8, len(body)*(part+1)/8
			if _, err := conn.Write(body[from:to]); err != nil {
				t.Fatal(err)
			}
		}
		if status := answered(t, conn); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	})
}

// An uploader that answers what a test wants.
type uploaderFunc func(ctx context.Context, by polset.Principal, id string, body io.Reader) (polset.Version, error)

func (f uploaderFunc) Upload(ctx context.Context, by polset.Principal, id string, body io.Reader) (polset.Version, error) {
	return f(ctx, by, id, body)
}

func TestUploadFaults(t *testing.T) {
	var answers error
	var actor string
	w := newWorld(t, func(c *api.Config) {
		c.Uploader = uploaderFunc(func(_ context.Context, by polset.Principal, _ string, _ io.Reader) (polset.Version, error) {
			actor = by.Actor
			return polset.Version{}, answers
		})
	})
	_, link := w.awaiting(w.uploadable("net"))
	for _, c := range []struct {
		name   string
		err    error
		status int
		after  string
	}{
		{"case 94 the storage is down", &polset.Failure{Class: polset.ClassStorage, Retry: true, Message: "It is down."}, http.StatusServiceUnavailable, "5"},
		{"no place", &polset.Failure{Class: polset.ClassLimit, Retry: true, RetryAfter: 7 * time.Second, Message: "Later."}, http.StatusServiceUnavailable, "7"},
		{"another is worked on", fmt.Errorf("x: %w", polset.ErrConflict), http.StatusConflict, ""},
		{"gone meanwhile", fmt.Errorf("x: %w", polset.ErrNotFound), http.StatusNotFound, ""},
		{"a bug", errors.New("x"), http.StatusInternalServerError, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			answers = c.err
			a := w.put(link, []byte("x"))
			problemsOf(t, a, c.status)
			if got := a.header.Get("Retry-After"); got != c.after {
				t.Errorf("Retry-After %q, want %q", got, c.after)
			}
			if !strings.HasPrefix(actor, "at-") {
				t.Errorf("the uploader is %q, not who was given the link", actor)
			}
			w.emptied()
		})
	}
	t.Run("compressed once more", func(t *testing.T) {
		a := w.askWith("", "PUT", link, "x", http.Header{"Content-Encoding": {"gzip"}})
		problemsOf(t, a, http.StatusUnsupportedMediaType)
	})
	t.Run("no room to spool", func(t *testing.T) {
		if err := os.RemoveAll(w.api.SpoolDir); err != nil {
			t.Fatal(err)
		}
		problemsOf(t, w.put(link, []byte("x")), http.StatusServiceUnavailable)
	})
}

// Hostile archives go all the way: the version says what is wrong with them.
func TestHostileUploads(t *testing.T) {
	w := newWorld(t)
	set := w.uploadable("net")
	bomb := func() []byte {
		var out bytes.Buffer
		gz := gzip.NewWriter(&out)
		if _, err := gz.Write(make([]byte, 101<<20)); err != nil {
			t.Fatal(err)
		}
		if err := gz.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	body := packed(t, opaPolicies)
	for _, c := range []struct {
		name  string
		body  []byte
		class string
	}{
		{"case 69 gzip bomb", bomb(), "limit"},
		{"case 70 concatenated members", append(bytes.Clone(body), body...), "content-invalid"},
		{"case 71 truncated", body[:len(body)-1], "content-invalid"},
		{"case 71 empty", nil, "content-invalid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, link := w.awaiting(set)
			if a := w.put(link, c.body); a.status != http.StatusOK || !strings.Contains(a.body, `"error":"`+c.class+`"`) {
				t.Errorf("%d %s", a.status, a.body)
			}
			if s := w.status(id); s != polset.VersionErrored {
				t.Errorf("the version is %s", s)
			}
		})
	}
}

// An upload would take the place of the policies that a set holds.
func TestNoUploadBesidePolicies(t *testing.T) {
	w := newWorld(t)
	set := w.policySet("of-policies", "sentinel")
	policy := w.policy("ours", "sentinel", set)
	refused(t, w.ask(w.acme, "POST", "/policy-sets/"+set+"/versions", ""), http.StatusUnprocessableEntity, "")
	body := `{"data":[{"type":"policies","id":"` + policy + `"}]}`
	if a := w.ask(w.acme, "DELETE", "/policy-sets/"+set+"/relationships/policies", body); a.status != http.StatusNoContent {
		t.Fatal(a.body)
	}
	if a := w.ask(w.acme, "POST", "/policy-sets/"+set+"/versions", ""); a.status != http.StatusCreated {
		t.Error(a.body)
	}
	refused(t, w.ask(w.acme, "POST", "/policy-sets/"+set+"/relationships/policies", body), http.StatusUnprocessableEntity, "/data")
}
