package api_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/polset/polset"
)

// epoch is the fake's clock: it stands still, so that documents can be golden.
var epoch = time.Date(2026, 3, 14, 15, 9, 26, 535_000_000, time.UTC)

const commit = "0123456789abcdef0123456789abcdef01234567"

// fakeStore holds rows in memory, with the tenancy that the contract asks of
// a store: not yours is not found.
type fakeStore struct {
	mu          sync.Mutex
	serial      int
	orgs        []polset.Organization
	connections []polset.Connection
	secrets     map[string]polset.Secret // by token id
	sets        []polset.PolicySet
	versions    []polset.Version
	ingestions  []polset.Ingestion
	tokens      map[string]polset.Principal // by secret
	chains      map[string][]polset.AuditEntry
	objects     map[string][]byte
	lookups     int // Authenticate calls
	batches     int // VersionsByID calls

	installations []polset.Installation // with the names of those that may use each
	links         []string              // set-up links: the organizations
	app           *polset.App
	users         map[string]string // logins, by tokens of GitHub's
	rotations     int
	looks         chan []string // not nil: takes what each VersionsInForce is asked for

	facts      func(context.Context, polset.Remote) (polset.RepositoryFacts, error)
	reachable  func(ctx context.Context, r polset.Remote, commit, branch string) (bool, error)
	head       func(context.Context, polset.Remote, string) (polset.Head, error)
	changed    bool                   // UpdatePolicySet answers that it lost a race
	broken     func() error           // what PolicySet answers instead, if anything
	lastDraft  polset.PolicySetDraft  // what CreatePolicySet was given
	lastChange polset.PolicySetChange // what UpdatePolicySet was given
}

func newFakeStore() *fakeStore {
	return &fakeStore{
		secrets: map[string]polset.Secret{},
		tokens:  map[string]polset.Principal{},
		chains:  map[string][]polset.AuditEntry{},
		objects: map[string][]byte{},
		head: func(_ context.Context, _ polset.Remote, branch string) (polset.Head, error) {
			if branch == "" {
				branch = "main"
			}
			return polset.Head{Branch: branch, Commit: commit}, nil
		},
		facts: func(_ context.Context, r polset.Remote) (polset.RepositoryFacts, error) {
			return polset.RepositoryFacts{RepositoryRef: polset.RepositoryRef{ID: 1296269, Identifier: r.Identifier}, DefaultBranch: "main"}, nil
		},
		reachable: func(context.Context, polset.Remote, string, string) (bool, error) { return true, nil },
	}
}

func (f *fakeStore) id(prefix string) string {
	f.serial++
	return fmt.Sprintf("%s-%016d", prefix, f.serial)
}

func visible(by polset.Principal, organizationID string) bool {
	return by.SiteAdmin() || by.OrganizationID == organizationID
}

// find returns the first visible element of list that is, under the lock.
func find[T any](f *fakeStore, by polset.Principal, list []T, org func(T) string, is func(T) bool) (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range list {
		if is(x) && visible(by, org(x)) {
			return x, nil
		}
	}
	var zero T
	return zero, polset.ErrNotFound
}

func slicePage[T any](list []T, page polset.Page) []T {
	from := min(page.Offset(), len(list))
	return slices.Clone(list[from:min(from+page.Size, len(list))])
}

func orgOfOrg(o polset.Organization) string      { return o.ID }
func orgOfConnection(c polset.Connection) string { return c.OrganizationID }
func orgOfSet(s polset.PolicySet) string         { return s.OrganizationID }

func (f *fakeStore) orgOfSetID(id string) string {
	for _, s := range f.sets {
		if s.ID == id {
			return s.OrganizationID
		}
	}
	return "gone"
}

func (f *fakeStore) CreateOrganization(_ context.Context, by polset.Principal, org polset.Organization) (polset.Organization, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range f.orgs {
		if o.Name == org.Name {
			return org, polset.ErrConflict
		}
	}
	org.ID, org.CreatedAt = f.id("org"), epoch
	f.orgs = append(f.orgs, org)
	f.append(org.ID, by, "organization.create", org.ID, nil)
	return org, nil
}

// append adds to a chain, as a store does.
func (f *fakeStore) append(chain string, by polset.Principal, action, subject string, details map[string]string) {
	e := polset.AuditEntry{
		Chain: chain, Sequence: int64(len(f.chains[chain]) + 1), At: epoch,
		Actor: by.Actor, Action: action, Subject: subject, Details: details,
	}
	if n := len(f.chains[chain]); n > 0 {
		e.Previous = f.chains[chain][n-1].Hash
	}
	e.Hash = e.ComputeHash()
	f.chains[chain] = append(f.chains[chain], e)
}

func (f *fakeStore) Organization(_ context.Context, by polset.Principal, name string) (polset.Organization, error) {
	return find(f, by, f.orgs, orgOfOrg, func(o polset.Organization) bool { return o.Name == name })
}

func (f *fakeStore) Organizations(_ context.Context, by polset.Principal, page polset.Page) ([]polset.Organization, int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var seen []polset.Organization
	for _, o := range f.orgs {
		if visible(by, o.ID) {
			seen = append(seen, o)
		}
	}
	return slicePage(seen, page), len(seen), nil
}

// UpdateOrganization changes nothing: the real store is tested on.
func (f *fakeStore) UpdateOrganization(ctx context.Context, by polset.Principal, name string, _ polset.OrganizationChange) (polset.Organization, error) {
	return f.Organization(ctx, by, name)
}

func (f *fakeStore) DeleteOrganization(_ context.Context, by polset.Principal, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.orgs)
	f.orgs = slices.DeleteFunc(f.orgs, func(o polset.Organization) bool { return o.Name == name && visible(by, o.ID) })
	if len(f.orgs) == n {
		return polset.ErrNotFound
	}
	return nil
}

func (f *fakeStore) User(_ context.Context, r polset.Remote) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if user, ok := f.users[r.Token.Reveal()]; ok && r.APIURL != "" {
		return user, nil
	}
	return "", polset.Fail(polset.ClassAuth, "GitHub knows no such token.")
}

func (f *fakeStore) CreateConnection(ctx context.Context, by polset.Principal, d polset.ConnectionDraft) (polset.Connection, error) {
	org, err := f.Organization(ctx, by, d.Organization)
	if err != nil {
		return polset.Connection{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c := polset.Connection{
		ID: f.id("oc"), TokenID: f.id("ot"), OrganizationID: org.ID, Organization: org.Name, Name: d.Name,
		ServiceProvider: d.ServiceProvider, HTTPURL: d.HTTPURL, APIURL: d.APIURL, CreatedAt: epoch,
	}
	f.connections = append(f.connections, c)
	f.secrets[c.TokenID] = d.Token
	return c, nil
}

func (f *fakeStore) Connection(_ context.Context, by polset.Principal, id string) (polset.Connection, error) {
	return find(f, by, f.connections, orgOfConnection, func(c polset.Connection) bool { return c.ID == id })
}

func (f *fakeStore) DeleteConnection(_ context.Context, by polset.Principal, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.connections)
	f.connections = slices.DeleteFunc(f.connections, func(c polset.Connection) bool { return c.ID == id && visible(by, c.OrganizationID) })
	if len(f.connections) == n {
		return polset.ErrNotFound
	}
	return nil
}

func (f *fakeStore) Remote(ctx context.Context, by polset.Principal, credential, identifier string) (polset.Remote, error) {
	if strings.HasPrefix(credential, "ghain-") {
		i, err := f.Installation(ctx, by, credential)
		return polset.Remote{HTTPURL: i.HTTPURL, Identifier: identifier, Installation: i.ExternalID}, err
	}
	c, err := find(f, by, f.connections, orgOfConnection, func(c polset.Connection) bool { return c.TokenID == credential })
	return polset.Remote{HTTPURL: c.HTTPURL, APIURL: c.APIURL, Identifier: identifier, Token: f.secrets[credential]}, err
}

func (f *fakeStore) Authenticate(_ context.Context, secret string) (polset.Principal, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookups++
	p, ok := f.tokens[secret]
	if !ok {
		return p, polset.ErrUnauthorized
	}
	return p, nil
}

func (f *fakeStore) AuditTrail(_ context.Context, by polset.Principal, since time.Time, page polset.Page) ([]polset.AuditEntry, int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var seen []polset.AuditEntry
	for _, chain := range slices.Sorted(maps.Keys(f.chains)) {
		for _, e := range slices.Backward(f.chains[chain]) {
			if (by.SiteAdmin() || by.OrganizationID == chain) && !e.At.Before(since) {
				seen = append(seen, e)
			}
		}
	}
	return slicePage(seen, page), len(seen), nil
}

func (f *fakeStore) Head(ctx context.Context, remote polset.Remote, branch string) (polset.Head, error) {
	return f.head(ctx, remote, branch)
}

func (f *fakeStore) Repository(ctx context.Context, remote polset.Remote) (polset.RepositoryFacts, error) {
	return f.facts(ctx, remote)
}

func (f *fakeStore) Reachable(ctx context.Context, remote polset.Remote, commit, branch string) (bool, error) {
	return f.reachable(ctx, remote, commit, branch)
}

func (f *fakeStore) Put(_ context.Context, key string, _ int64, r io.ReadSeeker) error {
	b, err := io.ReadAll(r)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.objects[key] = b
	return err
}

func (f *fakeStore) Open(_ context.Context, key string) (io.ReadCloser, int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, ok := f.objects[key]
	if !ok {
		return nil, 0, polset.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
}
