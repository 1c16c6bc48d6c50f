package web_test

import (
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/web"
)

func TestForm(t *testing.T) {
	t.Run("what is wrong is said, and what was written is kept", func(t *testing.T) {
		s := open(t)
		b := s.begun(appToken)
		for name, test := range map[string]struct{ owner, name, organization, says string }{
			"owner":           {"acme/corp", "polset", "", "Write the organization as it stands in its address"},
			"owner is a path": {"../../evil", "polset", "", "Write the organization"},
			"no name":         {"acme", " ", "", "The App needs a name."},
			"long name":       {"acme", strings.Repeat("é", 35), "", "35 characters"},
			"control":         {"acme", "pol\u202eset", "", "cannot be shown"},
			"organization":    {"acme", "polset", "nobody", "There is no such organization"},
		} {
			t.Run(name, func(t *testing.T) {
				v := b.described(test.owner, test.name, test.organization).says(422, test.says, `role="alert"`, `aria-invalid="true"`)
				if !strings.Contains(v.html, html.EscapeString(test.owner)) {
					t.Error("what was written is lost")
				}
			})
		}
		b.described("acme", "", "umbrella").says(422, "<option selected>umbrella</option>")
		b.described(" acme ", "polset", "umbrella").says(200, "umbrella")
	})

	t.Run("own account", func(t *testing.T) {
		s := open(t)
		action := s.begun(appToken).described("", "polset", "").says(200, "your own account").holds("action")
		if !strings.HasPrefix(action, "https://github.example/settings/apps/new?state=") {
			t.Errorf("action %s", action)
		}
	})

	t.Run("private unless it is said otherwise", func(t *testing.T) {
		s := open(t)
		b := s.begun(appToken)
		form := b.get("/setup/github").says(200, "It may be installed on other accounts too").holds("form")
		for name, test := range map[string]struct {
			form   url.Values
			public bool
			says   string
		}{
			"of an organization": {url.Values{"owner": {"acme-corp"}}, false, "The App is private: only acme-corp can install it"},
			"of a person":        {url.Values{}, false, "The App is private: only your own account can install it"},
			"public":             {url.Values{"owner": {"acme-corp"}, "public": {"yes"}}, true, "The App is public: any account on github.example can install it"},
		} {
			t.Run(name, func(t *testing.T) {
				test.form.Set("form", form)
				test.form.Set("name", "polset")
				var manifest struct {
					Public *bool `json:"public"`
				}
				v := b.post("/setup/github", test.form).says(200, test.says)
				if err := json.Unmarshal([]byte(v.holds("manifest")), &manifest); err != nil || manifest.Public == nil || *manifest.Public != test.public {
					t.Errorf("manifest %+v, %v", manifest, err)
				}
				test.form.Set("name", "")
				if v := b.post("/setup/github", test.form).says(422); strings.Contains(v.html, " checked>") != test.public {
					t.Error("the choice is lost")
				}
			})
		}
		if strings.Contains(b.get("/setup/github").html, " checked>") {
			t.Error("an App is public by default")
		}
	})

	t.Run("an organization that was chosen stays", func(t *testing.T) {
		s := open(t)
		b := s.begun(appToken)
		b.described("", "polset", "umbrella").says(200)
		lists := len(s.rows.asked)
		v := b.get("/setup/github").says(200, "umbrella")
		if strings.Contains(v.html, "<option") || len(s.rows.asked) != lists {
			t.Error("others can still be chosen")
		}
		form := v.holds("form")
		b.post("/setup/github", url.Values{"form": {form}, "name": {"polset"}, "organization": {"acme"}}).says(422, "this link is for another one")
		b.post("/setup/github", url.Values{"form": {form}, "name": {"polset"}}).says(200, "umbrella")
	})

	t.Run("many organizations", func(t *testing.T) {
		s := open(t)
		s.rows.organizations = nil
		for i := range 1234 {
			s.rows.organizations = append(s.rows.organizations, fmt.Sprintf("team-%04d", i))
		}
		v := s.begun(appToken).get("/setup/github").says(200, "team-0100", "team-0999")
		if strings.Contains(v.html, "team-1000") {
			t.Error("more than a thousand are listed")
		}
	})

	t.Run("names are escaped", func(t *testing.T) {
		s := open(t)
		evil := `<script>alert(1)</script>"'&`
		s.rows.organizations = []string{evil}
		b := s.begun(appToken)
		b.get("/setup/github").says(200, html.EscapeString(`<script>`))
		page := b.described("", `<script>"`, evil).says(200)
		var manifest struct {
			Name string `json:"name"`
		}
		if err := json.Unmarshal([]byte(page.holds("manifest")), &manifest); err != nil || manifest.Name != `<script>"` {
			t.Errorf("manifest %+v, %v", manifest, err)
		}
		s.rows.set(func(r *rows) {
			r.app = &polset.App{Name: evil, Slug: "x", ClientSecret: polset.NewSecret("client-secret")}
		})
		b.get("/setup/github").says(409)
		s.rows.links[secondToken] = polset.SetupLink{ID: "setup-3", Purpose: polset.SetupInstall, Organization: evil}
		s.begun(secondToken).get("/setup/github").says(200, html.EscapeString("<script>"))
	})

	t.Run("forged by another site", func(t *testing.T) {
		s := open(t)
		b := s.begun(appToken)
		theirs := s.begun(secondToken)
		other := open(t, func(c *web.Config) { c.StateKey = []byte("another key of thirty-two bytes!") })
		good := b.get("/setup/github").holds("form")
		stolen := other.begun(appToken).get("/setup/github").holds("form")
		state := stateOf(t, b.described("", "polset", "").holds("action"))
		for name, form := range map[string]string{
			"none": "", "junk": "x", "changed": "A" + good[1:], "cut": good[:len(good)-2], "of another key": stolen, "a state": state, "long": strings.Repeat("a", 3000), "dots": "..", "mac only": "." + strings.SplitN(good, ".", 2)[1],
		} {
			t.Run(name, func(t *testing.T) {
				b.post("/setup/github", url.Values{"form": {form}, "name": {"polset"}, "organization": {"acme"}}).says(403, "too old")
			})
		}
		theirs.post("/setup/github", url.Values{"form": {good}, "name": {"polset"}}).says(403, "too old")
		s.wait(2 * time.Hour)
		b.post("/setup/github", url.Values{"form": {good}, "name": {"polset"}}).says(403, "too old")
		if s.rows.links[appToken].Organization != "" {
			t.Error("a forged form chose an organization")
		}
	})

	t.Run("large", func(t *testing.T) {
		b := open(t).begun(appToken)
		b.post("/setup/github", url.Values{"form": {strings.Repeat("a", 20<<10)}}).says(400, "could not be read")
	})
}
