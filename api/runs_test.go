package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	tfe "github.com/hashicorp/go-tfe"

	"github.com/polset/polset"
	"github.com/polset/polset/api"
)

var (
	_ = thing("configuration_version", func(e *estate) string {
		id := e.create("/workspaces/{workspace}/configuration-versions", manualConfiguration)
		e.upload(e.token, id, "terraform of "+e.name)
		return id
	})
	_ = thing("run", func(e *estate) string {
		e.global("waiting", polset.KindOPA, nil) // which no run gets past by itself
		return e.create("/runs", runOf)
	})
	_ = probe("POST /workspaces/:workspace/configuration-versions", manualConfiguration)
	_ = probe("POST /runs", runOf)
)

const (
	manualConfiguration = `{"data":{"type":"configuration-versions","attributes":{"auto-queue-runs":false}}}`
	runOf               = `{"data":{"type":"runs","relationships":{"workspace":{"data":{"type":"workspaces","id":"{workspace}"}},
		"configuration-version":{"data":{"type":"configuration-versions","id":"{configuration_version}"}}}}}`
)

// upload gives a configuration version its bytes.
func (w *world) upload(token, id, content string) {
	w.t.Helper()
	c, err := w.client(token).ConfigurationVersions.Read(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	if a := w.put(c.UploadURL, []byte(content)); a.status != http.StatusOK {
		w.t.Fatalf("upload: %d %s", a.status, a.body)
	}
}

// workspaceOf makes a workspace.
func workspaceOf(t *testing.T, client *tfe.Client, organization, name string) *tfe.Workspace {
	t.Helper()
	w, err := client.Workspaces.Create(t.Context(), organization, tfe.WorkspaceCreateOptions{Name: tfe.String(name), AutoApply: tfe.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestConfigurationVersions(t *testing.T) {
	w := newWorld(t)
	client, ctx := w.client(w.acme), t.Context()
	workspace := workspaceOf(t, client, "acme", "net")

	created, err := client.ConfigurationVersions.Create(ctx, workspace.ID, tfe.ConfigurationVersionCreateOptions{AutoQueueRuns: tfe.Bool(false), Speculative: tfe.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	if created.Status != tfe.ConfigurationPending || created.AutoQueueRuns || !created.Speculative || created.Provisional || created.Source != tfe.ConfigurationSourceAPI ||
		!strings.HasPrefix(created.UploadURL, w.url+"/v1/object/") || created.Error != "" {
		t.Errorf("configuration version %+v", created)
	}
	// Each answer has a link of its own, which expires at another time.
	same := cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "UploadURL" }, cmp.Ignore())
	read, err := client.ConfigurationVersions.Read(ctx, created.ID)
	if diff := cmp.Diff(created, read, same); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if reader, err := w.client(w.guest).ConfigurationVersions.Read(ctx, created.ID); err != nil || reader.UploadURL != "" {
		t.Errorf("who may only read was given a link: %v %+v", err, reader)
	}
	if _, err := client.ConfigurationVersions.Download(ctx, created.ID); !errors.Is(err, tfe.ErrResourceNotFound) {
		t.Errorf("a download before the upload: %v", err)
	}

	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte("resource \"null_resource\" \"a\" {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := client.ConfigurationVersions.Upload(ctx, created.UploadURL, dir); err != nil {
		t.Fatal(err)
	}
	uploaded, err := client.ConfigurationVersions.Read(ctx, created.ID)
	if err != nil || uploaded.Status != tfe.ConfigurationUploaded || uploaded.UploadURL != "" || uploaded.StatusTimestamps.FinishedAt.IsZero() {
		t.Errorf("%v %+v", err, uploaded)
	}
	archive, err := client.ConfigurationVersions.Download(ctx, created.ID)
	if err != nil || !bytes.HasPrefix(archive, []byte{0x1f, 0x8b}) {
		t.Errorf("%v %x", err, archive)
	}
	if runs, err := client.Runs.List(ctx, workspace.ID, nil); err != nil || len(runs.Items) != 0 {
		t.Errorf("an upload that shall make no run made one: %v", err)
	}

	t.Run("case 74 a second upload is refused, and changes nothing", func(t *testing.T) {
		problemsOf(t, w.put(created.UploadURL, []byte("other")), http.StatusConflict)
		again, err := client.ConfigurationVersions.Download(ctx, created.ID)
		if err != nil || !bytes.Equal(again, archive) {
			t.Errorf("%v: the bytes are others", err)
		}
	})
	t.Run("an upload makes a run where nobody said otherwise", func(t *testing.T) {
		auto, err := client.ConfigurationVersions.Create(ctx, workspace.ID, tfe.ConfigurationVersionCreateOptions{})
		if err != nil || !auto.AutoQueueRuns {
			t.Fatalf("%v %+v", err, auto)
		}
		w.upload(w.acme, auto.ID, "auto")
		runs, err := client.Runs.List(ctx, workspace.ID, nil)
		if err != nil || len(runs.Items) != 1 || runs.Items[0].ConfigurationVersion.ID != auto.ID || runs.Items[0].Source != tfe.RunSourceConfigurationVersion {
			t.Errorf("%v %+v", err, runs)
		}
	})
	list, err := client.ConfigurationVersions.List(ctx, workspace.ID, nil)
	if err != nil || list.TotalCount != 2 || !cmp.Equal(list.Items[1], uploaded) {
		t.Errorf("%v %s", err, cmp.Diff(uploaded, list.Items[1]))
	}
	if err := client.Workspaces.DeleteByID(ctx, workspace.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := client.ConfigurationVersions.Read(ctx, created.ID); !errors.Is(err, tfe.ErrResourceNotFound) {
		t.Error(err)
	}
}

func TestConfigurationVersionsHostile(t *testing.T) {
	const limit = 1 << 10
	w := newWorld(t, func(c *api.Config) { c.MaxArchiveBytes = limit })
	client, ctx := w.client(w.acme), t.Context()
	workspace := workspaceOf(t, client, "acme", "net")
	pending := func(t *testing.T) *tfe.ConfigurationVersion {
		t.Helper()
		c, err := client.ConfigurationVersions.Create(ctx, workspace.ID, tfe.ConfigurationVersionCreateOptions{AutoQueueRuns: tfe.Bool(false)})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	unharmed := func(t *testing.T, id string, before map[string][]string) {
		t.Helper()
		if diff := cmp.Diff(before, w.everything(t)); diff != "" {
			t.Errorf("something was kept: %s", diff)
		}
		if left, err := filepath.Glob(filepath.Join(w.dir, "spool", "*")); err != nil || len(left) > 0 {
			t.Errorf("spool files are left: %v %v", left, err)
		}
		w.upload(w.acme, id, "after all")
	}

	t.Run("case 75 more bytes than the limit, told before", func(t *testing.T) {
		c := pending(t)
		before := w.everything(t)
		p := problemsOf(t, w.put(c.UploadURL, []byte(strings.Repeat("x", limit+1))), http.StatusRequestEntityTooLarge)
		if !strings.Contains(p[0].Detail, "1024") || !strings.Contains(p[0].Detail, "POLSET_MAX_ARCHIVE_BYTES") {
			t.Errorf("the limit is not named: %q", p[0].Detail)
		}
		unharmed(t, c.ID, before)
	})
	t.Run("case 75 more bytes than the limit, not told", func(t *testing.T) {
		c := pending(t)
		before := w.everything(t)
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, c.UploadURL, io.MultiReader(strings.NewReader(strings.Repeat("x", limit+1))))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("status %d", resp.StatusCode)
		}
		unharmed(t, c.ID, before)
	})
	t.Run("case 76 a client that goes away", func(t *testing.T) {
		c := pending(t)
		before := w.everything(t)
		u, err := url.Parse(c.UploadURL)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "PUT "+u.Path+" HTTP/1.1\r\nHost: "+u.Host+"\r\nContent-Length: 1000\r\n\r\nhalf"); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		// The answer is the signal that the server is done with it.
		answered, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(answered), "HTTP/1.1 400") {
			t.Errorf("%v %s", err, answered)
		}
		_ = conn.Close()
		unharmed(t, c.ID, before)
	})
	t.Run("case 77 links of others", func(t *testing.T) {
		c := pending(t)
		token := c.UploadURL[strings.LastIndex(c.UploadURL, "/")+1:]
		payload, signature, _ := strings.Cut(token, ".")
		for name, forged := range map[string]string{
			"without a signature": payload, "with another's signature": payload + "." + strings.Repeat("A", len(signature)), "of nothing": "e30." + signature,
		} {
			if a := w.put(w.url+"/v1/object/"+forged, []byte("x")); a.status != http.StatusForbidden {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
		if a := w.askWith("", http.MethodGet, c.UploadURL, "", nil); a.status != http.StatusForbidden {
			t.Errorf("a link to upload was read: %d", a.status)
		}
		w.clock.Store(int64(time.Hour))
		defer w.clock.Store(0)
		if a := w.put(c.UploadURL, []byte("x")); a.status != http.StatusForbidden {
			t.Errorf("a link of an hour ago: %d", a.status)
		}
	})
	t.Run("case 78 two at once: one is kept", func(t *testing.T) {
		c := pending(t)
		var group sync.WaitGroup
		statuses := make([]int, 8)
		for i := range statuses {
			group.Go(func() { statuses[i] = w.put(c.UploadURL, []byte(strings.Repeat("x", i+1))).status })
		}
		group.Wait()
		slices.Sort(statuses)
		if statuses[0] != http.StatusOK || statuses[1] != http.StatusConflict || statuses[7] != http.StatusConflict {
			t.Errorf("statuses %v", statuses)
		}
	})
	t.Run("case 78 a workspace that is deleted", func(t *testing.T) {
		doomed := workspaceOf(t, client, "acme", "doomed")
		c, err := client.ConfigurationVersions.Create(ctx, doomed.ID, tfe.ConfigurationVersionCreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Workspaces.DeleteByID(ctx, doomed.ID); err != nil {
			t.Fatal(err)
		}
		problemsOf(t, w.put(c.UploadURL, []byte("x")), http.StatusNotFound)
	})
	t.Run("case 79 a storage that takes nothing", func(t *testing.T) {
		full := newWorld(t, func(c *api.Config) { c.Objects = fullStorage{c.Objects} })
		client := full.client(full.acme)
		workspace := workspaceOf(t, client, "acme", "net")
		c, err := client.ConfigurationVersions.Create(ctx, workspace.ID, tfe.ConfigurationVersionCreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		a := full.put(c.UploadURL, []byte("x"))
		problemsOf(t, a, http.StatusServiceUnavailable)
		if strings.Contains(a.body, "secret") {
			t.Errorf("the cause is told: %s", a.body)
		}
		if c, err = client.ConfigurationVersions.Read(ctx, c.ID); err != nil || c.Status != tfe.ConfigurationPending {
			t.Errorf("%v %+v", err, c)
		}
	})
}

// fullStorage has no room.
type fullStorage struct{ api.Objects }

func (fullStorage) Put(context.Context, string, int64, io.ReadSeeker) error {
	return errors.New("no room for a secret")
}

func TestRuns(t *testing.T) {
	w := newWorld(t)
	client, ctx := w.client(w.acme), t.Context()
	w.estate("acme").global("waiting", polset.KindOPA, nil) // which no run gets past by itself
	workspace := workspaceOf(t, client, "acme", "net")
	configuration := func(speculative, provisional bool) *tfe.ConfigurationVersion {
		t.Helper()
		c, err := client.ConfigurationVersions.Create(ctx, workspace.ID, tfe.ConfigurationVersionCreateOptions{
			AutoQueueRuns: tfe.Bool(false), Speculative: tfe.Bool(speculative), Provisional: tfe.Bool(provisional),
		})
		if err != nil {
			t.Fatal(err)
		}
		w.upload(w.acme, c.ID, "terraform")
		return c
	}

	if _, err := client.Runs.Create(ctx, tfe.RunCreateOptions{Workspace: workspace}); err == nil || !strings.Contains(err.Error(), "Upload one first") {
		t.Errorf("a run of nothing: %v", err)
	}
	first := configuration(false, false)
	configuration(false, true) // provisional: nothing takes it by itself

	run, err := client.Runs.Create(ctx, tfe.RunCreateOptions{
		Workspace: workspace, ConfigurationVersion: first, Message: tfe.String("why not"), IsDestroy: tfe.Bool(true), PlanOnly: tfe.Bool(false), AutoApply: tfe.Bool(false),
		Refresh: tfe.Bool(false), TargetAddrs: []string{"a.b"}, ReplaceAddrs: []string{"c.d"}, AllowEmptyApply: tfe.Bool(true),
		Variables: []*tfe.RunVariable{{Key: "region", Value: `"eu"`}}, PolicyPaths: []string{"./policies"}, SavePlan: tfe.Bool(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	if run.Status != tfe.RunPending || run.Message != "why not" || !run.IsDestroy || run.PlanOnly || run.AutoApply || run.Refresh || !slices.Equal(run.TargetAddrs, []string{"a.b"}) ||
		!slices.Equal(run.ReplaceAddrs, []string{"c.d"}) || run.TerraformVersion != workspace.TerraformVersion || !run.AllowEmptyApply || len(run.Variables) != 1 || run.Variables[0].Value != `"eu"` ||
		!run.SavePlan || run.Workspace.ID != workspace.ID || run.ConfigurationVersion.ID != first.ID || run.Plan == nil ||
		!run.Actions.IsCancelable || !run.Permissions.CanCancel || run.Source != tfe.RunSourceAPI || !run.CanceledAt.IsZero() {
		t.Errorf("run %+v", run)
	}
	read, err := client.Runs.Read(ctx, run.ID)
	if diff := cmp.Diff(run, read); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if a := w.ask(w.acme, "GET", "/runs/"+run.ID, ""); !strings.Contains(a.body, `"policy-checks":{"data":[]}`) || !strings.Contains(a.body, `"task-stages":{"data":[{"id":"ts`+strings.TrimPrefix(run.ID, "run")) {
		t.Error(a.body)
	}
	with, err := client.Runs.ReadWithOptions(ctx, run.ID, &tfe.RunReadOptions{Include: []tfe.RunIncludeOpt{tfe.RunWorkspace, tfe.RunConfigVer, tfe.RunPlan}})
	if err != nil || with.Workspace.Name != "net" || !with.Workspace.CreatedAt.Equal(workspace.CreatedAt) || with.ConfigurationVersion.Status != tfe.ConfigurationUploaded {
		t.Errorf("%v %+v", err, with)
	}

	latest, err := client.Runs.Create(ctx, tfe.RunCreateOptions{Workspace: workspace})
	if err != nil || latest.ConfigurationVersion.ID != first.ID || !latest.AutoApply || !latest.Refresh {
		t.Errorf("the latest that is not provisional: %v %+v", err, latest)
	}
	speculative, err := client.Runs.Create(ctx, tfe.RunCreateOptions{Workspace: workspace, ConfigurationVersion: configuration(true, false), PlanOnly: tfe.Bool(false)})
	if err != nil || !speculative.PlanOnly {
		t.Errorf("a speculative run that could be applied: %v %+v", err, speculative)
	}
	list, err := client.Runs.List(ctx, workspace.ID, &tfe.RunListOptions{Include: []tfe.RunIncludeOpt{tfe.RunWorkspace}})
	if err != nil || list.TotalCount != 3 || list.Items[0].ID != speculative.ID || list.Items[2].Workspace.Name != "net" {
		t.Errorf("%v %+v", err, list)
	}

	t.Run("a run is canceled or discarded once", func(t *testing.T) {
		if err := client.Runs.Cancel(ctx, latest.ID, tfe.RunCancelOptions{Comment: tfe.String("no")}); err != nil {
			t.Fatal(err)
		}
		canceled, err := client.Runs.Read(ctx, latest.ID)
		if err != nil || canceled.Status != tfe.RunCanceled || canceled.CanceledAt.IsZero() || canceled.StatusTimestamps.CanceledAt.IsZero() || canceled.Actions.IsCancelable {
			t.Errorf("%v %+v", err, canceled)
		}
		if err := client.Runs.Discard(ctx, run.ID, tfe.RunDiscardOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{latest.ID, run.ID} {
			if err := client.Runs.Cancel(ctx, id, tfe.RunCancelOptions{}); err == nil || !strings.Contains(err.Error(), "The run has ended") {
				t.Errorf("an end after the end: %v", err)
			}
		}
		if err := client.Runs.Apply(ctx, speculative.ID, tfe.RunApplyOptions{}); !errors.Is(err, tfe.ErrResourceNotFound) {
			t.Errorf("polset applied something: %v", err)
		}
		for status, want := range map[string]int{"canceled": 1, "canceled,discarded": 2, "pending": 1, "applied": 0} {
			if list, err := client.Runs.List(ctx, workspace.ID, &tfe.RunListOptions{Status: status}); err != nil || list.TotalCount != want {
				t.Errorf("%s: %v %+v", status, err, list)
			}
		}
	})
}

func TestRunsHostile(t *testing.T) {
	w := newWorld(t)
	client, ctx := w.client(w.acme), t.Context()
	ours, other := workspaceOf(t, client, "acme", "net"), workspaceOf(t, client, "acme", "other")
	foreign := workspaceOf(t, w.client(w.evil), "evilcorp", "theirs")
	configuration := func(token, workspaceID string) string {
		c, err := w.client(token).ConfigurationVersions.Create(ctx, workspaceID, tfe.ConfigurationVersionCreateOptions{AutoQueueRuns: tfe.Bool(false)})
		if err != nil {
			t.Fatal(err)
		}
		w.upload(token, c.ID, "x")
		return c.ID
	}
	inOther, theirs := configuration(w.acme, other.ID), configuration(w.evil, foreign.ID)
	waiting, err := client.ConfigurationVersions.Create(ctx, ours.ID, tfe.ConfigurationVersionCreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	run := func(token, workspaceID, configurationID string) answer {
		return w.ask(token, "POST", "/runs", strings.NewReplacer("{workspace}", workspaceID, "{configuration_version}", configurationID).Replace(runOf))
	}
	const missingConfiguration, missingWorkspace = "cv-0000000000009999", "ws-0000000000009999"
	for name, configurationID := range map[string]string{"of another workspace": inOther, "of another organization": theirs} {
		t.Run("case 80 a configuration version "+name, func(t *testing.T) {
			for _, token := range []string{w.acme, admin} {
				got, want := run(token, ours.ID, configurationID), run(token, ours.ID, missingConfiguration)
				refused(t, got, http.StatusUnprocessableEntity, "/data/relationships")
				if got.body != want.body {
					t.Errorf("foreign: %s\nmissing: %s", got.body, want.body)
				}
			}
		})
	}
	t.Run("case 80 a workspace of another organization", func(t *testing.T) {
		got, want := run(w.acme, foreign.ID, theirs), run(w.acme, missingWorkspace, theirs)
		refused(t, got, http.StatusUnprocessableEntity, "/data/relationships")
		if got.body != want.body {
			t.Errorf("foreign: %s\nmissing: %s", got.body, want.body)
		}
	})
	t.Run("case 80 the site admin mixes nothing up", func(t *testing.T) {
		if a := run(admin, foreign.ID, theirs); a.status != http.StatusCreated {
			t.Error(a.body)
		}
		refused(t, run(admin, foreign.ID, inOther), http.StatusUnprocessableEntity, "/data/relationships")
	})
	t.Run("case 85 a configuration version without its bytes", func(t *testing.T) {
		refused(t, run(w.acme, ours.ID, waiting.ID), http.StatusUnprocessableEntity, "/data/relationships/configuration-version")
	})
	for _, c := range []struct{ name, body, pointer string }{
		{"no workspace", `{"data":{"type":"runs"}}`, "/data/relationships/workspace"},
		{"a workspace that is a list", `{"data":{"type":"runs","relationships":{"workspace":{"data":[]}}}}`, "/data/relationships/workspace"},
		{"an id of signs", `{"data":{"type":"runs","relationships":{"workspace":{"data":{"type":"workspaces","id":"' OR 1=1 --"}}}}}`, "/data/relationships"},
		{"a long message", `{"data":{"type":"runs","attributes":{"message":"` + strings.Repeat("m", 4097) + `"}}}`, "/data/attributes/message"},
		{"variables that are no list", `{"data":{"type":"runs","attributes":{"variables":{"a":"b"}}}}`, "/data/attributes/variables"},
		{"variables that are too long", `{"data":{"type":"runs","attributes":{"variables":[{"key":"k","value":"` + strings.Repeat("v", 64<<10) + `"}]}}}`, "/data/attributes/variables"},
		{"too many variables", `{"data":{"type":"runs","attributes":{"variables":[` + strings.TrimSuffix(strings.Repeat(`{"key":"k","value":"v"},`, 101), ",") + `]}}}`, "/data/attributes/variables"},
		{"a text for a boolean", `{"data":{"type":"runs","attributes":{"is-destroy":"no"}}}`, "/data/attributes/is-destroy"},
	} {
		t.Run("case 85 "+c.name, func(t *testing.T) {
			refused(t, w.ask(w.acme, "POST", "/runs", c.body), http.StatusUnprocessableEntity, c.pointer)
		})
	}
	t.Run("case 86 who may only read makes no run, and ends none", func(t *testing.T) {
		problemsOf(t, run(w.guest, ours.ID, inOther), http.StatusNotFound)
	})
	t.Run("case 92 parameters that are too long together", func(t *testing.T) {
		mine := configuration(w.acme, ours.ID)
		set := w.made("/organizations/acme/policy-sets", `{"data":{"type":"policy-sets","attributes":{"name":"large","global":true}}}`)
		value := strings.Repeat("v", 256<<10)
		for n := range polset.MaxRunParameters/len(value) + 1 {
			w.made("/policy-sets/"+set+"/parameters", fmt.Sprintf(`{"data":{"type":"vars","attributes":{"key":"k%d","value":%q,"category":"policy-set"}}}`, n, value))
		}
		p := problemsOf(t, run(w.acme, ours.ID, mine), http.StatusUnprocessableEntity)
		if !strings.Contains(p[0].Detail, "4194304 bytes, the limit") {
			t.Errorf("problem %+v", p[0])
		}
	})
	if runs, _, err := w.store.Runs(ctx, polset.System, ours.ID, polset.RunFilter{}, polset.Page{Number: 1, Size: 10}); err != nil || len(runs) != 0 {
		t.Errorf("a refused run was kept: %v %+v", err, runs)
	}
}
