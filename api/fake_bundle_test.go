package api_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/polset/polset"
)

func (f *fakeStore) VersionInForce(_ context.Context, by polset.Principal, organization, policySet string) (polset.PolicySet, polset.Version, error) {
	set, err := find(f, by, f.sets, orgOfSet, func(s polset.PolicySet) bool { return s.Organization == organization && s.Name == policySet })
	if err != nil {
		return polset.PolicySet{}, polset.Version{}, err
	}
	v, err := find(f, by, f.versions, func(polset.Version) string { return set.OrganizationID }, func(v polset.Version) bool { return v.ID == set.CurrentVersionID })
	if errors.Is(err, polset.ErrNotFound) {
		return set, polset.Version{}, nil
	}
	return set, v, err
}

func (f *fakeStore) VersionsInForce(_ context.Context, ids []string) (map[string]string, error) {
	if f.looks != nil {
		f.looks <- ids
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	inForce := map[string]string{}
	for _, s := range f.sets {
		for _, id := range ids {
			if s.ID == id && s.CurrentVersionID != "" {
				inForce[id] = s.CurrentVersionID
			}
		}
	}
	return inForce, nil
}

// plainBundles are bundles that say which version they are of.
type plainBundles struct {
	mu     sync.Mutex
	broken error
}

func (*plainBundles) Tag(v polset.Version) string { return "tag-of-" + v.ID }

func (b *plainBundles) Open(_ context.Context, v polset.Version) (io.ReadCloser, int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	content := "bundle of " + v.ID
	return io.NopCloser(strings.NewReader(content)), int64(len(content)), b.broken
}
