package hub

import (
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"
)

// pages are what a person sees in the browser.
func (g *GitHub) pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /settings/apps/new", g.newAppPage)
	mux.HandleFunc("POST /organizations/{org}/settings/apps/new", g.newAppPage)
	mux.HandleFunc("POST /settings/apps", g.makeApp)
	mux.HandleFunc("GET /apps/{slug}", g.appPage)
	mux.HandleFunc("GET /apps/{slug}/installations/new", g.installPage)
	mux.HandleFunc("POST /apps/{slug}/installations", g.makeInstallation)
	mux.HandleFunc("GET /settings/installations/{id}", g.installedPage)
	mux.HandleFunc("GET /organizations/{org}/settings/installations/{id}", g.installedPage)
	mux.HandleFunc("GET /login/oauth/authorize", g.authorizePage)
	mux.HandleFunc("POST /login/oauth/authorize", g.authorize)
	mux.HandleFunc("POST /login/oauth/access_token", g.accessToken)
	return mux
}

var page404 = template.Must(template.New("").Parse(
	`<!DOCTYPE html><title>Page not found · GitHub</title><h1>404</h1><p>This is not the web page you are looking for.`))

var pageLayout = template.Must(template.New("layout").Parse(`<!DOCTYPE html>
<html lang="en"><title>{{.Title}} · GitHub</title>
<h1>{{.Title}}</h1>
{{range .Problems}}<p class="flash-error">{{.}}</p>
{{end}}{{with .Action}}<form method="post" action="{{.}}">
{{range $name, $value := $.Hidden}}<input type="hidden" name="{{$name}}" value="{{$value}}">
{{end}}{{with $.Name}}<label>GitHub App name <input name="name" id="name" value="{{.}}" maxlength="34"></label>
{{end}}{{range $i, $login := $.Accounts}}<label><input type="radio" name="account" value="{{$login}}"{{if not $i}} checked{{end}}> {{$login}}</label>
{{end}}<button type="submit" id="{{$.Button}}">{{$.Label}}</button>
</form>
{{end}}</html>
`))

// A webPage is what pageLayout shows.
type webPage struct {
	Title    string
	Problems []string
	Action   string // where its form goes; "": it has none
	Hidden   map[string]string
	Name     string
	Accounts []string
	Button   string // the button's id
	Label    string
}

func show404(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	_ = page404.Execute(w, nil) // the browser went away
}

func (p webPage) show(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = pageLayout.Execute(w, p) // the browser went away
}

// refuse shows what a page of another site has done wrong, and fails the test.
func (g *GitHub) refuse(w http.ResponseWriter, r *http.Request, title string, wrong []string) {
	for _, w := range wrong {
		g.violation(r.Method + " " + r.URL.Path + ": " + w)
	}
	webPage{Title: title, Problems: wrong}.show(w, http.StatusUnprocessableEntity)
}

// newAppPage takes a manifest and asks the person to confirm.
func (g *GitHub) newAppPage(w http.ResponseWriter, r *http.Request) {
	m, wrong := g.readManifest(r.FormValue("manifest"))
	for name := range r.URL.Query() {
		if name != "state" {
			wrong = append(wrong, "query."+name+": GitHub knows no such parameter")
		}
	}
	if len(wrong) > 0 {
		g.refuse(w, r, "Invalid GitHub App configuration", wrong)
		return
	}
	org := r.PathValue("org")
	if !g.mayAct(org) {
		show404(w)
		return
	}
	webPage{
		Title: "Create GitHub App", Action: "/settings/apps", Name: m.config.Name, Button: "create", Label: "Create GitHub App",
		Hidden: map[string]string{"manifest": r.FormValue("manifest"), "state": r.URL.Query().Get("state"), "org": org},
	}.show(w, http.StatusOK)
}

// mayAct reports whether the person at the browser decides over an
// organization, or is there at all.
func (g *GitHub) mayAct(org string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.signedIn != nil && (org == "" || g.signedIn.owns(g.find(org)))
}

// makeApp makes the App and leads back with a code.
func (g *GitHub) makeApp(w http.ResponseWriter, r *http.Request) {
	m, wrong := g.readManifest(r.FormValue("manifest"))
	if len(wrong) > 0 || !g.mayAct(r.FormValue("org")) {
		show404(w) // the page before has refused it
		return
	}
	g.mu.Lock()
	m.config.Owner = g.signedIn
	if org := r.FormValue("org"); org != "" {
		m.config.Owner = g.find(org)
	}
	g.mu.Unlock()
	m.config.Name = r.FormValue("name")
	app, err := g.newApp(m.config)
	if err != nil {
		webPage{Title: "Create GitHub App", Problems: []string{err.Error()}}.show(w, http.StatusUnprocessableEntity)
		return
	}
	g.mu.Lock()
	code := g.secret(20)
	g.manifests[code] = &manifestCode{app: app, expires: g.clock().Add(time.Hour)}
	g.mu.Unlock()
	http.Redirect(w, r, withQuery(m.redirect, "code", code, "state", r.FormValue("state")), http.StatusFound)
}

// appNamed is the App of a slug, nil where there is none.
func (g *GitHub) appNamed(slug string) *App {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := slices.IndexFunc(g.apps, func(a *App) bool { return a.Slug == slug })
	if at < 0 {
		return nil
	}
	return g.apps[at]
}

func (g *GitHub) appPage(w http.ResponseWriter, r *http.Request) {
	app := g.appNamed(r.PathValue("slug"))
	if app == nil {
		show404(w)
		return
	}
	webPage{Title: app.Name}.show(w, http.StatusOK)
}

// installable are the logins of the accounts on which the person at the
// browser may install the App: one that is not public belongs to its owner.
func (g *GitHub) installable(app *App) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var logins []string
	for _, a := range g.accounts {
		if g.signedIn.owns(a) && (app.config.Public || a == app.config.Owner) {
			logins = append(logins, a.login)
		}
	}
	return logins
}

func (g *GitHub) installPage(w http.ResponseWriter, r *http.Request) {
	app := g.appNamed(r.PathValue("slug"))
	if app == nil {
		show404(w)
		return
	}
	accounts := g.installable(app)
	if len(accounts) == 0 {
		show404(w)
		return
	}
	webPage{
		Title: "Install " + app.Name, Action: "/apps/" + app.Slug + "/installations", Accounts: accounts,
		Button: "install", Label: "Install", Hidden: map[string]string{"state": r.URL.Query().Get("state")},
	}.show(w, http.StatusOK)
}

// makeInstallation installs the App, tells it, and leads to where the App
// wants the person. Where it is installed already that is an update.
func (g *GitHub) makeInstallation(w http.ResponseWriter, r *http.Request) {
	app := g.appNamed(r.PathValue("slug"))
	if app == nil || !slices.Contains(g.installable(app), r.FormValue("account")) {
		show404(w)
		return
	}
	g.mu.Lock()
	account, person := g.find(r.FormValue("account")), g.signedIn
	action, events := "update", []*Delivery(nil)
	installation := app.installation(account)
	if installation == nil {
		action = "install"
		installation, events = app.install(account, nil)
	}
	config, code := app.config, ""
	if config.RequestOAuthOnInstall {
		code = g.secret(10)
		g.grants[code] = &oauthCode{app: app, user: person, expires: g.clock().Add(oauthCodeLife)}
	}
	id := fmt.Sprint(installation.id)
	html := text(installation.object(g.APIURL())["html_url"])
	g.mu.Unlock()
	g.send(events...)
	state := r.FormValue("state")
	switch {
	case code != "":
		html = withQuery(config.CallbackURLs[0], "code", code, "installation_id", id, "setup_action", action, "state", state)
	case config.SetupURL != "":
		html = withQuery(config.SetupURL, "installation_id", id, "setup_action", action, "state", state)
	}
	http.Redirect(w, r, html, http.StatusFound)
}

func (g *GitHub) installedPage(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	known := slices.ContainsFunc(g.installations, func(i *Installation) bool {
		return !i.deleted && strings.HasSuffix(r.URL.Path, fmt.Sprintf("/%d", i.id)) && g.signedIn.owns(i.account)
	})
	g.mu.Unlock()
	if !known {
		show404(w)
		return
	}
	webPage{Title: "Okay, the GitHub App is installed"}.show(w, http.StatusOK)
}
