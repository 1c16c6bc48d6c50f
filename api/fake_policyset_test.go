package api_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/polset/polset"
)

func (f *fakeStore) CreatePolicySet(ctx context.Context, by polset.Principal, d polset.PolicySetDraft) (polset.PolicySet, error) {
	org, err := f.Organization(ctx, by, d.Organization)
	if err != nil {
		return polset.PolicySet{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lastDraft = d
	for _, s := range f.sets {
		if s.Name == d.Name && s.OrganizationID == org.ID {
			return polset.PolicySet{}, polset.ErrConflict
		}
	}
	s := polset.PolicySet{
		ID: f.id("polset"), OrganizationID: org.ID, Organization: org.Name, Name: d.Name, Description: d.Description,
		Global: d.Global, Kind: d.Kind, PoliciesPath: d.PoliciesPath, CreatedAt: epoch, UpdatedAt: epoch,
	}
	agent := polset.AgentSettings{Enabled: d.AgentEnabled, ToolVersion: d.PolicyToolVersion, Overridable: d.Overridable}.For(d.Kind)
	s.AgentEnabled, s.PolicyToolVersion, s.Overridable = agent.Enabled, agent.ToolVersion, agent.Overridable
	if d.VCS != nil {
		s.VCS = f.vcs(*d.VCS)
		s.Completeness = &polset.Completeness{}
		f.begin(&s, d.VCS.Head)
	}
	f.sets = append(f.sets, s)
	return s, nil
}

func (f *fakeStore) vcs(d polset.VCSDraft) *polset.VCS {
	if d.InstallationID != "" {
		return &polset.VCS{
			RepositoryID: "repo-0000000000000000", Identifier: d.Identifier, Branch: d.Branch, Submodules: d.Submodules,
			InstallationID: d.InstallationID, HTTPURL: "https://github.com", HookID: "7d444840-9dc0-11d1-b245-5ffdce74fad2",
		}
	}
	httpURL := ""
	for _, c := range f.connections {
		if c.TokenID == d.TokenID {
			httpURL = c.HTTPURL
		}
	}
	return &polset.VCS{
		RepositoryID: "repo-0000000000000000", Identifier: d.Identifier, Branch: d.Branch, Submodules: d.Submodules, TokenID: d.TokenID,
		HTTPURL: httpURL, HookID: "7d444840-9dc0-11d1-b245-5ffdce74fad2", HookSecret: polset.NewSecret("hook-secret"),
		HookState: polset.HookPending,
	}
}

// begin gives the set a pending version, as the store does for what it follows.
func (f *fakeStore) begin(s *polset.PolicySet, head polset.Head) {
	v := polset.Version{
		ID: f.id("polsetver"), PolicySetID: s.ID, Source: "github", Status: polset.VersionPending, PendingAt: epoch,
		Commit: head.Commit, Identifier: s.VCS.Identifier, Branch: head.Branch, CreatedAt: epoch, UpdatedAt: epoch,
	}
	if v.Commit != "" {
		v.CommitURL = s.VCS.HTTPURL + "/" + s.VCS.Identifier + "/commit/" + v.Commit
	}
	f.versions = append(f.versions, v)
	f.ingestions = append(f.ingestions, polset.Ingestion{
		ID: f.id("ing"), PolicySetID: s.ID, Branch: head.Branch, Commit: head.Commit, Cause: polset.CauseCreate,
		Status: polset.IngestionPending, VersionID: v.ID, CreatedAt: epoch,
	})
	s.NewestVersionID = v.ID
}

// finish makes a set's newest version ready, and current.
func (f *fakeStore) finish(setID string, archive []byte) polset.Version {
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := sha256.Sum256(archive)
	digest := hex.EncodeToString(sum[:])
	f.objects[digest] = archive
	for i := range f.sets {
		s := &f.sets[i]
		if s.ID != setID {
			continue
		}
		for j := range f.versions {
			v := &f.versions[j]
			if v.ID != s.NewestVersionID {
				continue
			}
			v.Status, v.IngressingAt, v.ReadyAt = polset.VersionReady, epoch.Add(time.Second), epoch.Add(2*time.Second)
			v.Artifact = polset.Artifact{
				Content: polset.Content{Tree: strings.Repeat("ab", 20), Path: "policies", Kind: s.Kind},
				Digest:  digest, TarDigest: strings.Repeat("cd", 32), Size: int64(len(archive)), Files: 2,
				Policies: []polset.PolicySummary{{Name: "deny-public", Query: "data.terraform.deny", EnforcementLevel: "mandatory"}},
			}
			s.CurrentVersionID = v.ID
			return *v
		}
	}
	panic("no such version")
}

func (f *fakeStore) PolicySet(_ context.Context, by polset.Principal, id string) (polset.PolicySet, error) {
	if f.broken != nil {
		return polset.PolicySet{}, f.broken()
	}
	return find(f, by, f.sets, orgOfSet, func(s polset.PolicySet) bool { return s.ID == id })
}

func (f *fakeStore) PolicySets(ctx context.Context, by polset.Principal, org string, filter polset.PolicySetFilter, page polset.Page) ([]polset.PolicySet, int, error) {
	o, err := f.Organization(ctx, by, org)
	if err != nil {
		return nil, 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var seen []polset.PolicySet
	for _, s := range f.sets {
		if s.OrganizationID == o.ID && strings.Contains(s.Name, filter.Search) && (filter.Kind == "" || filter.Kind == s.Kind) {
			seen = append(seen, s)
		}
	}
	return slicePage(seen, page), len(seen), nil
}

func (f *fakeStore) UpdatePolicySet(_ context.Context, by polset.Principal, id string, c polset.PolicySetChange) (polset.PolicySet, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lastChange = c
	if f.changed {
		return polset.PolicySet{}, polset.ErrConflict
	}
	for i := range f.sets {
		s := &f.sets[i]
		if s.ID != id || !visible(by, s.OrganizationID) {
			continue
		}
		for _, other := range f.sets {
			if c.Name != nil && other.Name == *c.Name && other.ID != id && other.OrganizationID == s.OrganizationID {
				return polset.PolicySet{}, polset.ErrConflict
			}
		}
		set(&s.Name, c.Name)
		set(&s.Description, c.Description)
		set(&s.Global, c.Global)
		set(&s.PoliciesPath, c.PoliciesPath)
		if c.Overridable != nil && s.AgentEnabled {
			s.Overridable = c.Overridable
		}
		if c.VCS != nil {
			s.VCS = f.vcs(*c.VCS)
		}
		if c.RemoveVCS {
			s.VCS, s.Completeness = nil, nil
		}
		s.UpdatedAt = epoch.Add(time.Minute)
		return *s, nil
	}
	return polset.PolicySet{}, polset.ErrNotFound
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

func (f *fakeStore) DeletePolicySet(_ context.Context, by polset.Principal, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.sets)
	f.sets = slices.DeleteFunc(f.sets, func(s polset.PolicySet) bool { return s.ID == id && visible(by, s.OrganizationID) })
	if len(f.sets) == n {
		return polset.ErrNotFound
	}
	return nil
}

func (f *fakeStore) Ingest(ctx context.Context, by polset.Principal, setID, commit string) (polset.Ingestion, error) {
	s, err := f.PolicySet(ctx, by, setID)
	if err != nil {
		return polset.Ingestion{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.VCS == nil {
		return polset.Ingestion{}, polset.ErrConflict
	}
	ing := polset.Ingestion{
		ID: f.id("ing"), PolicySetID: s.ID, Branch: s.VCS.Branch, Commit: commit, Cause: polset.CauseManual,
		Status: polset.IngestionPending, CreatedAt: epoch,
	}
	f.ingestions = append(f.ingestions, ing)
	return ing, nil
}

func (f *fakeStore) RotateHookSecret(ctx context.Context, by polset.Principal, setID string) (polset.PolicySet, error) {
	s, err := f.PolicySet(ctx, by, setID)
	if err != nil {
		return s, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.VCS == nil || s.VCS.TokenID == "" {
		return s, polset.ErrConflict
	}
	f.rotations++
	vcs := *s.VCS
	vcs.HookSecret, vcs.HookState = polset.NewSecret(fmt.Sprintf("rotated-%d", f.rotations)), polset.HookPending
	s.VCS = &vcs
	return s, nil
}

func (f *fakeStore) Version(_ context.Context, by polset.Principal, id string) (polset.Version, error) {
	return find(f, by, f.versions, func(v polset.Version) string { return f.orgOfSetID(v.PolicySetID) }, func(v polset.Version) bool { return v.ID == id })
}

func (f *fakeStore) Versions(ctx context.Context, by polset.Principal, setID string, filter polset.VersionFilter, page polset.Page) ([]polset.Version, int, error) {
	if _, err := f.PolicySet(ctx, by, setID); err != nil {
		return nil, 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var seen []polset.Version
	for _, v := range slices.Backward(f.versions) {
		if v.PolicySetID == setID && (filter.Commit == "" || filter.Commit == v.Commit) &&
			(len(filter.Statuses) == 0 || slices.Contains(filter.Statuses, string(v.Status))) {
			seen = append(seen, v)
		}
	}
	return slicePage(seen, page), len(seen), nil
}

func (f *fakeStore) VersionsByID(_ context.Context, by polset.Principal, ids []string) ([]polset.Version, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.batches++
	var seen []polset.Version
	for _, v := range slices.Backward(f.versions) {
		if slices.Contains(ids, v.ID) && visible(by, f.orgOfSetID(v.PolicySetID)) {
			seen = append(seen, v)
		}
	}
	return seen, nil
}

func (f *fakeStore) Ingestions(ctx context.Context, by polset.Principal, setID string, filter polset.VersionFilter, page polset.Page) ([]polset.Ingestion, int, error) {
	if _, err := f.PolicySet(ctx, by, setID); err != nil {
		return nil, 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var seen []polset.Ingestion
	for _, ing := range slices.Backward(f.ingestions) {
		if ing.PolicySetID == setID && (len(filter.Statuses) == 0 || slices.Contains(filter.Statuses, string(ing.Status))) {
			seen = append(seen, ing)
		}
	}
	return slicePage(seen, page), len(seen), nil
}

// Members and tag selectors are on the world.
func (f *fakeStore) AddMembers(context.Context, polset.Principal, string, polset.Relation, []string) error {
	panic("the fake store relates nothing")
}

func (f *fakeStore) RemoveMembers(context.Context, polset.Principal, string, polset.Relation, []string) error {
	panic("the fake store relates nothing")
}

func (f *fakeStore) AddTagSelectors(context.Context, polset.Principal, string, []polset.TagSelector) error {
	panic("the fake store relates nothing")
}

func (f *fakeStore) RemoveTagSelectors(context.Context, polset.Principal, string, []polset.TagSelector) error {
	panic("the fake store relates nothing")
}
