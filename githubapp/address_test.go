package githubapp

import (
	"strings"
	"testing"

	"github.com/polset/polset"
)

func TestBases(t *testing.T) {
	for _, test := range []struct{ http, api, wantHTTP, wantAPI, wrong string }{
		{"", "", "https://github.com", "https://api.github.com", ""},
		{"https://ghe.example.com/", "", "https://ghe.example.com", "https://ghe.example.com/api/v3", ""},
		{"https://ghe.example.com", "https://ghe.example.com/api/v3/", "https://ghe.example.com", "https://ghe.example.com/api/v3", ""},
		{"http://ghe.internal:8080", "", "http://ghe.internal:8080", "http://ghe.internal:8080/api/v3", ""},
		{"ftp://x", "", "", "", "only https"},
		{"https://user:word@x", "", "", "", "user name"},
		{"", "https://x/?a=b", "", "", "query"},
		{"https://", "", "", "", "no host"},
	} {
		client, err := New(Config{HTTPURL: test.http, APIURL: test.api})
		if test.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), test.wrong) {
				t.Errorf("%q and %q: %v, want %q", test.http, test.api, err, test.wrong)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q and %q: %v", test.http, test.api, err)
			continue
		}
		if client.web.String() != test.wantHTTP || client.api.String() != test.wantAPI {
			t.Errorf("%q and %q are %s and %s", test.http, test.api, client.web, client.api)
		}
	}
}

func TestRemoteBases(t *testing.T) {
	client := newClient(t, Config{HTTPURL: "http://ghe.internal", APIURL: "http://ghe.internal/api/v3"})
	for _, test := range []struct {
		remote polset.Remote
		want   string // "" where it is forbidden
	}{
		{polset.Remote{}, "http://ghe.internal/api/v3"},
		{polset.Remote{APIURL: "https://api.github.com"}, "http://ghe.internal/api/v3"},
		{polset.Remote{APIURL: "https://API.github.com:443/"}, "http://ghe.internal/api/v3"},
		{polset.Remote{APIURL: "https://other.example.com/api/v3/"}, "https://other.example.com/api/v3"},
		{polset.Remote{APIURL: "http://ghe.internal/api/v3"}, "http://ghe.internal/api/v3"},
		{polset.Remote{APIURL: "https://evil.example.com", Installation: 1}, "http://ghe.internal/api/v3"},
		{polset.Remote{APIURL: "http://other.example.com"}, ""},
		{polset.Remote{APIURL: "https://u:p@other.example.com"}, ""},
		{polset.Remote{APIURL: "https://other.example.com/a b"}, ""},
		{polset.Remote{APIURL: "://"}, ""},
	} {
		got, err := client.base(test.remote)
		switch {
		case test.want == "" && err == nil:
			t.Errorf("%q is dialed at %s", test.remote.APIURL, got)
		case test.want == "":
			failureWith(t, err, polset.ClassURLForbidden, false)
		case err != nil:
			t.Errorf("%q: %v", test.remote.APIURL, err)
		case got.String() != test.want:
			t.Errorf("%q is dialed at %s, want %s", test.remote.APIURL, got, test.want)
		}
	}
}

// TestBothBases shows that the API may be below a path or at a root.
func TestBothBases(t *testing.T) {
	w := newWorld(t)
	w.repo.Commit("main", map[string]string{"a": "b"})
	for _, api := range []string{w.github.APIURL(), w.github.RootAPIURL()} {
		client := newClient(t, Config{Apps: w.apps, HTTPURL: w.github.URL(), APIURL: api, Now: w.clock.now})
		for _, r := range []polset.Remote{w.remote(), {
			HTTPURL: "https://github.com", APIURL: "https://api.github.com", Identifier: "acme/policies", Token: w.connection("repo").Token,
		}} {
			if _, err := client.Repository(t.Context(), r); err != nil {
				t.Errorf("at %s: %v", api, err)
			}
		}
	}
}
