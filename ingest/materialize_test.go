package ingest_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap/zaptest"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
	"github.com/polset/polset/ingest"
	"github.com/polset/polset/store"
	"github.com/polset/polset/store/object"
)

// flaky is a bucket whose faults come and go.
type flaky struct {
	object.Bucket
	put, open atomic.Pointer[error]
	onPut     func()
}

func (f *flaky) Put(ctx context.Context, key string, size int64, r io.ReadSeeker) error {
	if err := f.put.Load(); err != nil {
		return *err
	}
	if err := f.Bucket.Put(ctx, key, size, r); err != nil {
		return err
	}
	if f.onPut != nil {
		f.onPut()
	}
	return nil
}

func (f *flaky) Open(ctx context.Context, key string) (io.ReadCloser, int64, error) {
	if err := f.open.Load(); err != nil {
		return nil, 0, *err
	}
	return f.Bucket.Open(ctx, key)
}

// A workshop is a world with a materializer and a set of one kind.
type workshop struct {
	*world
	bucket  *flaky
	objects string // its directory
	maker   *ingest.Materializer
	metrics *prometheus.Registry
}

func newWorkshop(t *testing.T, kind polset.Kind, change func(*ingest.Config)) *workshop {
	t.Helper()
	w := &workshop{objects: t.TempDir(), metrics: prometheus.NewRegistry()}
	bucket, err := object.Open(t.Context(), "file://"+w.objects, object.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w.bucket = &flaky{Bucket: bucket}
	w.world = newWorld(t, func(c *ingest.Config) {
		c.Objects = w.bucket
		if change != nil {
			change(c)
		}
	})
	w.maker = w.materializer()
	if w.set, err = w.store.CreatePolicySet(w.ctx, admin, polset.PolicySetDraft{Organization: "acme", Name: "set", Kind: kind}); err != nil {
		t.Fatal(err)
	}
	return w
}

// materializer is that of one node.
func (w *workshop) materializer() *ingest.Materializer {
	w.t.Helper()
	m, err := ingest.NewMaterializer(ingest.MaterializerConfig{
		Materializations: w.store, Code: w.bucket, Worker: w.worker, Wake: w.store.MaterializationDue(), Poll: time.Hour,
		Logger: zaptest.NewLogger(w.t), Registerer: w.metrics,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// policy makes a member of the set.
func (w *workshop) policy(name string) polset.Policy {
	w.t.Helper()
	d := polset.PolicyDraft{Organization: "acme", Name: name, Kind: w.set.Kind, EnforcementLevel: "advisory", PolicySetIDs: []string{w.set.ID}}
	if d.Kind == polset.KindOPA {
		d.Query = "data." + strings.ToLower(name) + ".deny"
	}
	p, err := w.store.CreatePolicy(w.ctx, admin, d)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *workshop) upload(p polset.Policy, code string) {
	w.t.Helper()
	sum := sha256.Sum256([]byte(code))
	digest := hex.EncodeToString(sum[:])
	if err := w.bucket.Bucket.Put(w.ctx, digest, int64(len(code)), strings.NewReader(code)); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.store.UploadPolicy(w.ctx, admin, p.ID, digest, int64(len(code))); err != nil {
		w.t.Fatal(err)
	}
}

func (w *workshop) update(p polset.Policy, c polset.PolicyUpdate) {
	w.t.Helper()
	if _, err := w.store.UpdatePolicy(w.ctx, admin, p.ID, c); err != nil {
		w.t.Fatal(err)
	}
}

// round makes what is due, and returns the outcome and the newest version.
func (w *workshop) round() (polset.Ingestion, polset.Version) {
	w.t.Helper()
	if n, err := w.maker.Round(w.ctx); err != nil || n != 1 {
		w.t.Fatalf("%d sets, %v", n, err)
	}
	return w.last()
}

// ready is round for what must become a ready version, in force.
func (w *workshop) ready() polset.Version {
	w.t.Helper()
	i, v := w.round()
	set, err := w.store.PolicySet(w.ctx, admin, w.set.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	if i.Status != polset.IngestionVersioned || v.Status != polset.VersionReady || set.MaterializedVersionID != v.ID {
		w.t.Fatalf("%s: %+v; in force is %q", i.Status, v, set.MaterializedVersionID)
	}
	return v
}

// holds lists the archive of a version.
func (w *workshop) holds(v polset.Version) map[string]string {
	w.t.Helper()
	r, _, err := w.bucket.Open(w.ctx, v.Artifact.Digest)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	gz, err := gzip.NewReader(r)
	if err != nil {
		w.t.Fatal(err)
	}
	files := map[string]string{}
	for entries := tar.NewReader(gz); ; {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			w.t.Fatal(err)
		}
		content, err := io.ReadAll(entries)
		if err != nil {
			w.t.Fatal(err)
		}
		files[h.Name] = string(content)
	}
}

func denying(name string) string { return "package " + name + "\n\ndeny contains \"no\" if input.no\n" }

func TestMaterializeOPA(t *testing.T) {
	w := newWorkshop(t, polset.KindOPA, nil)
	b, a := w.policy("b"), w.policy("a")
	w.upload(a, denying("a"))
	w.upload(b, denying("b"))
	v := w.ready()
	files := w.holds(v)
	if got := slices.Sorted(maps.Keys(files)); !slices.Equal(got, []string{"a.rego", "b.rego", "policies.hcl"}) {
		t.Errorf("the archive holds %v", got)
	}
	if files["a.rego"] != denying("a") || strings.Index(files["policies.hcl"], `"b"`) > strings.Index(files["policies.hcl"], `"a"`) {
		t.Errorf("files %q", files)
	}
	if p := v.Artifact.Policies; len(p) != 2 || p[0].Name != "b" || p[0].Query != "data.b.deny" || p[0].EnforcementLevel != "advisory" || p[0].Digest == "" {
		t.Errorf("policies %+v", p)
	}
	if v.Artifact.Files != 3 || v.Artifact.PoliciesDirectory != "" || v.Source != polset.SourcePolicies || len(v.Artifact.Content.Tree) != 64 {
		t.Errorf("version %+v", v)
	}
	if n, err := w.maker.Round(w.ctx); n != 0 || err != nil {
		t.Errorf("due again: %d, %v", n, err)
	}

	// A level counts, and so does what an OPA set says of a policy.
	level, words := "mandatory", "says no"
	w.update(a, polset.PolicyUpdate{EnforcementLevel: &level})
	changed := w.ready()
	if changed.ID == v.ID || changed.Artifact.TarDigest == v.Artifact.TarDigest || changed.Artifact.Policies[1].EnforcementLevel != level {
		t.Errorf("after the change of a level: %+v", changed)
	}
	w.update(a, polset.PolicyUpdate{Description: &words})
	if v := w.ready(); v.Artifact.Policies[1].Description != words {
		t.Errorf("after the change of a description: %+v", v)
	}
	// The same code once more does not.
	w.upload(a, denying("a"))
	newest := w.unchanged()
	// A policy that does not compile leaves what is in force, and says where.
	w.upload(a, "package a\n\ndeny contains \"no\" if nothing.here\n")
	i, e := w.round()
	if i.Status != polset.IngestionFailed || e.Error != polset.ClassPolicyInvalid || len(e.Diagnostics) == 0 || e.Diagnostics[0].File != "a.rego" || e.Diagnostics[0].Line != 3 {
		t.Errorf("%s %+v", i.Status, e)
	}
	if set, err := w.store.PolicySet(w.ctx, admin, w.set.ID); err != nil || set.MaterializedVersionID != newest {
		t.Errorf("in force is %q, want %q, %v", set.MaterializedVersionID, newest, err)
	}
	w.upload(a, "package a\n\ndeny contains \"no\" if nothing.here\n")
	w.unchanged() // the same fault
	w.upload(a, denying("a"))
	w.ready()

	for _, p := range []polset.Policy{a, b} {
		if err := w.store.DeletePolicy(w.ctx, admin, p.ID); err != nil {
			t.Fatal(err)
		}
	}
	if i, _ := w.round(); i.Status != polset.IngestionIgnored || i.Reason == "" {
		t.Errorf("without policies: %+v", i)
	}
	if set, err := w.store.PolicySet(w.ctx, admin, w.set.ID); err != nil || set.MaterializedVersionID != "" {
		t.Errorf("%q is in force of nothing, %v", set.MaterializedVersionID, err)
	}
	if _, err := w.store.VerifyAudit(w.ctx, nil); err != nil {
		t.Error(err)
	}
	const want = `
# HELP polset_materializations_total Versions made of policies managed one by one, by outcome; class is the error class of failed ones.
# TYPE polset_materializations_total counter
polset_materializations_total{class="",outcome="ignored"} 1
polset_materializations_total{class="",outcome="unchanged"} 2
polset_materializations_total{class="",outcome="versioned"} 4
polset_materializations_total{class="policy-invalid",outcome="failed"} 1
`
	if err := testutil.GatherAndCompare(w.metrics, strings.NewReader(want), "polset_materializations_total"); err != nil {
		t.Error(err)
	}
}

// unchanged is round for what must make no version; it returns the id of what
// is in force.
func (w *workshop) unchanged() string {
	w.t.Helper()
	before, _ := w.last()
	i, _ := w.round()
	if i.Status != polset.IngestionUnchanged || i.VersionID != before.VersionID {
		w.t.Fatalf("%+v, after %+v", i, before)
	}
	set, err := w.store.PolicySet(w.ctx, admin, w.set.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return set.MaterializedVersionID
}

func TestMaterializeSentinel(t *testing.T) {
	w := newWorkshop(t, polset.KindSentinel, nil)
	empty, full := w.policy("empty"), w.policy("full")
	w.upload(empty, "")
	w.upload(full, "main = rule { true }")
	v := w.ready()
	files := w.holds(v)
	if got := slices.Sorted(maps.Keys(files)); !slices.Equal(got, []string{"empty.sentinel", "full.sentinel", "sentinel.hcl"}) || files["empty.sentinel"] != "" || files["full.sentinel"] != "main = rule { true }" {
		t.Errorf("the archive holds %v", files)
	}
	words := "Sentinel's configuration knows no descriptions"
	w.update(full, polset.PolicyUpdate{Description: &words})
	w.unchanged()
	level := "hard-mandatory"
	w.update(full, polset.PolicyUpdate{EnforcementLevel: &level})
	if v := w.ready(); v.Artifact.Policies[1].EnforcementLevel != level {
		t.Errorf("policies %+v", v.Artifact.Policies)
	}

	// Without code a policy enforces nothing, so nothing takes its place.
	late := w.policy("late")
	i, e := w.round()
	if i.Status != polset.IngestionFailed || e.Error != polset.ClassPolicyInvalid || !strings.Contains(e.ErrorMessage, "late") || !strings.Contains(e.ErrorMessage, "Upload") {
		t.Errorf("%s %+v", i.Status, e)
	}
	w.upload(late, "main = rule { false }")
	w.ready()
}

func TestMaterializeHostilePolicies(t *testing.T) {
	for _, c := range []struct {
		name     string
		policies map[string]string
		limits   archive.Limits
		class    polset.Class
		says     string
	}{
		{"case 49 two names that some file systems take for one", map[string]string{"Rule": denying("rule"), "rule": denying("rule")}, archive.Limits{}, polset.ClassContentInvalid, "rule.rego"},
		{"bytes that are no text", map[string]string{"a": "\x00\xff"}, archive.Limits{}, polset.ClassPolicyInvalid, "a.rego"},
		{"more than an archive takes", map[string]string{"a": denying("a"), "b": denying("b")}, archive.Limits{Bytes: 60}, polset.ClassLimit, "POLSET_MAX_ARCHIVE_BYTES"},
		{"a file that is too large", map[string]string{"a": denying("a")}, archive.Limits{FileBytes: 10}, polset.ClassLimit, "POLSET_MAX_FILE_BYTES"},
		{"more files than an archive takes", map[string]string{"a": denying("a"), "b": denying("b")}, archive.Limits{Files: 2}, polset.ClassLimit, "POLSET_MAX_ARCHIVE_FILES"},
		{"a query that finds nothing", map[string]string{"a": denying("b")}, archive.Limits{}, polset.ClassPolicyInvalid, "data.a.deny"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorkshop(t, polset.KindOPA, func(config *ingest.Config) { config.Limits = c.limits })
			for name, code := range c.policies {
				w.upload(w.policy(name), code)
			}
			i, v := w.round()
			said := v.ErrorMessage
			for _, d := range v.Diagnostics {
				said += d.File + d.Message
			}
			if i.Status != polset.IngestionFailed || v.Error != c.class || !strings.Contains(said, c.says) {
				t.Errorf("%s %s: %s", i.Status, v.Error, said)
			}
		})
	}
}

// A storage that is away shows nothing, and is asked again until it is back.
func TestMaterializeStorageFaults(t *testing.T) {
	w := newWorkshop(t, polset.KindOPA, nil)
	a := w.policy("a")
	w.upload(a, denying("a"))
	fault := errors.New("connection refused")
	for range 10 { // more than a commit is tried
		for _, broken := range []*atomic.Pointer[error]{&w.bucket.put, &w.bucket.open} {
			broken.Store(&fault)
			w.due()
			broken.Store(nil)
		}
	}
	if list, _, err := w.store.Ingestions(w.ctx, admin, w.set.ID, polset.VersionFilter{}, polset.Page{Number: 1, Size: 1}); err != nil || len(list) != 0 {
		t.Fatalf("an outage shows: %+v, %v", list, err)
	}
	w.due()
	if _, v := w.last(); v.Status != polset.VersionReady {
		t.Errorf("after the outage: %+v", v)
	}

	// Code that is lost is for its owner to bring again.
	w.upload(a, denying("a")+"# lost\n")
	sum := sha256.Sum256([]byte(denying("a") + "# lost\n"))
	w.lose(hex.EncodeToString(sum[:]))
	w.due()
	if _, v := w.last(); v.Status != polset.VersionErrored || v.Error != polset.ClassStorage || !strings.Contains(v.ErrorMessage, "policy a") {
		t.Errorf("after the loss: %+v", v)
	}
	w.upload(a, denying("a")+"# lost\n")
	w.due()
	if _, v := w.last(); v.Status != polset.VersionReady {
		t.Errorf("after the second upload: %+v", v)
	}
}

type brokenInspector struct{}

func (brokenInspector) Inspect(context.Context, fs.FS, string, polset.Kind) ([]polset.PolicySummary, error) {
	return nil, errors.New("a bug")
}

// A fault of polset's own ends a materialization, whatever the limit, and with
// it the wait of the runs for its version.
func TestMaterializeFaultsEnd(t *testing.T) {
	w := newWorkshop(t, polset.KindOPA, func(c *ingest.Config) {
		c.MaxAttempts = 100
		c.Inspector = brokenInspector{}
	})
	w.upload(w.policy("a"), denying("a"))
	for range 20 {
		w.due()
	}
	if i, v := w.last(); i.Status != polset.IngestionFailed || v.Error != polset.ClassInternal {
		t.Errorf("%s %+v", i.Status, v)
	}
}

// due does a round as soon as something is due: the wait after a fault is a
// few microseconds here.
func (w *workshop) due() {
	w.t.Helper()
	for range 10_000 {
		n, err := w.maker.Round(w.ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		if n == 1 {
			return
		}
	}
	w.t.Fatal("nothing is due")
}

// lose removes an object behind the bucket's back.
func (w *workshop) lose(digest string) {
	w.t.Helper()
	lost := false
	err := filepath.WalkDir(w.objects, func(path string, _ os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, digest) {
			lost = true
			return os.Remove(path)
		}
		return err
	})
	if err != nil || !lost {
		w.t.Fatalf("lose %s: %t, %v", digest, lost, err)
	}
}

// A node that dies between the bytes and the rows leaves nothing that the next
// one does not finish.
func TestMaterializeCrash(t *testing.T) {
	w := newWorkshop(t, polset.KindOPA, func(c *ingest.Config) { c.Lease = 300 * time.Millisecond })
	w.upload(w.policy("a"), denying("a"))
	crash, dead := context.WithCancel(w.ctx)
	w.bucket.onPut = dead
	rows := &dying{Store: w.store}
	m, err := ingest.NewMaterializer(ingest.MaterializerConfig{Materializations: rows, Code: w.bucket, Worker: w.worker})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Round(crash); err == nil || rows.settled != 1 {
		t.Fatalf("it did not die: %v, %d", err, rows.settled)
	}
	w.bucket.onPut = nil
	w.due() // as soon as the lease is over
	if _, v := w.last(); v.Status != polset.VersionReady || !bytes.Contains([]byte(w.holds(v)["a.rego"]), []byte("deny")) {
		t.Errorf("version %+v", v)
	}
	if _, err := w.store.VerifyAudit(w.ctx, nil); err != nil {
		t.Error(err)
	}
}

// The loop wakes at once, however rarely it looks by itself.
func TestMaterializerWakes(t *testing.T) {
	w := newWorkshop(t, polset.KindOPA, nil)
	rows := &telling{Store: w.store, settled: make(chan struct{}, 100)}
	m, err := ingest.NewMaterializer(ingest.MaterializerConfig{
		Materializations: rows, Code: w.bucket, Worker: w.worker, Wake: w.store.MaterializationDue(), Poll: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(w.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.Run(ctx)
	}()
	a := w.policy("a")
	w.upload(a, denying("a"))
	for n := range 20 {
		w.upload(a, fmt.Sprintf("%s# %d\n", denying("a"), n))
	}
	late := time.After(10 * time.Second)
	for last := ""; !strings.HasSuffix(last, "# 19\n"); {
		select {
		case <-rows.settled:
		case <-late:
			t.Fatalf("the last upload is in no version; the newest holds %q", last)
		}
		if _, v := w.last(); v.Status == polset.VersionReady {
			last = w.holds(v)["a.rego"]
		}
	}
	stop()
	<-ended
}

// telling is a store that says when something was settled.
type telling struct {
	*store.Store
	settled chan struct{}
}

func (s *telling) SettleMaterialization(ctx context.Context, m polset.Materialization, o polset.MaterializationOutcome) error {
	err := s.Store.SettleMaterialization(ctx, m, o)
	s.settled <- struct{}{}
	return err
}

// dying is a store that a node does not reach any more once it works.
type dying struct {
	*store.Store
	settled int
}

func (d *dying) SettleMaterialization(context.Context, polset.Materialization, polset.MaterializationOutcome) error {
	d.settled++
	return errors.New("the node is dead")
}
