package check_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
	"github.com/polset/polset/check"
	"github.com/polset/polset/policy"
	"github.com/polset/polset/store"
)

var admin = polset.Principal{Actor: "bootstrap"}

// An estate is an organization in a real store, whose policy sets are made of
// policies that are managed one by one.
type estate struct {
	*store.Store
	t        *testing.T
	ctx      context.Context
	archives archives
}

func newEstate(t *testing.T) *estate {
	t.Helper()
	key, err := store.ParseKey(store.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Config{URL: filepath.Join(t.TempDir(), "polset.db"), Key: key, Logger: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	e := &estate{Store: s, t: t, ctx: t.Context(), archives: archives{}}
	_, err = s.CreateOrganization(e.ctx, admin, polset.Organization{Name: "acme", Email: "ops@acme.example"})
	e.must(err)
	return e
}

func (e *estate) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

// code gives a policy its code, and its policy sets versions that hold it.
func (e *estate) code(p polset.Policy, code string) {
	e.t.Helper()
	sum := sha256.Sum256([]byte(code))
	_, err := e.UploadPolicy(e.ctx, admin, p.ID, hex.EncodeToString(sum[:]), int64(len(code)))
	e.must(err)
	due, err := e.ClaimMaterializations(e.ctx, 10, time.Minute)
	e.must(err)
	for _, m := range due {
		name, config, err := policy.Compose(m.Kind, m.Policies)
		e.must(err)
		files := fstest.MapFS{name: {Data: config}, p.File(): {Data: []byte(code)}}
		set, err := policy.Read(files, "", m.Kind)
		e.must(err)
		policies, err := set.Inspect(e.ctx, files)
		e.must(err)
		var packed bytes.Buffer
		written, err := archive.Write(e.ctx, &packed, files, archive.Limits{})
		e.must(err)
		e.archives[written.Digest] = files
		e.must(e.SettleMaterialization(e.ctx, m, polset.MaterializationOutcome{Artifact: &polset.Artifact{
			Content: polset.Content{Kind: m.Kind, Tree: written.TarDigest}, Digest: written.Digest, TarDigest: written.TarDigest,
			Size: written.Size, TarSize: written.TarSize, Files: written.Files, Policies: policies,
		}}))
	}
}

// run makes a run of a workspace with an upload of its own.
func (e *estate) run(workspace polset.Workspace) polset.Run {
	e.t.Helper()
	c, err := e.CreateConfigurationVersion(e.ctx, admin, polset.ConfigurationDraft{WorkspaceID: workspace.ID})
	e.must(err)
	_, err = e.UploadConfigurationVersion(e.ctx, admin, c.ID, strings.Repeat("a", 64), 1)
	e.must(err)
	r, err := e.CreateRun(e.ctx, admin, polset.RunDraft{WorkspaceID: workspace.ID})
	e.must(err)
	return r
}

// A witness sees what is settled, and asks for another attempt first.
type witness struct {
	*store.Store
	seen []string
}

func (w *witness) SettleCheck(ctx context.Context, task polset.CheckTask, result polset.CheckResult) error {
	text, err := json.Marshal(result.Outcomes)
	if err != nil {
		return err
	}
	if w.seen = append(w.seen, string(text)); len(w.seen) == 1 {
		result = polset.CheckResult{Again: true}
	}
	return w.Store.SettleCheck(ctx, task, result)
}

// What a run is judged by is what applied when it was created: the same verdict
// is reached again when all of that has changed, byte for byte.
func TestReproduction(t *testing.T) {
	e := newEstate(t)
	workspace, err := e.CreateWorkspace(e.ctx, admin, polset.WorkspaceDraft{
		Organization: "acme", Name: "net", TagBindings: []polset.TagBinding{{Key: "env", Value: "prod"}},
	})
	e.must(err)
	set, err := e.CreatePolicySet(e.ctx, admin, polset.PolicySetDraft{Organization: "acme", Name: "guard", Kind: polset.KindOPA, Global: true})
	e.must(err)
	open, err := e.CreateParameter(e.ctx, admin, set.ID, polset.ParameterDraft{Key: "region", Value: polset.NewSecret("eu")})
	e.must(err)
	secret, err := e.CreateParameter(e.ctx, admin, set.ID, polset.ParameterDraft{Key: "token", Value: polset.NewSecret("hunter2-hunter2"), Sensitive: true})
	e.must(err)
	p, err := e.CreatePolicy(e.ctx, admin, polset.PolicyDraft{
		Organization: "acme", Name: "all", Kind: polset.KindOPA, Query: "data.all.deny", EnforcementLevel: "advisory", PolicySetIDs: []string{set.ID},
	})
	e.must(err)
	e.code(p, `package all

deny contains sprintf("%v %v %v", [time.now_ns(), rand.intn("x", 1000000), uuid.rfc4122("x")])

deny contains sprintf("%s in %s with %v", [input.run.workspace.name, input.parameters.region, input.parameters]) if {
	print("tags", input.run.workspace.tag_bindings, input.parameters.token)
}

deny contains "planned" if input.plan.resource_changes
`)
	run := e.run(workspace)

	w := &witness{Store: e.Store}
	checker, err := check.New(check.Config{
		Checks: w, Archives: e.archives, Logger: zaptest.NewLogger(t),
		Plans:      planFunc(func(context.Context, string) ([]byte, error) { return []byte(`{"resource_changes":[]}`), nil }),
		Evaluators: map[polset.Kind]check.Evaluator{polset.KindOPA: new(policy.Programs)},
	})
	e.must(err)
	round := func() {
		t.Helper()
		if n, err := checker.Round(e.ctx); n != 1 || err != nil {
			t.Fatalf("%d checks, %v", n, err)
		}
	}
	round()

	e.code(p, "package all\n\ndeny := []\n")
	other, name := polset.NewSecret("us"), "renamed"
	_, err = e.UpdateParameter(e.ctx, admin, set.ID, open.ID, polset.ParameterChange{Value: &other})
	e.must(err)
	e.must(e.DeleteParameter(e.ctx, admin, set.ID, secret.ID))
	_, err = e.UpdateWorkspace(e.ctx, admin, workspace.ID, polset.WorkspaceChange{Name: &name})
	e.must(err)
	_, err = e.BindWorkspaceTags(e.ctx, admin, workspace.ID, []polset.TagBinding{{Key: "env", Value: "test"}})
	e.must(err)
	e.must(e.DeletePolicySet(e.ctx, admin, set.ID))
	round()

	if len(w.seen) != 2 || w.seen[0] != w.seen[1] {
		t.Errorf("first:\n%s\nlater:\n%s", w.seen[0], w.seen[len(w.seen)-1])
	}
	for _, part := range []string{"net in eu with", "planned", fmt.Sprint(run.CreatedAt.UnixNano()), `"env"`, "(sensitive)"} {
		if !strings.Contains(strings.ReplaceAll(w.seen[0], `\"`, `"`), part) {
			t.Errorf("the outcomes do not hold %q:\n%s", part, w.seen[0])
		}
	}
	if strings.Contains(w.seen[0], "hunter2") {
		t.Errorf("the outcomes hold a sensitive parameter:\n%s", w.seen[0])
	}
	if r, err := e.Run(e.ctx, admin, run.ID); err != nil || r.Status != polset.RunPostPlanCompleted {
		t.Errorf("the run is %s, %v", r.Status, err)
	}
	checks, err := e.ChecksOfRuns(e.ctx, admin, []string{run.ID})
	if err != nil || len(checks) != 1 || checks[0].Status != polset.CheckPassed || checks[0].Counts.AdvisoryFailed != 1 {
		t.Errorf("checks %+v, %v", checks, err)
	}
}
