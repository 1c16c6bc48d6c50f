package web_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/web"
)

func TestInstalled(t *testing.T) {
	begin := func(t *testing.T) (*site, *browser, string) {
		s := withApp(open(t))
		b := s.begun(secondToken)
		return s, b, stateOf(t, b.get("/setup/github").says(200, "Install the App", "umbrella").holds("install"))
	}
	come := func(b *browser, installation, state string) view {
		return b.get(back(web.PathInstalled, "code", personCode, "installation_id", installation, "setup_action", "install", "state", state))
	}

	t.Run("from GitHub's own pages", func(t *testing.T) {
		s := withApp(open(t))
		for _, b := range []*browser{s.browser(), s.begun(secondToken)} {
			b.get(back(web.PathInstalled, "code", personCode, "installation_id", "51", "setup_action", "install")).
				says(200, "The GitHub App is installed", "A site admin binds it", "set-up link")
		}
		if s.hub.used[personCode] || len(s.rows.bound) != 0 {
			t.Error("something came of it")
		}
	})

	t.Run("only asked for", func(t *testing.T) {
		s, b, state := begin(t)
		b.get(back(web.PathInstalled, "code", personCode, "setup_action", "request", "state", state)).says(200, "An owner has to approve")
		s.browser().get(back(web.PathInstalled, "setup_action", "request")).says(200, "An owner has to approve")
	})

	t.Run("somebody else's installation", func(t *testing.T) {
		s, b, state := begin(t)
		come(b, "666", state).says(403, "This installation is not yours")
		b.get(web.PathBind).says(403)
		if len(s.rows.bound) != 0 {
			t.Errorf("bound %+v", s.rows.bound)
		}
	})

	t.Run("reachable, but made by another", func(t *testing.T) {
		s, b, state := begin(t)
		come(b, "52", state).sends(web.PathBind)
		b.get(web.PathBind).says(202, "Waiting for GitHub")
		s.wait(time.Minute)
		b.get(web.PathBind).says(409, "somebody else installed it", "polset github bind")
		if len(s.rows.bound) != 0 {
			t.Errorf("bound %+v", s.rows.bound)
		}
	})

	t.Run("nobody", func(t *testing.T) {
		s, b, state := begin(t)
		s.hub.person = web.Person{Installations: []int64{51}}
		come(b, "51", state).says(403, "not yours")
	})

	for name, installation := range map[string]string{"unknown yet": "54", "installer unknown yet": "53"} {
		t.Run("the delivery comes later: "+name, func(t *testing.T) {
			s, b, state := begin(t)
			come(b, installation, state).sends(web.PathBind)
			for range 3 {
				v := b.get(web.PathBind).says(202, `<meta http-equiv="refresh" content="3; url=/setup/github/bind">`)
				if strings.Contains(v.html, "code=") {
					t.Error("the page needs the code again")
				}
				s.wait(3 * time.Second)
			}
			s.rows.set(func(r *rows) { r.installers[53], r.installers[54] = octocat, octocat })
			b.confirmed().says(200, "polset is connected", "umbrella")
		})
		t.Run("the delivery never comes: "+name, func(t *testing.T) {
			s, b, state := begin(t)
			come(b, installation, state).sends(web.PathBind)
			s.wait(61 * time.Second)
			v := b.get(web.PathBind).says(409, "site admin", "Look again")
			if strings.Contains(v.html, "refresh") {
				t.Error("the page still refreshes itself")
			}
			s.wait(4 * time.Minute)
			b.get(web.PathBind).says(403, "does not know who you are any more")
		})
	}

	t.Run("forged state", func(t *testing.T) {
		s, b, state := begin(t)
		s.rows.links["polset_setup_mallory"] = polset.SetupLink{ID: "setup-9", Purpose: polset.SetupInstall}
		mallory := stateOf(t, s.begun("polset_setup_mallory").get("/setup/github").holds("install"))
		for name, forged := range map[string]string{"junk": "x.y", "changed": "A" + state[1:], "another link's": mallory} {
			t.Run(name, func(t *testing.T) { come(b, "51", forged).says(403, "not where this browser left") })
		}
		s.browser().get(back(web.PathInstalled, "code", personCode, "installation_id", "51", "state", state)).says(403, "no set-up link")
		if s.hub.used[personCode] {
			t.Error("the code was used")
		}
		s.wait(time.Hour)
		come(b, "51", state).says(403, "longer than an hour")
	})

	t.Run("what GitHub left out", func(t *testing.T) {
		_, b, state := begin(t)
		for _, id := range []string{"", "0", "-1", "x", "1e3", "99999999999999999999"} {
			come(b, id, state).says(400, "did not say who installed what")
		}
		b.get(back(web.PathInstalled, "installation_id", "51", "state", state)).says(400, "did not say")
		b.get(back(web.PathInstalled, "error", "access_denied", "state", state)).says(400, "did not say")
	})

	t.Run("codes", func(t *testing.T) {
		s, b, state := begin(t)
		b.get(back(web.PathInstalled, "code", "another", "installation_id", "51", "state", state)).says(400, "does not accept this code")
		s.hub.err = polset.Fail(polset.ClassAuth, "github.example does not accept the App's client secret.")
		if v := come(b, "51", state).says(502, "client secret", "polset github bind"); strings.Contains(v.html, "Reload") {
			t.Error("the page advises to do the same again")
		}
		s.hub.err = &polset.Failure{Class: polset.ClassTimeout, Message: "github.example did not answer in time.", Retry: true}
		come(b, "51", state).says(502, "did not answer in time")
		s.hub.err = errors.New("dial 10.1.2.3")
		if v := come(b, "51", state).says(502, "could not ask GitHub"); strings.Contains(v.html, "10.1.2.3") {
			t.Error("the page shows internals")
		}
	})

	t.Run("twice", func(t *testing.T) {
		s, b, state := begin(t)
		second := s.begun(secondToken)
		come(b, "51", state).sends(web.PathBind)
		come(b, "51", state).says(400, "does not accept this code")
		b.confirmed().says(200, "polset is connected")
		second.get("/setup/github").says(403, "does not work")
		come(b, "51", state).says(403, "no set-up link")
		if len(s.rows.bound) != 1 {
			t.Errorf("bound %d times", len(s.rows.bound))
		}
	})

	t.Run("used up meanwhile", func(t *testing.T) {
		s, b, state := begin(t)
		come(b, "51", state).sends(web.PathBind)
		form := b.get(web.PathBind).holds("form")
		s.rows.set(func(r *rows) { delete(r.links, secondToken) })
		b.get(web.PathBind).says(403, "does not work")
		b.post(web.PathBind, url.Values{"form": {form}}).says(403, "does not work")
	})

	t.Run("a ticket of another link, or a forged one", func(t *testing.T) {
		s, b, state := begin(t)
		s.rows.links["polset_setup_other"] = polset.SetupLink{ID: "setup-9", Purpose: polset.SetupInstall, Organization: "acme"}
		come(b, "51", state).sends(web.PathBind)
		other := s.begun("polset_setup_other")
		at, err := url.Parse(s.URL + "/setup/github")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range b.Jar.Cookies(at) {
			if c.Name == "polset_setup_person" {
				other.Jar.SetCookies(at, []*http.Cookie{{Name: c.Name, Value: c.Value, Path: "/setup"}})
			}
		}
		other.get(web.PathBind).says(403, "does not know who you are")
		other.Jar.SetCookies(at, []*http.Cookie{{Name: "polset_setup_person", Value: "e30.e30", Path: "/setup"}})
		other.get(web.PathBind).says(403, "does not know who you are")

		// A good signature over something else does not do.
		body, mac, _ := strings.Cut(state, ".")
		raw, err := base64.RawURLEncoding.DecodeString(body)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(raw), `"step":"install"`, `"step":"person","user":99,"login":"mallory","inst":52`, 1)
		if changed == string(raw) {
			t.Fatalf("ticket %s", raw)
		}
		for _, mac := range []string{mac, "", "AAAA"} {
			b.Jar.SetCookies(at, []*http.Cookie{{Name: "polset_setup_person", Value: base64.RawURLEncoding.EncodeToString([]byte(changed)) + "." + mac, Path: "/setup"}})
			b.get(web.PathBind).says(403, "does not know who you are")
		}
		if len(s.rows.bound) != 0 {
			t.Error("bound")
		}
	})

	t.Run("a link to create an App", func(t *testing.T) {
		s := withApp(open(t))
		b := s.begun(appToken)
		b.get(back(web.PathInstalled, "code", personCode, "installation_id", "51", "state", "x.y")).says(403)
	})

	t.Run("no App", func(t *testing.T) {
		s := open(t)
		s.begun(secondToken).get("/setup/github").says(409, "There is no GitHub App yet")
	})

	t.Run("an App of which polset cannot ask who installs it", func(t *testing.T) {
		s := withApp(open(t))
		s.rows.app.ClientSecret = polset.Secret{}
		s.begun(secondToken).get("/setup/github").says(409, "client secret", "polset github bind")
	})

	t.Run("without an organization", func(t *testing.T) {
		s := withApp(open(t))
		s.rows.links[secondToken] = polset.SetupLink{ID: "setup-3", Purpose: polset.SetupInstall}
		b := s.begun(secondToken)
		state := stateOf(t, b.get("/setup/github").says(200, "A site admin then says").holds("install"))
		come(b, "51", state).sends(web.PathBind)
		b.get(web.PathBind).says(200, "Is this your installation?", "You installed the App on <strong>acme</strong>")
		b.confirmed().says(200, "No organization may use it yet")
	})
}
