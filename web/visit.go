package web

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/polset/polset"
)

// A visit is one request on its way to a page.
type visit struct {
	ctx      context.Context
	request  *http.Request
	response *echo.Response

	facts []zap.Field // for the log
}

// serve wraps a step: it sets what every answer carries, shows what went wrong,
// and logs one line. The URL is not logged: it may hold a token or a code.
func (w *Web) serve(step string, do func(*visit) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		began := w.Now()
		// GitHub's codes work once: a person who leaves does not stop what
		// they began.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request().Context()), w.Timeout)
		defer cancel()
		v := &visit{ctx: ctx, request: c.Request(), response: c.Response()}
		w.secureHeaders(v)
		err := do(v)
		level := zapcore.InfoLevel
		if err != nil {
			t := asTrouble(err)
			if t.status >= http.StatusInternalServerError {
				level = zapcore.ErrorLevel
			}
			if t.cause != nil {
				v.facts = append(v.facts, zap.Error(t.cause))
			}
			err = w.show(v, t.status, "message", t.message)
		}
		if step == "style" {
			level = zapcore.DebugLevel
		}
		fields := append([]zap.Field{
			zap.String("step", step), zap.Int("status", c.Response().Status), zap.Duration("elapsed", w.Now().Sub(began)),
		}, v.facts...)
		w.Logger.Log(level, "set-up page", fields...)
		return err
	}
}

// secureHeaders sets what every answer carries. Nothing is loaded from
// elsewhere, nothing is kept, no script runs, and no address is passed on.
func (w *Web) secureHeaders(v *visit) {
	h := v.response.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("X-Robots-Tag", "noindex")
}

// formsTo lets a form of the page post to GitHub.
func (w *Web) formsTo(v *visit, origin string) {
	v.response.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' "+origin+"; frame-ancestors 'none'; base-uri 'none'")
}

// A troubled is an error with a page that says what to do.
type troubled struct {
	status  int
	message message
	cause   error // for the log only
}

// trouble makes one. The advice is what the person can do, a sentence each.
func trouble(status int, title string, advice ...string) *troubled {
	return &troubled{status: status, message: message{Title: title, Advice: advice, Alert: true}}
}

func (t *troubled) because(err error) *troubled {
	t.cause = err
	return t
}

// offering adds a link to go on with.
func (t *troubled) offering(text, href string) *troubled {
	t.message.Links = append(t.message.Links, link{Text: text, Href: href})
	return t
}

func (t *troubled) Error() string {
	if t.cause != nil {
		return t.message.Title + ": " + t.cause.Error()
	}
	return t.message.Title
}

func (t *troubled) Unwrap() error { return t.cause }

// asTrouble gives every error a page. One that has none says nothing of itself
// to the outside but what a failure says to people.
func asTrouble(err error) *troubled {
	var t *troubled
	if errors.As(err, &t) {
		return t
	}
	advice := append(said(err), "Reload this page in a minute. If it does not help, ask the site admin to look into polset's log.")
	return trouble(http.StatusServiceUnavailable, "polset cannot do this at the moment", advice...).because(err)
}

// The cookies. Both end with the browser.
const (
	cookieLink   = "polset_setup"        // what the browser holds of its link
	cookieTicket = "polset_setup_person" // a ticket of stepPerson or stepDone
)

func (w *Web) setCookie(v *visit, name, value string) {
	age := 0
	if value == "" {
		age = -1
	}
	http.SetCookie(v.response, &http.Cookie{ //nolint:gosec // G124: Secure wherever people come by https; a polset without it must work too
		Name: name, Value: value, Path: w.prefix + "/setup", MaxAge: age,
		HttpOnly: true, Secure: w.secure, SameSite: http.SameSiteLaxMode, // Lax: GitHub's redirects must bring it
	})
}

func cookie(v *visit, name string) string {
	c, err := v.request.Cookie(name)
	if err != nil || len(c.Value) > maxTicket {
		return ""
	}
	return c.Value
}

// A held is what a browser holds of its link: the token, which whoever made the
// link knows as well, and a nonce, which no other browser knows. What is signed
// is signed for both, so that nobody can have another browser end what they
// began in their own.
type held struct {
	token polset.Secret
	nonce string
}

// Between the two in the cookie; neither holds it.
const heldBetween = "~"

func (h held) value() string { return h.token.Reveal() + heldBetween + h.nonce }

// holds is what the browser holds; zero where it holds nothing of use.
func holds(v *visit) held {
	token, nonce, _ := strings.Cut(cookie(v, cookieLink), heldBetween)
	if !plain(token) || !plain(nonce) {
		return held{}
	}
	return held{token: polset.NewSecret(token), nonce: nonce}
}

// hold gives the browser a link. One that it holds already stays as it is: a
// link that is opened again breaks nothing that was begun with it.
func (w *Web) hold(v *visit, token polset.Secret) held {
	h := holds(v)
	if h.token.Reveal() != token.Reveal() {
		h = held{token: token, nonce: rand.Text()}
	}
	w.setCookie(v, cookieLink, h.value())
	return h
}

// open returns the link of a token.
func (w *Web) open(v *visit, t polset.Secret) (polset.SetupLink, error) {
	if t.Empty() {
		return polset.SetupLink{}, trouble(http.StatusForbidden, "This browser holds no set-up link", freshLink...)
	}
	l, err := w.Links.SetupLink(v.ctx, t)
	switch {
	case errors.Is(err, polset.ErrUnauthorized):
		return l, useless(err)
	case err != nil:
		return l, err
	}
	v.facts = append(v.facts, zap.String("link", l.ID), zap.String("purpose", string(l.Purpose)))
	return l, nil
}

var freshLink = []string{
	"Open the whole link that you were given in this browser.",
	"A site admin makes another with “polset github setup”.",
}

// useless is the one answer for a link that is unknown, expired or used.
func useless(cause error) *troubled {
	return trouble(http.StatusForbidden, "This set-up link does not work",
		"It may have expired, or it was used: each link works once.",
		"A site admin makes another with “polset github setup”.").because(cause)
}

const maxForm = 16 << 10

// readForm reads what a page posted; back is where the person finds it again.
func (v *visit) readForm(back string) error {
	v.request.Body = http.MaxBytesReader(v.response, v.request.Body, maxForm)
	if err := v.request.ParseForm(); err != nil {
		return trouble(http.StatusBadRequest, "The form could not be read", "Go back to the form and send it again.").
			because(err).offering("Back to the form", back)
	}
	return nil
}

// How long a person may take.
const (
	formLife   = 2 * time.Hour
	stateLife  = time.Hour // as long as GitHub's own code for a new App
	personLife = 5 * time.Minute
)
