package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/polset/polset"
	"github.com/polset/polset/internal/polsettest"
)

// A bench is a database with one organization, and the hands to work on it.
type bench struct {
	testing.TB
	*Store
	config Config
	org    polset.Organization
	conn   polset.Connection
}

var admin = polset.Principal{Actor: "cli"}

const host = "https://github.com"

// databases gives a fresh database of each kind.
func databases() map[string]func(t testing.TB) string {
	return map[string]func(t testing.TB) string{
		"sqlite":   func(t testing.TB) string { return filepath.Join(t.TempDir(), "polset.db") },
		"postgres": polsettest.Postgres,
	}
}

// onBoth runs one test on both databases.
func onBoth(t *testing.T, f func(b *bench)) {
	t.Helper()
	for name, url := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "sqlite" {
				url = tablesOnly
			}
			f(newBench(t, url(t)))
		})
	}
}

// tablesOnly gives a SQLite file that holds the tables and no rows.
var tablesOnly = polsettest.SQLite(func(path string) error {
	key, err := ParseKey(NewKey())
	if err != nil {
		return err
	}
	s, err := Open(context.Background(), Config{URL: path, Key: key})
	if err != nil {
		return err
	}
	// Each test has a key of its own.
	_, err = s.dialect.writer().ExecContext(context.Background(), "DELETE FROM settings")
	return errors.Join(err, s.Close())
})

func newBench(t testing.TB, url string) *bench {
	t.Helper()
	key, err := ParseKey(NewKey())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{TB: t, config: Config{URL: url, Key: key, MaxConns: 4}}
	b.Store = b.node()
	b.org = b.organization("acme")
	b.conn = b.connection("acme")
	return b
}

// node opens the database once more, as another node does.
func (b *bench) node() *Store {
	b.Helper()
	s, err := Open(b.Context(), b.config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Errorf("close: %v", err)
		}
	})
	return s
}

// sub runs a part of the test under a name of its own.
func (b *bench) sub(name string, f func(b *bench)) {
	b.Helper()
	t, ok := b.TB.(*testing.T)
	if !ok {
		b.Fatal("only a test has parts")
	}
	t.Run(name, func(t *testing.T) {
		part := *b
		part.TB = t
		f(&part)
	})
}

func (b *bench) ctx() context.Context { return b.Context() }

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) want(err, target error) {
	b.Helper()
	if !errors.Is(err, target) {
		b.Fatalf("got %v, want %v", err, target)
	}
}

// exec changes rows behind the store's back.
func (b *bench) exec(query string, args ...any) {
	b.Helper()
	if _, err := b.dialect.writer().ExecContext(b.ctx(), query, args...); err != nil {
		b.Fatalf("%s: %v", query, err)
	}
}

func (b *bench) count(query string, args ...any) int {
	b.Helper()
	var n int
	if err := b.dialect.reader().QueryRowContext(b.ctx(), query, args...).Scan(&n); err != nil {
		b.Fatalf("%s: %v", query, err)
	}
	return n
}

func (b *bench) organization(name string) polset.Organization {
	b.Helper()
	o, err := b.CreateOrganization(b.ctx(), admin, polset.Organization{Name: name, Email: name + "@example.com"})
	b.must(err)
	return o
}

func (b *bench) connection(organization string) polset.Connection {
	b.Helper()
	c, err := b.CreateConnection(b.ctx(), admin, polset.ConnectionDraft{
		Organization: organization, Name: "GitHub", ServiceProvider: "github", HTTPURL: host,
		APIURL: "https://api.github.com", Token: polset.NewSecret("ghp_secret_of_" + organization),
	})
	b.must(err)
	return c
}

// follower makes a policy set that follows a branch of acme/policies.
func (b *bench) follower(name, branch string, head polset.Head) polset.PolicySet {
	b.Helper()
	p, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{
		Organization: b.org.Name, Name: name, Kind: polset.KindOPA, PoliciesPath: "policies/",
		VCS: &polset.VCSDraft{Identifier: "acme/policies", Branch: branch, TokenID: b.conn.TokenID, Head: head},
	})
	b.must(err)
	return p
}

// settled makes a follower whose first ingestion has ended at commit.
func (b *bench) settled(name, branch, commit string) polset.PolicySet {
	b.Helper()
	p := b.follower(name, branch, polset.Head{Branch: branch, Commit: commit})
	b.carry(p.VCS.RepositoryID, commit, commit)
	return b.set(p.ID)
}

func (b *bench) set(id string) polset.PolicySet {
	b.Helper()
	p, err := b.PolicySet(b.ctx(), admin, id)
	b.must(err)
	return p
}

func delivery(hook string) polset.Delivery {
	return polset.Delivery{
		HookID: hook, GUID: uuid.NewString(), Event: "push", BodySHA256: strings.Repeat("b", 64),
		Sender: "mona", HTTPURLs: []string{"https://GitHub.com/"},
	}
}

func pushOf(branch, commit string) polset.Push {
	return polset.Push{
		RepositoryID: 42, Identifier: "Acme/Policies", DefaultBranch: "main", Branch: branch, After: commit, Pusher: "mona",
	}
}

func (b *bench) push(branch, commit string) polset.Receipt {
	b.Helper()
	r, err := b.RecordPush(b.ctx(), delivery(polset.HookGitHubApp), pushOf(branch, commit))
	b.must(err)
	return r
}

// claim takes what is due of a commit for a minute.
func (b *bench) claim(repository, commit string) polset.Batch {
	b.Helper()
	batch, err := b.Claim(b.ctx(), repository, commit, time.Minute)
	b.must(err)
	return batch
}

// carry works on a commit as a worker does: head is where the branch stands,
// and every commit has content of its own.
func (b *bench) carry(repository, commit, head string) polset.Batch {
	b.Helper()
	batch := b.claim(repository, commit)
	for _, c := range batch.Claims {
		b.observe(batch, c.Ingestion.Branch, head)
		b.finish(c, commit)
	}
	return batch
}

func (b *bench) observe(batch polset.Batch, branch, head string) {
	b.Helper()
	name := branch
	if name == "" {
		name = "main"
	}
	b.must(b.Observe(b.ctx(), polset.Observation{
		RepositoryID: batch.Repository.ID, Branch: branch, Head: polset.Head{Branch: name, Commit: head}, Look: batch.Look,
	}))
}

func (b *bench) finish(c polset.Claim, tree string) {
	b.Helper()
	_, err := b.Start(b.ctx(), c.Lease, contentOf(tree))
	b.must(err)
	b.must(b.Finish(b.ctx(), c.Lease, artifactOf(tree)))
}

func contentOf(tree string) polset.Content {
	return polset.Content{Tree: tree, Path: "policies", Kind: polset.KindOPA}
}

func artifactOf(tree string) polset.Artifact {
	return polset.Artifact{
		Content: contentOf(tree), Digest: fmt.Sprintf("%064x", []byte(tree)), TarDigest: fmt.Sprintf("%064x", "tar"+tree),
		Size: 10, TarSize: 20, Files: 3,
		Policies: []polset.PolicySummary{{Name: "p", Query: "data.p.deny", EnforcementLevel: "mandatory"}},
	}
}

// current is the commit in force.
func (b *bench) current(setID string) string {
	b.Helper()
	p := b.set(setID)
	if p.CurrentVersionID == "" {
		return ""
	}
	v, err := b.Version(b.ctx(), admin, p.CurrentVersionID)
	b.must(err)
	return v.Commit
}

// history tells the ingestions of a set, the oldest first: "cause commit status".
func (b *bench) history(setID string) []string {
	b.Helper()
	list, _, err := b.Ingestions(b.ctx(), admin, setID, polset.VersionFilter{}, polset.Page{Number: 1, Size: 100})
	b.must(err)
	out := make([]string, len(list))
	for n, i := range list {
		out[len(list)-1-n] = fmt.Sprintf("%s %s %s", i.Cause, i.Commit, i.Status)
	}
	return out
}

// jobs is what the queue holds, undone.
func (b *bench) jobs() int {
	b.Helper()
	n, err := b.Queue().Depth(b.ctx())
	b.must(err)
	return n
}

// expire lets every lease run out.
func (b *bench) expire() {
	b.Helper()
	past := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	b.exec(`UPDATE ingestions SET due_at = $1, enqueue_at = $1 WHERE ended_at IS NULL`, past)
}

func (b *bench) verify() {
	b.Helper()
	if _, err := b.VerifyAudit(b.ctx(), nil); err != nil {
		b.Fatalf("verify audit: %v", err)
	}
}

// eventually waits until a condition holds.
func eventually(b *bench, holds func(context.Context) bool) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds(ctx) {
		select {
		case <-ctx.Done():
			b.Fatal("the condition never held")
		case <-tick.C:
		}
	}
}
