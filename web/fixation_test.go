package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/web"
)

// TestFixation: Mallory, who manages umbrella, made a link, and sends another
// person's browser to it and on to GitHub. The first answer is a redirect, so
// that person sees no page of polset's before they install the App.
func TestFixation(t *testing.T) {
	install := func(state string) string {
		return back(web.PathInstalled, "code", personCode, "installation_id", "51", "setup_action", "install", "state", state)
	}
	sent := func(s *site, token string) *browser {
		b := s.browser()
		b.get("/setup/github?token=" + token).sends("/setup/github")
		return b
	}

	t.Run("a state of another browser with the same link", func(t *testing.T) {
		s := withApp(open(t))
		state := stateOf(t, s.begun(secondToken).get("/setup/github").holds("install"))
		victim := sent(s, secondToken)
		victim.get(install(state)).says(403, "not where this browser left")
		victim.get(web.PathBind).says(403)
		if s.hub.used[personCode] || len(s.rows.bound) != 0 {
			t.Errorf("bound %+v", s.rows.bound)
		}
	})

	t.Run("a state of another browser that creates the App", func(t *testing.T) {
		s := open(t)
		state := stateOf(t, s.begun(appToken).described("", "polset", "umbrella").holds("action"))
		sent(s, appToken).get(back(web.PathCreated, "code", appCode, "state", state)).says(403, "not where this browser left")
		if s.hub.used[appCode] || s.rows.app != nil {
			t.Error("the App was taken over")
		}
	})

	t.Run("a form of another browser with the same link", func(t *testing.T) {
		s := open(t)
		form := s.begun(appToken).get("/setup/github").holds("form")
		sent(s, appToken).post("/setup/github", url.Values{"form": {form}, "name": {"polset"}}).says(403, "too old")
	})

	t.Run("the link that installs what was created is as private", func(t *testing.T) {
		s := open(t)
		b := s.begun(appToken)
		b.get(back(web.PathCreated, "code", appCode, "state", stateOf(t, b.described("", "polset", "acme").holds("action")))).sends("https://")
		state := stateOf(t, b.get("/setup/github").holds("install"))
		sent(s, installToken).get(install(state)).says(403, "not where this browser left")
		b.get(install(state)).sends(web.PathBind)
	})

	t.Run("a link that is opened again", func(t *testing.T) {
		s := withApp(open(t))
		b := s.begun(secondToken)
		state := stateOf(t, b.get("/setup/github").holds("install"))
		b.get("/setup/github?token=" + secondToken).sends("/setup/github")
		b.get(install(state)).sends(web.PathBind)
		b.confirmed().says(200, "polset is connected")
	})

	t.Run("a link in between", func(t *testing.T) {
		s := withApp(open(t))
		s.rows.links["polset_setup_other"] = polset.SetupLink{ID: "setup-9", Purpose: polset.SetupInstall, Organization: "acme"}
		b := s.begun(secondToken)
		state := stateOf(t, b.get("/setup/github").holds("install"))
		b.get("/setup/github?token=polset_setup_other").sends("/setup/github")
		b.get("/setup/github?token=" + secondToken).sends("/setup/github")
		b.get(install(state)).says(403, "not where this browser left")
	})

	t.Run("a cookie without a nonce", func(t *testing.T) {
		s := withApp(open(t))
		at, err := url.Parse(s.URL + "/setup/github")
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range []string{secondToken, secondToken + "~", "~" + secondToken, secondToken + "~a~b", secondToken + "~" + strings.Repeat("a", 300)} {
			b := s.browser()
			b.Jar.SetCookies(at, []*http.Cookie{{Name: "polset_setup", Value: value, Path: "/setup"}})
			b.get("/setup/github").says(403, "no set-up link")
			b.get("/setup/github?token=" + secondToken).sends("/setup/github")
			b.get("/setup/github").says(200, "Install the App")
		}
	})
}

// TestConfirm: nothing is bound but what the person was shown and agreed to.
func TestConfirm(t *testing.T) {
	begin := func(t *testing.T, installation string) (*site, *browser) {
		s := withApp(open(t))
		b := s.begun(secondToken)
		state := stateOf(t, b.get("/setup/github").holds("install"))
		b.get(back(web.PathInstalled, "code", personCode, "installation_id", installation, "state", state)).sends(web.PathBind)
		return s, b
	}
	answer := func(b *browser, form string) view { return b.post(web.PathBind, url.Values{"form": {form}}) }

	t.Run("looking binds nothing", func(t *testing.T) {
		s, b := begin(t, "51")
		for range 3 {
			b.get(web.PathBind).says(200, "Let the organization <strong>umbrella</strong> of polset use the installation on <strong>acme</strong>",
				"octocat", "If you did not ask for this, close this page")
		}
		if len(s.rows.bound) != 0 {
			t.Errorf("bound %+v", s.rows.bound)
		}
	})

	t.Run("answers that are not to this question", func(t *testing.T) {
		s, b := begin(t, "51")
		good := b.get(web.PathBind).holds("form")
		_, other := begin(t, "51") // the same key, link and person in another browser
		theirs := other.get(web.PathBind).holds("form")
		for name, form := range map[string]string{"none": "", "junk": "x.y", "changed": "A" + good[1:], "another browser's": theirs} {
			t.Run(name, func(t *testing.T) { answer(b, form).says(403, "Nothing was changed") })
		}
		s.rows.set(func(r *rows) {
			l := r.links[secondToken]
			l.Organization = "renamed"
			r.links[secondToken] = l
		})
		answer(b, good).says(403, "Nothing was changed")
		b.post(web.PathBind, url.Values{"form": {strings.Repeat("a", 20<<10)}}).says(400, "could not be read")
		if len(s.rows.bound) != 0 {
			t.Errorf("bound %+v", s.rows.bound)
		}
	})

	t.Run("another installation meanwhile", func(t *testing.T) {
		s, b := begin(t, "51")
		old := b.get(web.PathBind).holds("form")
		s.hub.used = map[string]bool{}
		s.rows.set(func(r *rows) { r.installers[52] = octocat })
		state := stateOf(t, b.get("/setup/github").holds("install"))
		b.get(back(web.PathInstalled, "code", personCode, "installation_id", "52", "state", state)).sends(web.PathBind)
		answer(b, old).says(403, "did not come from this page")
		if len(s.rows.bound) != 0 {
			t.Errorf("bound %+v", s.rows.bound)
		}
	})

	t.Run("the installation goes meanwhile", func(t *testing.T) {
		s, b := begin(t, "51")
		form := b.get(web.PathBind).holds("form")
		s.rows.set(func(r *rows) { delete(r.installers, 51) })
		answer(b, form).sends(web.PathBind)
		b.get(web.PathBind).says(202, "Waiting for GitHub")
	})

	t.Run("after five minutes", func(t *testing.T) {
		s, b := begin(t, "51")
		form := b.get(web.PathBind).holds("form")
		s.wait(5 * time.Minute)
		answer(b, form).says(403, "does not know who you are any more")
		if len(s.rows.bound) != 0 {
			t.Errorf("bound %+v", s.rows.bound)
		}
	})
}
