package api_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/api"
)

// fakeChecks has one run and its checks, in whatever states a test wants to see.
// How they come into them is tested on the real store.
type fakeChecks struct {
	api.RunWriter
	organizationID string
	run            polset.Run
	checks         []polset.Check
	outcomes       map[string][]polset.PolicySetOutcome // by check

	filters []polset.OutcomeFilter // that PolicySetOutcomes was given last
	batches int                    // ChecksOfRuns calls
	comment string                 // that OverrideChecks was given last
	lost    bool                   // OverrideChecks answers that it lost a race
}

const fakeRun = "run-0000000000000007"

func newFakeChecks() *fakeChecks {
	return &fakeChecks{
		run:      polset.Run{ID: fakeRun, WorkspaceID: "ws-0000000000000007", Status: polset.RunPending, CreatedAt: epoch, UpdatedAt: epoch, CreatedBy: "at-acme"},
		outcomes: map[string][]polset.PolicySetOutcome{},
	}
}

// attach gives a server the run.
func (f *fakeChecks) attach(c *api.Config) { c.Runs, c.Checks = f, f }

// add adds a check that has come to a status, one second after another.
func (f *fakeChecks) add(id string, kind polset.Kind, reached ...polset.CheckStatus) *polset.Check {
	c := polset.Check{
		ID: id, OrganizationID: f.organizationID, Organization: "acme", WorkspaceID: f.run.WorkspaceID, RunID: f.run.ID,
		Kind: kind, Evaluation: id[:4] == "pole", Status: polset.CheckPending, ReachedAt: map[polset.CheckStatus]time.Time{}, CreatedAt: epoch, UpdatedAt: epoch,
	}
	for n, status := range reached {
		c.Status, c.UpdatedAt = status, epoch.Add(time.Duration(n+1)*time.Second)
		c.ReachedAt[status] = c.UpdatedAt
	}
	if c.Status.Ended() && c.Status != polset.CheckCanceled {
		c.Duration = 1234 * time.Microsecond
	}
	if c.Status == polset.CheckOverridden {
		c.Override = &polset.Override{By: "at-acme", Comment: "the pager said so", At: c.UpdatedAt}
	}
	f.checks = append(f.checks, c)
	return &f.checks[len(f.checks)-1]
}

// says gives a check what a policy set says.
func (f *fakeChecks) says(c *polset.Check, o polset.PolicySetOutcome) {
	o.ID, o.CheckID, o.Kind, o.CreatedAt = fmt.Sprintf("psout-%016d", len(f.outcomes[c.ID])+1), c.ID, c.Kind, epoch
	o.PolicySetID, o.VersionID = "polset-0000000000000001", "polsetver-0000000000000001"
	o.Counts = o.Count()
	c.Counts.Add(o.Counts)
	f.outcomes[c.ID] = append(f.outcomes[c.ID], o)
}

func (f *fakeChecks) Run(_ context.Context, by polset.Principal, id string) (polset.Run, error) {
	if id != f.run.ID || !visible(by, f.organizationID) {
		return polset.Run{}, polset.ErrNotFound
	}
	return f.run, nil
}

func (f *fakeChecks) Runs(_ context.Context, by polset.Principal, workspaceID string, _ polset.RunFilter, page polset.Page) ([]polset.Run, int, error) {
	if workspaceID != f.run.WorkspaceID || !visible(by, f.organizationID) {
		return nil, 0, polset.ErrNotFound
	}
	return slicePage([]polset.Run{f.run}, page), 1, nil
}

func (f *fakeChecks) Check(_ context.Context, by polset.Principal, id string) (polset.Check, error) {
	for _, c := range f.checks {
		if c.ID == id && visible(by, f.organizationID) {
			return c, nil
		}
	}
	return polset.Check{}, polset.ErrNotFound
}

func (f *fakeChecks) ChecksOfRuns(_ context.Context, by polset.Principal, runIDs []string) ([]polset.Check, error) {
	f.batches++
	if !slices.Contains(runIDs, f.run.ID) || !visible(by, f.organizationID) {
		return nil, nil
	}
	return slices.Clone(f.checks), nil
}

// PolicySetOutcomes does not filter; it only remembers that it was asked to.
func (f *fakeChecks) PolicySetOutcomes(_ context.Context, _ polset.Principal, checkID string, filters []polset.OutcomeFilter, page polset.Page) ([]polset.PolicySetOutcome, int, error) {
	f.filters = filters
	return slicePage(f.outcomes[checkID], page), len(f.outcomes[checkID]), nil
}

func (f *fakeChecks) PolicySetOutcome(_ context.Context, _ polset.Principal, id string) (polset.PolicySetOutcome, error) {
	for _, outcomes := range f.outcomes {
		for _, o := range outcomes {
			if o.ID == id {
				return o, nil
			}
		}
	}
	return polset.PolicySetOutcome{}, polset.ErrNotFound
}

func (f *fakeChecks) OverrideChecks(_ context.Context, by polset.Principal, ids []string, comment string) ([]polset.Check, error) {
	var overridden []polset.Check
	for i := range f.checks {
		c := &f.checks[i]
		if !slices.Contains(ids, c.ID) {
			continue
		}
		if f.lost || !c.CanOverride() {
			return nil, polset.ErrConflict
		}
		c.Status, c.UpdatedAt = polset.CheckOverridden, epoch.Add(time.Minute)
		c.ReachedAt[polset.CheckOverridden] = c.UpdatedAt
		c.Override = &polset.Override{By: by.Actor, Comment: comment, At: c.UpdatedAt}
		overridden = append(overridden, *c)
	}
	f.comment = comment
	return overridden, nil
}
