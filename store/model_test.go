package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/polset/polset"
)

// TestModel drives random pushes, replays, looks at the branch, workers that
// finish, fail, sleep and die, and reports on their way to GitHub, and checks the pipeline's invariants after each.
func TestModel(t *testing.T) {
	onBoth(t, func(b *bench) {
		n := int64(1000)
		rapid.Check(b.TB.(*testing.T), func(rt *rapid.T) { //nolint:forcetypeassert // onBoth gives a test
			n++
			m := newModel(b, n)
			if rapid.Bool().Draw(rt, "begun") { // so that there is something to compare with
				b.carry(m.repo, "c0", "c0")
			}
			rt.Repeat(map[string]func(*rapid.T){
				"push":      m.push,
				"replay":    m.replay,
				"claim":     m.claim,
				"observe":   m.look,
				"start":     m.start,
				"finish":    m.finish,
				"fail":      m.fail,
				"unchanged": m.unchanged,
				"ignore":    m.ignore,
				"release":   m.release,
				"expire":    func(*rapid.T) { m.b.expire() },
				"lose jobs": func(*rapid.T) { m.b.exec("DELETE FROM river_job") },
				"sweep":     func(*rapid.T) { m.b.must(second(m.b.Sweep(m.b.ctx()))) },
				"path":      m.path,
				"report":    m.report,
				"answer":    m.answer,
				"silence":   m.silence,
				"":          m.check,
			})
			m.drain(rt)
		})
	})
}

type model struct {
	b       *bench
	number  int64
	name    string // owner/name
	repo    string
	sets    []string
	head    string // where the branch really is
	pushes  []polset.Delivery
	after   map[string]string // by GUID
	claims  []taken
	commits int

	sending []polset.Report   // on their way to GitHub
	shown   map[string]string // what GitHub shows, by policy set and commit: the report and its status

	versions   map[string]polset.Version // as last seen
	ingestions map[string]polset.Ingestion
	currents   map[string]string
}

// taken is a claim that some worker believes to hold.
type taken struct {
	claim polset.Claim
	batch polset.Batch
}

func newModel(b *bench, n int64) *model {
	m := &model{
		b: b, number: n, name: fmt.Sprintf("acme/model%d", n), head: "c0", after: map[string]string{}, shown: map[string]string{},
		versions: map[string]polset.Version{}, ingestions: map[string]polset.Ingestion{}, currents: map[string]string{},
	}
	for _, branch := range []string{"main", ""} {
		var patterns []string
		if branch == "" {
			patterns = []string{"**"}
		}
		p, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{
			Organization: b.org.Name, Name: fmt.Sprintf("m%d%s", n, branch), Kind: polset.KindOPA, UpdatePatterns: patterns,
			VCS: &polset.VCSDraft{Identifier: m.name, Branch: branch, TokenID: b.conn.TokenID, Head: polset.Head{Branch: "main", Commit: "c0"}},
		})
		b.must(err)
		m.sets, m.repo = append(m.sets, p.ID), p.VCS.RepositoryID
	}
	return m
}

func (m *model) record(rt *rapid.T, d polset.Delivery, commit string) polset.Receipt {
	r, err := m.b.RecordPush(m.b.ctx(), d, polset.Push{
		RepositoryID: m.number, Identifier: m.name, DefaultBranch: "main", Branch: "main", After: commit,
	})
	m.b.must(err)
	if len(r.Ingestions) > len(m.sets) || r.Ignored != "" || r.Duplicate == (len(r.Ingestions) > 0) {
		rt.Fatalf("receipt %+v", r)
	}
	return r
}

func (m *model) push(rt *rapid.T) {
	back := rapid.IntRange(0, 3).Draw(rt, "back")
	commit := fmt.Sprintf("c%d", m.commits-back)
	if back == 0 || m.commits < back {
		m.commits++
		commit = fmt.Sprintf("c%d", m.commits)
	}
	changed := commit != m.head
	m.head = commit
	d := delivery(polset.HookGitHubApp)
	if rapid.IntRange(0, 4).Draw(rt, "lost") == 0 {
		return // GitHub never told
	}
	r := m.record(rt, d, commit)
	if changed && len(r.Ingestions) == 0 && len(m.pushes) > 0 && m.after[m.pushes[len(m.pushes)-1].GUID] != commit {
		rt.Fatalf("a push of %s was swallowed", commit)
	}
	m.pushes = append(m.pushes, d)
	m.after[d.GUID] = commit
}

func (m *model) replay(rt *rapid.T) {
	if len(m.pushes) == 0 {
		return
	}
	d := rapid.SampledFrom(m.pushes).Draw(rt, "delivery")
	if r := m.record(rt, d, m.after[d.GUID]); !r.Duplicate {
		rt.Fatalf("a redelivery was accepted: %+v", r)
	}
	if rapid.Bool().Draw(rt, "fresh") {
		fresh := delivery(polset.HookGitHubApp)
		m.after[fresh.GUID] = m.after[d.GUID]
		m.record(rt, fresh, m.after[d.GUID])
		m.pushes = append(m.pushes, fresh)
	}
}

func (m *model) claim(rt *rapid.T) {
	var commits []string
	for _, i := range m.all(m.sets) {
		if !i.Status.Terminal() {
			commits = append(commits, i.Commit)
		}
	}
	if len(commits) == 0 {
		return
	}
	batch := m.b.claim(m.repo, rapid.SampledFrom(commits).Draw(rt, "commit"))
	for _, c := range batch.Claims {
		m.claims = append(m.claims, taken{claim: c, batch: batch})
	}
}

func (m *model) look(rt *rapid.T) {
	if h := m.pick(rt); h != nil {
		branch := h.claim.Ingestion.Branch
		m.b.observe(h.batch, branch, m.head)
	}
}

// pick is any claim that was ever taken, stale ones included.
func (m *model) pick(rt *rapid.T) *taken {
	if len(m.claims) == 0 {
		return nil
	}
	return &m.claims[rapid.IntRange(0, len(m.claims)-1).Draw(rt, "claim")]
}

// holds tells from the rows whether a claim is the present one.
func (m *model) holds(h *taken) bool {
	i := m.row(h.claim.Ingestion.ID)
	return i.Status == polset.IngestionRunning && i.Attempts == h.claim.Ingestion.Attempts
}

func (m *model) row(id string) polset.Ingestion {
	r, err := m.b.reads.Ingestion(m.b.ctx(), id)
	m.b.must(err)
	return ingestion(r)
}

// move makes a move and demands that a stale claim cannot make it, unless it
// repeats the very move by which its holder ended the ingestion.
func (m *model) move(rt *rapid.T, h *taken, end polset.IngestionStatus, f func() error) {
	holds, before := m.holds(h), m.row(h.claim.Ingestion.ID)
	err := f()
	if holds {
		if err != nil && !errors.Is(err, polset.ErrConflict) {
			rt.Fatalf("the holder was refused: %v", err)
		}
		return
	}
	repeated := err == nil && before.Status == end && before.Attempts == h.claim.Ingestion.Attempts
	if !repeated && !errors.Is(err, polset.ErrFenced) {
		rt.Fatalf("a stale claim of %+v got %v", before, err)
	}
}

func (m *model) start(rt *rapid.T) {
	if h := m.pick(rt); h != nil {
		m.move(rt, h, "", func() error { return second(m.b.Start(m.b.ctx(), h.claim.Lease, contentOf(h.claim.Ingestion.Commit))) })
	}
}

func (m *model) finish(rt *rapid.T) {
	if h := m.pick(rt); h != nil {
		m.move(rt, h, polset.IngestionVersioned, func() error {
			return m.b.Finish(m.b.ctx(), h.claim.Lease, artifactOf(h.claim.Ingestion.Commit))
		})
	}
}

func (m *model) fail(rt *rapid.T) {
	if h := m.pick(rt); h != nil {
		m.move(rt, h, polset.IngestionFailed, func() error {
			return m.b.Store.Fail(m.b.ctx(), h.claim.Lease, polset.Fail(polset.ClassPolicyInvalid, "No."), polset.Content{})
		})
	}
}

func (m *model) unchanged(rt *rapid.T) {
	if h := m.pick(rt); h != nil && h.claim.Newest != nil {
		m.move(rt, h, polset.IngestionUnchanged, func() error {
			return m.b.Unchanged(m.b.ctx(), h.claim.Lease, h.claim.Newest.ID)
		})
	}
}

func (m *model) ignore(rt *rapid.T) {
	if h := m.pick(rt); h != nil && h.claim.Processed != "" {
		m.move(rt, h, polset.IngestionIgnored, func() error {
			return m.b.Ignore(m.b.ctx(), h.claim.Lease, h.claim.Processed, nothing)
		})
	}
}

func (m *model) release(rt *rapid.T) {
	if h := m.pick(rt); h != nil {
		m.move(rt, h, "", func() error { return m.b.Release(m.b.ctx(), h.claim.Lease, 0, "again") })
	}
}

func (m *model) path(rt *rapid.T) {
	path := rapid.SampledFrom([]string{"", "a", "b"}).Draw(rt, "path")
	_, err := m.b.UpdatePolicySet(m.b.ctx(), admin, rapid.SampledFrom(m.sets).Draw(rt, "set"), polset.PolicySetChange{
		PoliciesPath: &path, VCS: nil,
	})
	m.b.must(err)
}

func (m *model) all(sets []string) (list []polset.Ingestion) {
	for _, id := range sets {
		of, _, err := m.b.Ingestions(m.b.ctx(), admin, id, polset.VersionFilter{}, polset.Page{Number: 1, Size: 1000})
		m.b.must(err)
		slices.Reverse(of)
		list = append(list, of...)
	}
	return list
}

func (m *model) check(rt *rapid.T) {
	m.b.reportsEqual()
	for _, id := range m.sets {
		unfinished, present := map[int64]int{}, m.b.set(id).VCS.Generation
		for _, i := range m.all([]string{id}) {
			if before, known := m.ingestions[i.ID]; known && before.Status.Terminal() && !cmp.Equal(before, i) {
				rt.Fatalf("an ended ingestion changed: %+v to %+v", before, i)
			}
			m.ingestions[i.ID] = i
			if i.Status == polset.IngestionRunning && unfinished[i.Generation] > 0 {
				rt.Fatalf("%+v runs while an earlier one is unfinished", i)
			}
			if !i.Status.Terminal() {
				unfinished[i.Generation]++
				if i.Generation != present && i.VersionID == "" {
					rt.Fatalf("%+v goes on with settings that changed", i)
				}
			}
			m.checkOutcome(rt, i)
		}
		list, _, err := m.b.Versions(m.b.ctx(), admin, id, polset.VersionFilter{}, polset.Page{Number: 1, Size: 1000})
		m.b.must(err)
		for _, v := range list {
			m.checkVersion(rt, v)
		}
		m.checkCurrent(rt, id, list)
	}
}

func (m *model) checkOutcome(rt *rapid.T, i polset.Ingestion) {
	if i.Status == polset.IngestionIgnored && (i.Reason == nothing) != (m.versions[i.VersionID].Status == polset.VersionReady) {
		rt.Fatalf("%+v was ignored, with %+v", i, m.versions[i.VersionID])
	}
	want := map[polset.IngestionStatus]polset.VersionStatus{
		polset.IngestionVersioned: polset.VersionReady, polset.IngestionFailed: polset.VersionErrored,
	}[i.Status]
	if want == "" {
		return
	}
	v, err := m.b.Version(m.b.ctx(), admin, i.VersionID)
	if err != nil || v.Status != want || v.Commit != i.Commit {
		rt.Fatalf("%+v ended with %+v, %v", i, v, err)
	}
}

func (m *model) checkVersion(rt *rapid.T, v polset.Version) {
	before, known := m.versions[v.ID]
	m.versions[v.ID] = v
	if !known || before.Status == v.Status {
		if known && before.Status.Terminal() && (before.Artifact.Digest != v.Artifact.Digest || before.UpdatedAt != v.UpdatedAt) {
			rt.Fatalf("a terminal version changed: %+v to %+v", before, v)
		}
		return
	}
	// Fail walks two moves at once.
	two := before.Status.CanMove(polset.VersionIngressing) && polset.VersionIngressing.CanMove(v.Status)
	if !before.Status.CanMove(v.Status) && !two {
		rt.Fatalf("version moved from %s to %s", before.Status, v.Status)
	}
}

func (m *model) checkCurrent(rt *rapid.T, id string, list []polset.Version) {
	p := m.b.set(id)
	if len(list) > 0 && p.NewestVersionID != list[0].ID {
		rt.Fatalf("newest is %s, want %s", p.NewestVersionID, list[0].ID)
	}
	before := m.currents[id]
	m.currents[id] = p.CurrentVersionID
	if p.CurrentVersionID == before {
		return
	}
	v := m.versions[p.CurrentVersionID]
	if v.PolicySetID != id || v.Status != polset.VersionReady {
		rt.Fatalf("current became %+v", v)
	}
	var head string
	err := m.b.dialect.reader().QueryRowContext(m.b.ctx(),
		"SELECT head FROM branches WHERE repository_id = $1 AND name = 'main'", m.repo).Scan(&head)
	m.b.must(err)
	for _, i := range m.all([]string{id}) {
		if i.VersionID == v.ID && i.Commit == head && i.Generation == p.VCS.Generation {
			return
		}
	}
	rt.Fatalf("current became %s of commit %s while the branch was seen at %s", v.ID, v.Commit, head)
}

// drain lets healthy workers do what is left, from the rows alone.
func (m *model) drain(rt *rapid.T) {
	for range 200 {
		m.b.expire()
		m.b.must(second(m.b.Sweep(m.b.ctx())))
		open := 0
		for _, i := range m.all(m.sets) {
			if i.Status.Terminal() {
				continue
			}
			open++
			batch := m.b.claim(m.repo, i.Commit)
			for _, c := range batch.Claims {
				m.b.observe(batch, c.Ingestion.Branch, m.head)
				if c.Ingestion.Commit == "" {
					m.b.must(m.b.Resolve(m.b.ctx(), c.Lease, polset.Head{Branch: "main", Commit: m.head}))
					c.Ingestion.Commit = m.head
				}
				m.b.finish(c, c.Ingestion.Commit)
			}
		}
		m.check(rt)
		if open == 0 {
			break
		}
	}
	// One last look, as the reconciler takes.
	m.b.must(m.b.Observe(m.b.ctx(), polset.Observation{
		RepositoryID: m.repo, Head: polset.Head{Branch: "main", Commit: m.head}, Look: m.b.looks(m.repo),
	}))
	for _, i := range m.all(m.sets) {
		if !i.Status.Terminal() {
			for _, c := range m.b.claim(m.repo, i.Commit).Claims {
				m.b.finish(c, c.Ingestion.Commit)
			}
		}
	}
	m.check(rt)
	for _, id := range m.sets {
		list := m.all([]string{id})
		p := m.b.set(id)
		var last, ready polset.Ingestion
		for _, i := range list {
			if !i.Status.Terminal() {
				rt.Fatalf("%+v never ended", i)
			}
			if i.Commit == m.head && i.Generation == p.VCS.Generation {
				last = i
				if m.versions[i.VersionID].Status == polset.VersionReady {
					ready = i
				}
			}
		}
		if last.ID == "" {
			rt.Fatalf("the head %s has no outcome in %s", m.head, id)
		}
		if ready.ID != "" && p.CurrentVersionID != ready.VersionID {
			rt.Fatalf("the head's version %s is ready, and %s is current", ready.VersionID, p.CurrentVersionID)
		}
	}
	m.checkShown(rt)
	m.b.verify()
}
