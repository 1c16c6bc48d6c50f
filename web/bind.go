package web

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/polset/polset"
)

// A confirmPage asks whether the organization shall use the installation.
type confirmPage struct {
	Action       string
	Form         string // the ticket
	Host         string
	Login        string // who GitHub says is asked
	Account      string
	Scope        string // what kind of account, and which of its repositories
	Organization string // "": none may use it yet
}

// A donePage says what came of it.
type donePage struct{ ID, Account, Organization string }

// confirm asks the person who has just proved who they are, and who made the
// installation, about the organization that will use it. A link may have been
// put into their browser by somebody else: only what they were shown is done.
func (w *Web) confirm(v *visit) error {
	if d, ok := w.verify(cookie(v, cookieTicket), stepDone); ok {
		return w.show(v, http.StatusOK, "done", donePage{ID: d.ID, Account: d.Account, Organization: d.Organization})
	}
	p, err := w.person(v)
	if err != nil {
		return err
	}
	l, err := w.open(v, holds(v).token)
	if err != nil {
		return err
	}
	list, _, err := w.Uses.Installations(v.ctx, polset.System, polset.InstallationFilter{ExternalID: p.Installation}, polset.Page{Number: 1, Size: 1})
	switch {
	case err != nil:
		return err
	case len(list) == 0:
		return w.wait(v, p, errors.New("the installation is not known"))
	case list[0].InstallerID != p.User:
		return w.wait(v, p, errors.New("this person is not known to have made the installation"))
	}
	form, err := w.sign(question(p, l), personLife)
	if err != nil {
		return err
	}
	return w.show(v, http.StatusOK, "confirm", confirmPage{
		Action: w.prefix + PathBind, Form: form, Host: w.host, Login: p.Login,
		Account: list[0].Account, Scope: scope(list[0]), Organization: l.Organization,
	})
}

// person is whom GitHub named to this browser.
func (w *Web) person(v *visit) (ticket, error) {
	p, ok := w.verify(cookie(v, cookieTicket), stepPerson)
	if !ok || p.Link != w.fingerprint(holds(v)) {
		return p, trouble(http.StatusForbidden, "polset does not know who you are any more",
			"What GitHub said of you is kept for five minutes.",
			"If the App is installed, a site admin can bind the installation with “polset github bind”.").
			offering("Begin again", w.prefix+PathSetup)
	}
	v.facts = append(v.facts, zap.Int64("installation", p.Installation), zap.Int64("user", p.User), zap.String("login", p.Login))
	return p, nil
}

// question is what a person is asked, for the form that brings the answer: it
// answers no other question, such as that of another tab.
func question(p ticket, l polset.SetupLink) ticket {
	return ticket{Step: stepConfirm, Link: p.Link, User: p.User, Installation: p.Installation, Organization: l.Organization}
}

// scope says of what kind an account is, and which of its repositories are
// included, as far as GitHub told.
func scope(i polset.Installation) string {
	var parts []string
	if i.AccountType != "" {
		parts = append(parts, i.AccountType)
	}
	if i.Selection != "" {
		parts = append(parts, i.Selection+" repositories")
	}
	return strings.Join(parts, ", ")
}

// How long polset waits for the signed delivery that says who installed the
// App, and how often the page asks again meanwhile.
const (
	waitFor    = time.Minute
	waitBefore = 3 * time.Second
)

// A waitPage asks again by itself.
type waitPage struct{ Next string }

// wait is for GitHub's delivery, which may arrive after the person.
func (w *Web) wait(v *visit, p ticket, cause error) error {
	if w.Now().Sub(time.Unix(p.Since, 0)) < waitFor {
		v.facts = append(v.facts, zap.NamedError("waiting", cause))
		return w.write(v, http.StatusAccepted, "wait", frame{
			Refresh: int(waitBefore.Seconds()), Next: w.prefix + PathBind, Page: waitPage{Next: w.prefix + PathBind},
		})
	}
	return trouble(http.StatusConflict, "polset has not heard that you installed the App",
		"Either somebody else installed it, or GitHub's message has not arrived.",
		"Ask a site admin: they see the installation with “polset github installations”, and bind it with “polset github bind”.").
		because(cause).offering("Look again", w.prefix+PathBind)
}

// bind takes the answer and lets the organization use the installation. What
// the page showed may have changed: the rows decide.
func (w *Web) bind(v *visit) error {
	if _, ok := w.verify(cookie(v, cookieTicket), stepDone); ok { // answered twice
		return redirect(v, w.prefix+PathBind)
	}
	if err := v.readForm(w.prefix + PathBind); err != nil {
		return err
	}
	p, err := w.person(v)
	if err != nil {
		return err
	}
	t := holds(v).token
	l, err := w.open(v, t)
	if err != nil {
		return err
	}
	asked, ok := w.verify(v.request.PostForm.Get("form"), stepConfirm)
	asked.Expires = 0
	if !ok || asked != question(p, l) {
		return trouble(http.StatusForbidden, "The form is too old, or it did not come from this page",
			"Nothing was changed. Look at the question again.").offering("Back to the question", w.prefix+PathBind)
	}
	installation, err := w.Uses.BindByLink(v.ctx, t, p.Installation, p.User, p.Login)
	switch {
	case errors.Is(err, polset.ErrUnauthorized):
		return useless(err)
	case errors.Is(err, polset.ErrConflict), errors.Is(err, polset.ErrNotFound):
		v.facts = append(v.facts, zap.NamedError("waiting", err))
		return redirect(v, w.prefix+PathBind) // which says what is missing now
	case err != nil:
		return err
	}
	v.facts = append(v.facts, zap.String("bound", installation.ID), zap.String("account", installation.Account))
	signed, err := w.sign(ticket{
		Step: stepDone, Link: p.Link, ID: installation.ID, Account: installation.Account, Organization: l.Organization,
	}, personLife)
	if err != nil {
		return err
	}
	w.setCookie(v, cookieTicket, signed)
	w.setCookie(v, cookieLink, "")
	return redirect(v, w.prefix+PathBind)
}
