package api_test

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/polset/polset"
)

// mayUse says that a principal may know of an installation.
func (f *fakeStore) mayUse(by polset.Principal, i polset.Installation) bool {
	if by.SiteAdmin() {
		return true
	}
	return i.DeletedAt.IsZero() && slices.ContainsFunc(f.orgs, func(o polset.Organization) bool {
		return o.ID == by.OrganizationID && slices.Contains(i.Organizations, o.Name)
	})
}

func shown(by polset.Principal, i polset.Installation) polset.Installation {
	i.Organizations = slices.Clone(i.Organizations)
	if !by.SiteAdmin() {
		i.Organizations = nil
	}
	return i
}

func (f *fakeStore) Installation(_ context.Context, by polset.Principal, id string) (polset.Installation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range f.installations {
		if i.ID == id && f.mayUse(by, i) {
			return shown(by, i), nil
		}
	}
	return polset.Installation{}, polset.ErrNotFound
}

func (f *fakeStore) Installations(_ context.Context, by polset.Principal, filter polset.InstallationFilter, page polset.Page) ([]polset.Installation, int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var seen []polset.Installation
	for _, i := range f.installations {
		if f.mayUse(by, i) && i.DeletedAt.IsZero() && (filter.Account == "" || strings.EqualFold(filter.Account, i.Account)) &&
			(filter.ExternalID == 0 || filter.ExternalID == i.ExternalID) {
			seen = append(seen, shown(by, i))
		}
	}
	return slicePage(seen, page), len(seen), nil
}

func (f *fakeStore) BindInstallation(_ context.Context, by polset.Principal, id, organization string) error {
	return f.bind(by, id, func(names []string) ([]string, error) {
		if !slices.Contains(names, organization) {
			names = append(names, organization)
			slices.Sort(names)
		}
		return names, nil
	})
}

func (f *fakeStore) UnbindInstallation(_ context.Context, by polset.Principal, id, organization string) error {
	return f.bind(by, id, func(names []string) ([]string, error) {
		n := slices.Index(names, organization)
		if n < 0 {
			return names, polset.ErrNotFound
		}
		return slices.Delete(names, n, n+1), nil
	})
}

func (f *fakeStore) bind(by polset.Principal, id string, change func([]string) ([]string, error)) (err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n := range f.installations {
		if f.installations[n].ID == id && by.SiteAdmin() {
			f.installations[n].Organizations, err = change(f.installations[n].Organizations)
			return err
		}
	}
	return polset.ErrNotFound
}

func (f *fakeStore) App(context.Context) (polset.App, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.app == nil {
		return polset.App{}, polset.ErrNotFound
	}
	return *f.app, nil
}

// theApp is an App that can ask people who they are.
func theApp() *polset.App {
	return &polset.App{ID: 1, ClientID: "Iv1.x", ClientSecret: polset.NewSecret("client-secret"), PrivateKey: polset.NewSecret("private-key")}
}

const setupToken = "set+up/token="

func (f *fakeStore) CreateSetupLink(ctx context.Context, by polset.Principal, purpose polset.SetupPurpose, organization string, ttl time.Duration) (polset.SetupLink, polset.Secret, error) {
	org, err := f.Organization(ctx, by, organization)
	if err != nil {
		return polset.SetupLink{}, polset.Secret{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.links = append(f.links, organization)
	return polset.SetupLink{
		ID: f.id("setup"), Purpose: purpose, OrganizationID: org.ID, Organization: org.Name, ExpiresAt: epoch.Add(ttl),
	}, polset.NewSecret(setupToken), nil
}
