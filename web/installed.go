package web

import (
	"errors"
	"net/http"
	"slices"
	"strconv"

	"go.uber.org/zap"

	"github.com/polset/polset"
)

// An installPage sends a person to GitHub's installation page.
type installPage struct {
	Href         string
	App          string
	Host         string
	Organization string
}

// install shows what will happen and the way to GitHub.
func (w *Web) install(v *visit, l polset.SetupLink, h held) error {
	app, err := w.Apps.App(v.ctx)
	switch {
	case errors.Is(err, polset.ErrNotFound):
		return trouble(http.StatusConflict, "There is no GitHub App yet",
			"A site admin creates it first: “polset github setup” makes a link for that.").because(err)
	case err != nil:
		return err
	case app.ClientSecret.Empty(): // better now than after the way to GitHub
		return trouble(http.StatusConflict, "polset cannot ask GitHub who installs the App",
			"It does not know the App's client secret, so a link cannot bind an installation.",
			"Install the App from its own page on "+w.host+", and ask a site admin to bind the installation with “polset github bind”.")
	}
	state, err := w.sign(ticket{Step: stepInstall, Link: w.fingerprint(h)}, stateLife)
	if err != nil {
		return err
	}
	href := w.Places.InstallURL(app, state)
	if href == "" {
		return trouble(http.StatusConflict, "polset does not know where its GitHub App is installed",
			"Install it from the App's own page on "+w.host+", and ask a site admin to bind the installation.")
	}
	return w.show(v, http.StatusOK, "install", installPage{Href: href, App: app.Name, Host: w.host, Organization: l.Organization})
}

// installed is where GitHub sends a person who has installed the App, or has
// asked an owner to. The number of the installation stands in the address, where
// anybody could write another: it counts only for a person who can reach it,
// which the code proves, and who made it, which the rows know from a signed
// delivery.
func (w *Web) installed(v *visit) error {
	q := v.request.URL.Query()
	switch {
	case q.Get("setup_action") == "request":
		return w.show(v, http.StatusOK, "message", message{
			Title: "An owner has to approve",
			Advice: []string{
				"GitHub has asked the owners of the account. polset hears of it as soon as one of them approves.",
				"The installation is then the owner's: a site admin binds it to your organization, with “polset github bind”.",
			},
		})
	case q.Get("state") == "":
		// Somebody installed it from GitHub's own pages.
		return w.show(v, http.StatusOK, "message", message{
			Title: "The GitHub App is installed",
			Advice: []string{
				"No organization of polset may use the installation yet.",
				"A site admin binds it with “polset github bind”, or gives you a set-up link with which you do it yourself.",
			},
		})
	}
	h := holds(v)
	l, err := w.open(v, h.token)
	if err != nil {
		return err
	}
	if err := w.expect(v, stepInstall, h); err != nil {
		return err
	}
	if l.Purpose != polset.SetupInstall {
		return useless(nil)
	}
	number, err := strconv.ParseInt(q.Get("installation_id"), 10, 64)
	if err != nil || number <= 0 || !plain(q.Get("code")) {
		return trouble(http.StatusBadRequest, "GitHub did not say who installed what",
			"If you did not finish on GitHub's page, begin again.",
			"If the App is installed, a site admin can bind the installation with “polset github bind”.").
			offering("Begin again", w.prefix+PathSetup)
	}
	v.facts = append(v.facts, zap.Int64("installation", number))
	app, err := w.Apps.App(v.ctx)
	if err != nil {
		return err
	}
	person, err := w.GitHub.Authorize(v.ctx, app, q.Get("code"))
	if err != nil {
		return w.notAuthorized(err)
	}
	v.facts = append(v.facts, zap.Int64("user", person.ID), zap.String("login", person.Login))
	if person.ID <= 0 || !slices.Contains(person.Installations, number) {
		return trouble(http.StatusForbidden, "This installation is not yours",
			"You cannot reach it on "+w.host+". Nothing was changed.",
			"Install the App on an account of your own, or ask a site admin.").offering("Begin again", w.prefix+PathSetup)
	}
	signed, err := w.sign(ticket{
		Step: stepPerson, Link: w.fingerprint(h), User: person.ID, Login: person.Login, Installation: number,
		Since: w.Now().Unix(),
	}, personLife)
	if err != nil {
		return err
	}
	w.setCookie(v, cookieTicket, signed)
	return redirect(v, w.prefix+PathBind) // away from the code, which works once
}

func (w *Web) notAuthorized(err error) error {
	bind := "If the App is installed, a site admin can bind the installation with “polset github bind”."
	if errors.Is(err, polset.ErrUnauthorized) {
		return trouble(http.StatusBadRequest, "GitHub does not accept this code", "Each code works once, and for ten minutes.", bind).
			because(err).offering("Begin again", w.prefix+PathSetup)
	}
	advice := said(err)
	if polset.FailureOf(err).Retry {
		advice = append(advice, "Reload this page in a minute.")
	}
	return trouble(http.StatusBadGateway, "polset could not ask GitHub who you are", append(advice, bind)...).because(err)
}
