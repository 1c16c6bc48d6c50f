package source

import (
	"testing"

	"github.com/polset/polset"
)

func TestRemote(t *testing.T) {
	for _, test := range []struct {
		name, github, http, identifier string
		want                           string // "" for url-forbidden
	}{
		{"GitHub", "", "https://github.com", "acme/policies", "https://github.com/acme/policies.git"},
		{"GitHub dialed elsewhere", "http://git.test:3000", "https://github.com", "acme/policies", "http://git.test:3000/acme/policies.git"},
		{"in other letters", "http://git.test:3000", "HTTPS://GitHub.COM/", "acme/policies", "http://git.test:3000/acme/policies.git"},
		{"with its port", "http://git.test:3000", "https://github.com:443", "acme/policies", "http://git.test:3000/acme/policies.git"},
		{"below a path", "https://git.test/mirror/", "https://github.com", "acme/policies", "https://git.test/mirror/acme/policies.git"},
		{"the operator's own", "http://git.test:3000", "http://git.test:3000", "acme/policies", "http://git.test:3000/acme/policies.git"},
		{"Enterprise Server", "", "https://ghes.example:8443", "acme/policies", "https://ghes.example:8443/acme/policies.git"},
		{"Enterprise Server below a path", "", "https://ghes.example/git/", "acme/policies", "https://ghes.example/git/acme/policies.git"},
		{"dots and hyphens", "", "https://github.com", "a-b/.c_d.e", "https://github.com/a-b/.c_d.e.git"},
		{"case 34 http", "", "http://github.com", "acme/policies", ""},
		{"case 34 http on another port of the operator's", "http://git.test:3000", "http://git.test:3001", "acme/policies", ""},
		{"case 34 http elsewhere", "http://git.test:3000", "http://ghes.example", "acme/policies", ""},
		{"case 35 userinfo", "", "https://user:pw@github.com", "acme/policies", ""},
		{"case 35 host as user name", "", "https://github.com@evil.example", "acme/policies", ""},
		{"case 35 trailing dot", "", "https://github.com.", "acme/policies", ""},
		{"case 35 another port is another host", "http://git.test:3000", "https://github.com:8443", "acme/policies", "https://github.com:8443/acme/policies.git"},
		{"case 35 port 0", "", "https://github.com:0", "acme/policies", ""},
		{"case 35 empty port", "", "https://github.com:", "acme/policies", ""},
		{"case 35 query", "", "https://github.com?x", "acme/policies", ""},
		{"case 35 fragment", "", "https://github.com#", "acme/policies", ""},
		{"case 37 number", "", "https://0x7f000001", "acme/policies", ""},
		{"case 37 short number", "", "https://127.1", "acme/policies", ""},
		{"case 37 one number", "", "https://2130706433", "acme/policies", ""},
		{"scheme", "", "ssh://github.com", "acme/policies", ""},
		{"no scheme", "", "github.com", "acme/policies", ""},
		{"empty", "", "", "acme/policies", ""},
		{"path climbs", "", "https://ghes.example/../x", "acme/policies", ""},
		{"no owner", "", "https://github.com", "policies", ""},
		{"empty owner", "", "https://github.com", "/policies", ""},
		{"three parts", "", "https://github.com", "a/b/c", ""},
		{"name climbs", "", "https://github.com", "acme/..", ""},
		{"owner is a dot", "", "https://github.com", "./policies", ""},
		{"encoded", "", "https://github.com", "acme/%2e%2e", ""},
		{"query in the name", "", "https://github.com", "acme/x?y", ""},
		{"tilde", "", "https://github.com", "~acme/x", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, err := New(Config{GitHubURL: test.github})
			if err != nil {
				t.Fatal(err)
			}
			r, err := g.remote(polset.Remote{HTTPURL: test.http, Identifier: test.identifier})
			if test.want == "" {
				if polset.FailureOf(err).Class != polset.ClassURLForbidden || err == nil {
					t.Errorf("got %v, %v", r, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if r.url.String() != test.want {
				t.Errorf("dials %s, want %s", r.url, test.want)
			}
		})
	}
	for _, bad := range []string{"github.com", "ftp://x", "https://u:p@x", "http://"} {
		if _, err := New(Config{GitHubURL: bad}); err == nil {
			t.Errorf("POLSET_GITHUB_URL %q was accepted", bad)
		}
	}
}

func TestRelativeTo(t *testing.T) {
	for _, test := range []struct{ base, relative, want string }{
		{"https://h/o/r", "../lib.git", "https://h/o/lib.git"},
		{"https://h/o/r/", "../lib", "https://h/o/lib"},
		{"https://h/o/r", "../../p/lib", "https://h/p/lib"},
		{"https://h/o/r", "./lib", "https://h/o/r/lib"},
		{"https://h/o/r", ".././../p/lib", "https://h/p/lib"},
		{"https://h/o/r", "../../../x", ""},
		{"https://h/o/r", "../../../../x", ""},
		{"https://h:1/o/r", "../../p/../q", "https://h:1/p/../q"}, // judged later
	} {
		if got := relativeTo(test.base, test.relative); got != test.want {
			t.Errorf("%s against %s is %q, want %q", test.relative, test.base, got, test.want)
		}
	}
}

func TestRedact(t *testing.T) {
	for raw, want := range map[string]string{
		"https://u:p@h/x":        "https://h/x",
		"https://u:p@q@h/x@y":    "https://h/x@y",
		"ssh://git:p@h:22/x?t=1": "ssh://h:22/x",
		"git@h:x":                "git@h:x",
		"u:p@h:x":                "h:x",
		"https://h":              "https://h",
		"":                       "",
	} {
		if got := redact(raw); got != want {
			t.Errorf("%s is shown as %s, want %s", raw, got, want)
		}
	}
	if got := quote("a\u202eb\n"); got == "a\u202eb\n" {
		t.Error("control and direction marks are not escaped")
	}
	if got := quote(string(make([]byte, 5000))); len(got) > 256 {
		t.Errorf("%d bytes are shown", len(got))
	}
}
