package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/polset/polset"
)

// begin is where a set-up link leads, and where a person comes back to. The
// token moves from the address into a cookie at once, so that it is neither
// kept in the history nor passed on. Another site may send a browser here
// without its person seeing a page.
func (w *Web) begin(v *visit) error {
	if q := v.request.URL.Query(); q.Has("token") {
		t := polset.NewSecret(q.Get("token"))
		if !plain(t.Reveal()) {
			return useless(nil)
		}
		if _, err := w.open(v, t); err != nil {
			return err
		}
		w.hold(v, t)
		w.setCookie(v, cookieTicket, "")
		return redirect(v, w.prefix+PathSetup)
	}
	h := holds(v)
	l, err := w.open(v, h.token)
	if err != nil {
		return err
	}
	if l.Purpose == polset.SetupInstall {
		return w.install(v, l, h)
	}
	if err := w.noAppYet(v); err != nil {
		return err
	}
	return w.form(v, http.StatusOK, l, h, description{Name: "polset"}, nil)
}

// plain reports whether s can be the token of a link: what fits a cookie.
func plain(s string) bool {
	if s == "" || len(s) > 256 {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.' {
			return false
		}
	}
	return true
}

// noAppYet spares a person the creation of a second App, which polset could
// not use.
func (w *Web) noAppYet(v *visit) error {
	app, err := w.Apps.App(v.ctx)
	switch {
	case errors.Is(err, polset.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	return hasApp(app.Name)
}

func hasApp(name string) *troubled {
	which := "polset uses a GitHub App already, and there is one for each polset."
	if name != "" {
		which = fmt.Sprintf("polset uses the GitHub App “%s” already, and there is one for each polset.", name)
	}
	return trouble(http.StatusConflict, "There is a GitHub App already", which,
		"To install it, ask a site admin for a link: “polset github setup” makes one.")
}

// A description is what a person says of the App to be.
type description struct {
	Owner        string // GitHub's organization; "": the person's own account
	Name         string
	Organization string // polset's
	Public       bool   // accounts other than its owner's can install it
}

// A descriptionPage asks for it.
type descriptionPage struct {
	description
	Action        string
	Form          string // the ticket
	Host          string
	Fixed         string // the organization that the link was made for
	Organizations []string
	Wrong         map[string]string // what is wrong, by field
}

func (w *Web) form(v *visit, status int, l polset.SetupLink, h held, d description, wrong map[string]string) error {
	signed, err := w.sign(ticket{Step: stepForm, Link: w.fingerprint(h)}, formLife)
	if err != nil {
		return err
	}
	p := descriptionPage{
		description: d, Action: w.prefix + PathSetup, Form: signed, Host: w.host, Fixed: l.Organization, Wrong: wrong,
	}
	if l.OrganizationID == "" {
		if p.Organizations, err = w.organizations(v); err != nil {
			return err
		}
	}
	return w.show(v, status, "describe", p)
}

// maxOrganizations is how many a person can choose from; whoever has more
// names one when making the link.
const maxOrganizations = 1000

// organizations lists the names that the holder of a site admin's link may
// choose from.
func (w *Web) organizations(v *visit) ([]string, error) {
	const size = 100
	var names []string
	for number := 1; len(names) < maxOrganizations; number++ {
		list, total, err := w.Organizations.Organizations(v.ctx, polset.System, polset.Page{Number: number, Size: size})
		if err != nil {
			return nil, err
		}
		for _, o := range list {
			names = append(names, o.Name)
		}
		if len(list) == 0 || number*size >= total {
			break
		}
	}
	return names, nil
}

// describe takes the form and shows what will be asked of GitHub.
func (w *Web) describe(v *visit) error {
	if err := v.readForm(w.prefix + PathSetup); err != nil {
		return err
	}
	h := holds(v)
	l, err := w.open(v, h.token)
	if err != nil {
		return err
	}
	if signed, ok := w.verify(v.request.PostForm.Get("form"), stepForm); !ok || signed.Link != w.fingerprint(h) {
		return trouble(http.StatusForbidden, "The form is too old, or it did not come from this page",
			"Fill it in again.").offering("Back to the form", w.prefix+PathSetup)
	}
	if l.Purpose != polset.SetupApp {
		return redirect(v, w.prefix+PathSetup)
	}
	if err := w.noAppYet(v); err != nil {
		return err
	}
	d := description{
		Owner:        strings.TrimSpace(v.request.PostForm.Get("owner")),
		Name:         strings.TrimSpace(v.request.PostForm.Get("name")),
		Organization: v.request.PostForm.Get("organization"),
		Public:       v.request.PostForm.Get("public") != "",
	}
	wrong := d.check(w.host)
	if wrong == nil && d.Organization != "" {
		switch err := w.Links.ChooseOrganization(v.ctx, h.token, d.Organization); {
		case errors.Is(err, polset.ErrUnauthorized):
			return useless(err)
		case errors.Is(err, polset.ErrNotFound):
			wrong = map[string]string{"organization": "There is no such organization, or this link is for another one."}
		case err != nil:
			return err
		}
	}
	if wrong != nil {
		return w.form(v, http.StatusUnprocessableEntity, l, h, d, wrong)
	}
	if d.Organization == "" {
		d.Organization = l.Organization // as it was chosen before
	}
	return w.create(v, h, d)
}

// GitHub's limits.
const (
	maxAppName = 34
	maxLogin   = 100
)

// check says what is wrong with a description, by field; nil where all is well.
func (d description) check(host string) map[string]string {
	wrong := map[string]string{}
	if !login(d.Owner) {
		wrong["owner"] = "Write the organization as it stands in its address, such as acme in " + host + "/acme."
	}
	switch n := utf8.RuneCountInString(d.Name); {
	case n == 0:
		wrong["name"] = "The App needs a name."
	case n > maxAppName:
		wrong["name"] = fmt.Sprintf("The name has %d characters; %s allows %d.", n, host, maxAppName)
	case !printable(d.Name):
		wrong["name"] = "The name holds characters that cannot be shown."
	}
	if len(wrong) == 0 {
		return nil
	}
	return wrong
}

// login reports whether s can be a login of GitHub's; "" is the person's own.
func login(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' {
			return false
		}
	}
	return len(s) <= maxLogin && !strings.HasPrefix(s, "-")
}

func printable(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return false
		}
	}
	return true
}

// A creationPage shows the manifest and posts it to GitHub.
type creationPage struct {
	Action       string
	Manifest     string
	Host         string
	Owner        string
	Organization string
	Back         string

	Name        string
	Public      bool
	HookURL     string
	Permissions []permission
	Events      []string
}

type permission struct{ Name, Level, Why string }

// why says for what polset needs each permission.
var why = map[string]string{
	"metadata":      "to know the repositories by name",
	"contents":      "to fetch policies, and nothing but policies",
	"pull_requests": "to be told of proposed changes",
	"checks":        "to say on a commit what became of it",
}

// create shows what GitHub will be asked for. The form on the page posts to
// GitHub itself: polset never sees the person's session there.
func (w *Web) create(v *visit, h held, d description) error {
	manifest, err := w.Places.Manifest(w.PublicURL, d.Name, d.Public)
	if err != nil {
		return err
	}
	state, err := w.sign(ticket{Step: stepCreate, Link: w.fingerprint(h)}, stateLife)
	if err != nil {
		return err
	}
	action, err := withState(w.Places.NewAppURL(d.Owner), state)
	if err != nil {
		return err
	}
	p := creationPage{
		Action: action, Manifest: string(manifest), Host: w.host, Owner: d.Owner, Organization: d.Organization, Back: w.prefix + PathSetup,
	}
	if err := p.explain(manifest); err != nil {
		return err
	}
	v.facts = append(v.facts, zap.String("owner", d.Owner), zap.String("organization", d.Organization), zap.Bool("public", p.Public))
	w.formsTo(v, w.origin)
	return w.show(v, http.StatusOK, "create", p)
}

// explain shows what the manifest itself says, not what it should say.
func (p *creationPage) explain(manifest []byte) error {
	var m struct {
		Name   string `json:"name"`
		Public bool   `json:"public"`
		Hook   struct {
			URL string `json:"url"`
		} `json:"hook_attributes"`
		Permissions map[string]string `json:"default_permissions"`
		Events      []string          `json:"default_events"`
	}
	if err := json.NewDecoder(bytes.NewReader(manifest)).Decode(&m); err != nil {
		return fmt.Errorf("read the manifest: %w", err)
	}
	p.Name, p.Public, p.HookURL, p.Events = m.Name, m.Public, m.Hook.URL, m.Events
	for _, name := range slices.Sorted(maps.Keys(m.Permissions)) {
		p.Permissions = append(p.Permissions, permission{Name: strings.ReplaceAll(name, "_", " "), Level: m.Permissions[name], Why: why[name]})
	}
	return nil
}

// withState adds GitHub's state to an address.
func withState(address, state string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("add the state to GitHub's address: %w", err)
	}
	q := u.Query()
	q.Set("state", state)
	u.RawQuery = q.Encode()
	return u.String(), nil
}
