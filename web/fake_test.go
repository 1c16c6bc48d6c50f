package web_test

import (
	"context"
	"fmt"
	"net/url"
	"sync"

	"github.com/polset/polset"
	"github.com/polset/polset/web"
)

const (
	appToken     = "polset_setup_APPTOKEN-secret-0001"
	installToken = "polset_setup_INSTALLTOKEN-secret-0002"
	secondToken  = "polset_setup_SECONDTOKEN-secret-0003"
	appCode      = "a1b2c3d4code"
	personCode   = "e5f6a7b8code"
	octocat      = int64(583231)
)

// rows is what the store would be.
type rows struct {
	mu            sync.Mutex
	links         map[string]polset.SetupLink
	organizations []string
	app           *polset.App
	installers    map[int64]int64 // installation → who made it; 0: not yet known
	bound         []polset.Installation
	by            []string
	asked         []polset.Principal
	err           error // of everything
	saveErr       error
}

func (r *rows) link(token polset.Secret) (polset.SetupLink, error) {
	if r.err != nil {
		return polset.SetupLink{}, r.err
	}
	l, ok := r.links[token.Reveal()]
	if !ok {
		return l, fmt.Errorf("read set-up link: %w", polset.ErrUnauthorized)
	}
	return l, nil
}

func (r *rows) SetupLink(_ context.Context, token polset.Secret) (polset.SetupLink, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.link(token)
}

func (r *rows) ChooseOrganization(_ context.Context, token polset.Secret, name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, err := r.link(token)
	if err != nil {
		return err
	}
	for _, o := range r.organizations {
		if o == name && (l.Organization == "" || l.Organization == name) {
			l.OrganizationID, l.Organization = "org-"+name, name
			r.links[token.Reveal()] = l
			return nil
		}
	}
	return fmt.Errorf("choose organization: %w", polset.ErrNotFound)
}

func (r *rows) SaveApp(_ context.Context, token polset.Secret, app polset.App) (polset.Secret, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, err := r.link(token)
	switch {
	case err != nil:
		return polset.Secret{}, err
	case r.saveErr != nil:
		return polset.Secret{}, r.saveErr
	case r.app != nil:
		return polset.Secret{}, polset.ErrConflict
	}
	delete(r.links, token.Reveal())
	r.app = &app
	l.ID, l.Purpose = "setup-2", polset.SetupInstall
	r.links[installToken] = l
	return polset.NewSecret(installToken), nil
}

func (r *rows) Installations(_ context.Context, by polset.Principal, filter polset.InstallationFilter, _ polset.Page) ([]polset.Installation, int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	installer, ok := r.installers[filter.ExternalID]
	if r.err != nil || !ok || !by.SiteAdmin() {
		return nil, 0, r.err
	}
	return []polset.Installation{{
		ID: "ghain-0000000000000001", ExternalID: filter.ExternalID, Account: "acme", AccountType: "Organization", Selection: "selected", InstallerID: installer,
	}}, 1, nil
}

func (r *rows) BindByLink(_ context.Context, token polset.Secret, installation, userID int64, login string) (polset.Installation, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, err := r.link(token)
	if err != nil {
		return polset.Installation{}, err
	}
	installer, ok := r.installers[installation]
	switch {
	case !ok:
		return polset.Installation{}, fmt.Errorf("bind: %w", polset.ErrNotFound)
	case installer == 0 || installer != userID:
		return polset.Installation{}, fmt.Errorf("bind: %w", polset.ErrConflict)
	}
	delete(r.links, token.Reveal())
	i := polset.Installation{ID: "ghain-0000000000000001", ExternalID: installation, Account: "acme", Organizations: []string{l.Organization}}
	r.bound, r.by = append(r.bound, i), append(r.by, login)
	return i, nil
}

func (r *rows) App(context.Context) (polset.App, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.err != nil:
		return polset.App{}, r.err
	case r.app == nil:
		return polset.App{}, fmt.Errorf("read App: %w", polset.ErrNotFound)
	}
	return *r.app, nil
}

func (r *rows) Organizations(_ context.Context, by polset.Principal, page polset.Page) ([]polset.Organization, int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, by)
	var list []polset.Organization
	for i := page.Offset(); i < min(page.Offset()+page.Size, len(r.organizations)); i++ {
		list = append(list, polset.Organization{Name: r.organizations[i]})
	}
	return list, len(r.organizations), r.err
}

func (r *rows) set(change func(*rows)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

// exchange is what GitHub and its client would be.
type exchange struct {
	mu      sync.Mutex
	url     string
	person  web.Person
	used    map[string]bool
	err     error // of both exchanges
	noPlace bool
	// waiting, where given, is called in both exchanges.
	waiting func(context.Context)
}

func (h *exchange) Manifest(publicURL, name string, public bool) ([]byte, error) {
	return fmt.Appendf(nil, `{"name":%q,"public":%t,"url":%q,"hook_attributes":{"url":%q,"active":true},"redirect_url":%q,"default_events":["push","pull_request"],"default_permissions":{"contents":"read","checks":"write","pull_requests":"read"}}`,
		name, public, publicURL, publicURL+"/webhooks/github", publicURL+web.PathCreated), nil
}

func (h *exchange) NewAppURL(organization string) string {
	if organization == "" {
		return h.url + "/settings/apps/new"
	}
	return h.url + "/organizations/" + organization + "/settings/apps/new"
}

func (h *exchange) InstallURL(app polset.App, state string) string {
	if h.noPlace {
		return ""
	}
	return h.url + "/apps/" + app.Slug + "/installations/new?" + url.Values{"state": {state}}.Encode()
}

func (h *exchange) take(ctx context.Context, code, good string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting != nil {
		h.waiting(ctx)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if h.err != nil {
		return h.err
	}
	if code != good || h.used[code] {
		return fmt.Errorf("exchange: %w", polset.ErrUnauthorized)
	}
	h.used[code] = true
	return nil
}

func (h *exchange) ConvertManifest(ctx context.Context, code string) (polset.App, error) {
	if err := h.take(ctx, code, appCode); err != nil {
		return polset.App{}, err
	}
	return polset.App{
		ID: 7, Slug: "polset-acme", Name: "polset acme", Owner: "acme", ClientID: "Iv1.x", HTTPURL: h.url,
		PrivateKey: polset.NewSecret("PEM-secret"), WebhookSecret: polset.NewSecret("hook-secret"), ClientSecret: polset.NewSecret("client-secret"),
	}, nil
}

func (h *exchange) Authorize(ctx context.Context, _ polset.App, code string) (web.Person, error) {
	if err := h.take(ctx, code, personCode); err != nil {
		return web.Person{}, err
	}
	return h.person, nil
}
