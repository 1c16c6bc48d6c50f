package web

import (
	"errors"
	"net/http"

	"go.uber.org/zap"

	"github.com/polset/polset"
)

// created is where GitHub sends a person who has created the App. Its code can
// be exchanged once, so from there on the App is either saved, or has to be
// deleted on GitHub.
func (w *Web) created(v *visit) error {
	q := v.request.URL.Query()
	h := holds(v)
	l, err := w.open(v, h.token)
	if err != nil {
		return err
	}
	if l.Purpose == polset.SetupInstall { // the page was asked for again after it had done its work
		return redirect(v, w.prefix+PathSetup)
	}
	if err := w.expect(v, stepCreate, h); err != nil {
		return err
	}
	if !plain(q.Get("code")) {
		return trouble(http.StatusBadRequest, "GitHub sent no code along", "Begin again, and create the App on GitHub's page.").
			offering("Begin again", w.prefix+PathSetup)
	}
	app, err := w.GitHub.ConvertManifest(v.ctx, q.Get("code"))
	if err != nil {
		return w.notConverted(err)
	}
	v.facts = append(v.facts, zap.Int64("app", app.ID), zap.String("slug", app.Slug), zap.String("owner", app.Owner))
	install, err := w.Uses.SaveApp(v.ctx, h.token, app)
	if err != nil {
		return w.notSaved(app, err)
	}
	state, err := w.sign(ticket{Step: stepInstall, Link: w.fingerprint(w.hold(v, install))}, stateLife)
	if err != nil {
		return err
	}
	next := w.Places.InstallURL(app, state)
	if next == "" {
		next = w.prefix + PathSetup
	}
	return redirect(v, next)
}

// expect checks that the person comes from GitHub with the state that this
// browser went there with.
func (w *Web) expect(v *visit, step string, h held) error {
	state, ok := w.verify(v.request.URL.Query().Get("state"), step)
	if !ok || state.Link != w.fingerprint(h) {
		return trouble(http.StatusForbidden, "This is not where this browser left for GitHub",
			"It took longer than an hour, or the address was not made for you. Nothing was changed.",
			"Begin again from your set-up link.").offering("Begin again", w.prefix+PathSetup)
	}
	return nil
}

// notConverted says what to do where GitHub did not hand the App over.
func (w *Web) notConverted(err error) error {
	if errors.Is(err, polset.ErrUnauthorized) {
		return trouble(http.StatusBadRequest, "GitHub does not know this code any more",
			"Each code works once, and within an hour.",
			"If an App was created, delete it on "+w.host+" (Settings, Developer settings, GitHub Apps, Advanced), and begin again.").
			because(err).offering("Begin again", w.prefix+PathSetup)
	}
	const title = "polset could not take the new GitHub App over"
	if !polset.FailureOf(err).Retry {
		return trouble(http.StatusBadGateway, title, append(said(err),
			"Delete the App on "+w.host+" (Settings, Developer settings, GitHub Apps, Advanced): polset has not kept its keys.",
			"Then begin again with a new link: a site admin makes one with “polset github setup”.")...).because(err)
	}
	return trouble(http.StatusBadGateway, title, append(said(err),
		"The App may exist on "+w.host+" all the same. Reload this page in a minute: the code works for an hour.",
		"If that does not help, delete the App there (Settings, Developer settings, GitHub Apps, Advanced), and begin again.")...).
		because(err).offering("Begin again", w.prefix+PathSetup)
}

// notSaved says what to do with an App whose keys polset does not have.
func (w *Web) notSaved(app polset.App, err error) error {
	remove := "Delete the App “" + app.Name + "” on " + w.host + " (Settings, Developer settings, GitHub Apps, Advanced): polset has not kept its keys."
	var t *troubled
	switch {
	case errors.Is(err, polset.ErrConflict):
		t = hasApp("")
		t.message.Advice = append([]string{remove}, t.message.Advice...)
		return t.because(err)
	case errors.Is(err, polset.ErrUnauthorized):
		t = useless(err)
		t.message.Advice = append([]string{remove}, t.message.Advice...)
		return t
	}
	return trouble(http.StatusServiceUnavailable, "polset could not store the new GitHub App", remove, "Then begin again.").
		because(err).offering("Begin again", w.prefix+PathSetup)
}

// said is the sentence of a failure that is meant for people, if there is one.
func said(err error) []string {
	var f *polset.Failure
	if errors.As(err, &f) && f.Message != "" {
		return []string{f.Message}
	}
	return nil
}
