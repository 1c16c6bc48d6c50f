package hub

import (
	"encoding/json"
	"mime"
	"net/http"
	"slices"
	"time"
)

// An oauthCode is what a person's token can be had for, once.
type oauthCode struct {
	app      *App
	user     *Account
	redirect string // that the code was asked for with; "" for none
	expires  time.Time
}

const (
	oauthCodeLife  = 10 * time.Minute
	userTokenLife  = 8 * time.Hour
	accessTokenURL = "POST /login/oauth/access_token" //nolint:gosec // a route
)

// authorizePage asks the person to let the App know who they are.
func (g *GitHub) authorizePage(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	app, redirect := g.authorizing(query.Get("client_id"), query.Get("redirect_uri"))
	if app == nil {
		show404(w)
		return
	}
	webPage{
		Title: "Authorize " + app.Name, Action: "/login/oauth/authorize", Button: "authorize", Label: "Authorize " + app.Name,
		Hidden: map[string]string{"client_id": app.ClientID, "redirect_uri": redirect, "state": query.Get("state")},
	}.show(w, http.StatusOK)
}

// authorizing is the App of a client id, and where it leads back to: one of
// its callback URLs, or nowhere.
func (g *GitHub) authorizing(client, redirect string) (*App, string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range g.apps {
		if a.ClientID != client || len(a.config.CallbackURLs) == 0 || g.signedIn == nil {
			continue
		}
		if redirect == "" {
			redirect = a.config.CallbackURLs[0]
		}
		if slices.Contains(a.config.CallbackURLs, redirect) {
			return a, redirect
		}
	}
	return nil, ""
}

func (g *GitHub) authorize(w http.ResponseWriter, r *http.Request) {
	app, redirect := g.authorizing(r.FormValue("client_id"), r.FormValue("redirect_uri"))
	if app == nil {
		show404(w)
		return
	}
	g.mu.Lock()
	code := g.secret(10)
	g.grants[code] = &oauthCode{app: app, user: g.signedIn, redirect: redirect, expires: g.clock().Add(oauthCodeLife)}
	g.mu.Unlock()
	http.Redirect(w, r, withQuery(redirect, "code", code, "state", r.FormValue("state")), http.StatusFound)
}

// accessToken gives a person's token for a code. Its refusals have the status
// 200, as GitHub's have.
func (g *GitHub) accessToken(w http.ResponseWriter, r *http.Request) {
	call := &Call{Method: r.Method, Route: accessTokenURL, Path: r.URL.Path, Query: r.URL.RawQuery, Auth: "none", At: g.clock()}
	g.mu.Lock()
	g.calls = append(g.calls, call)
	outage := g.outage
	fault := g.faults[accessTokenURL]
	g.mu.Unlock()
	recorder := &callRecorder{ResponseWriter: w, github: g, call: call}
	if outage.REST {
		down(recorder, outage)
		return
	}
	next := http.HandlerFunc(g.exchange)
	if fault == nil || !fault(recorder, r, next) {
		next.ServeHTTP(recorder, r)
	}
}

func (g *GitHub) exchange(w http.ResponseWriter, r *http.Request) {
	given := func(name string) string { return r.FormValue(name) }
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && media == "application/json" {
		var fields map[string]string
		if err := json.NewDecoder(r.Body).Decode(&fields); err != nil {
			g.violation(accessTokenURL + ": the body is no JSON object of texts")
		}
		given = func(name string) string { return fields[name] }
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Accept")); err != nil || media != "application/json" {
		g.violation(accessTokenURL + ": the header Accept is not application/json, so GitHub answers with a form")
	}
	if r.URL.Query().Has("client_secret") {
		g.violation(accessTokenURL + ": a secret in the query ends in logs")
	}
	answer := g.redeem(given("client_id"), given("client_secret"), given("code"), given("redirect_uri"))
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(answer) // the client went away
}

func (g *GitHub) redeem(client, secret, code, redirect string) object {
	refuse := func(name, description string) object {
		return object{"error": name, "error_description": description, "error_uri": "https://docs.github.com/apps"}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	at := slices.IndexFunc(g.apps, func(a *App) bool { return a.ClientID == client })
	if at < 0 || !equal(g.apps[at].ClientSecret, secret) {
		return refuse("incorrect_client_credentials", "The client_id and/or client_secret passed are incorrect.")
	}
	grant := g.grants[code]
	if grant == nil || grant.app != g.apps[at] || !g.clock().Before(grant.expires) {
		return refuse("bad_verification_code", "The code passed is incorrect or expired.")
	}
	if redirect != "" && redirect != grant.redirect && !slices.Contains(grant.app.config.CallbackURLs, redirect) {
		return refuse("redirect_uri_mismatch", "The redirect_uri MUST match the registered callback URL for this application.")
	}
	delete(g.grants, code)
	t := g.issue(&Token{
		Kind: "user", User: grant.user.id, ExpiresAt: g.now().Add(userTokenLife), user: grant.user, app: grant.app,
	}, "ghu_", 40)
	return object{
		"access_token": t.Token, "token_type": "bearer", "scope": "", "expires_in": int(userTokenLife.Seconds()),
		"refresh_token": "ghr_" + g.secret(38), "refresh_token_expires_in": 15897600,
	}
}

// serves reports whether a route is one of the stand-in's.
func (g *GitHub) serves(route string) bool { return route == accessTokenURL || g.routed[route] }
