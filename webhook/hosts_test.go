package webhook_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset/webhook"
)

// TestHosts shows that names and numbers are those of one host: a repository of
// an Enterprise server says nothing of the namesake elsewhere.
func TestHosts(t *testing.T) {
	const (
		public = "https://github.com"
		own    = "https://ghes.example.com"
		mirror = "http://127.0.0.1:8080"
	)
	bodies := map[string]func(t *testing.T, edit func(object)) []byte{
		"push":         func(t *testing.T, edit func(object)) []byte { return payload(t, edit) },
		"pull_request": func(t *testing.T, edit func(object)) []byte { return marshal(t, pullEvent(), edit) },
		"repository":   func(t *testing.T, edit func(object)) []byte { return marshal(t, renamedEvent(), edit) },
		"push of a branch that was deleted": func(t *testing.T, edit func(object)) []byte {
			return payload(t, func(e object) {
				edit(e)
				e["deleted"], e["after"] = true, zero
			})
		},
	}
	for name, test := range map[string]struct {
		hosts []string
		link  any
		want  []string // nil: ignored
	}{
		"of one host":                          {[]string{public}, public + "/a/b", []string{public}},
		"of one host, written twice":           {[]string{public, "https://GitHub.com:443/"}, "https://elsewhere.example/a/b", []string{public}},
		"of one host, without a link":          {[]string{own}, nil, []string{own}},
		"of github.com":                        {[]string{public, own}, public + "/a/b", []string{public}},
		"of github.com, in other words":        {[]string{public, own}, "HTTPS://GITHUB.COM:443/a/b", []string{public}},
		"of the one that is dialed for it":     {[]string{public, own}, own + "/a/b", []string{own, public}},
		"of a server with a port":              {[]string{public, mirror}, mirror + "/a/b", []string{mirror, public}},
		"of another port":                      {[]string{public, mirror}, "http://127.0.0.1:8081/a/b", nil},
		"of another scheme":                    {[]string{public, own}, "http://github.com/a/b", nil},
		"of two, neither of them github.com":   {[]string{mirror, own}, own + "/a/b", []string{own}},
		"elsewhere":                            {[]string{public, own}, "https://ghes.example.com.evil.example/a/b", nil},
		"elsewhere, with a name that misleads": {[]string{public, own}, "https://github.com@evil.example/a/b", nil},
		"without a link":                       {[]string{public, own}, nil, nil},
		"with a link that is no URL":           {[]string{public, own}, "://", nil},
	} {
		for _, kind := range slices.Sorted(maps.Keys(bodies)) {
			t.Run(name+": "+kind, func(t *testing.T) {
				s := serve(t, func(c *webhook.Config) { c.HTTPURLs = test.hosts })
				body := bodies[kind](t, set(test.link, "repository", "html_url"))
				event, _, _ := strings.Cut(kind, " ")
				got := s.send(delivery(event, body))
				deliveries, pushes, reasons := s.memory.recorded()
				meant := len(pushes) + len(s.memory.meant())
				if len(deliveries) != 1 {
					t.Fatalf("answer %d %s, recorded %+v", got.code, got.raw, deliveries)
				}
				if test.want == nil {
					const reason = "the repository is at none of polset's hosts"
					if got.code != 200 || meant != 0 || !slices.Equal(reasons, []string{reason}) {
						t.Errorf("answer %d %s, reasons %q", got.code, got.raw, reasons)
					}
					return
				}
				if diff := cmp.Diff(test.want, deliveries[0].HTTPURLs); diff != "" || meant != 1 {
					t.Errorf("answer %d %s, hosts %s", got.code, got.raw, diff)
				}
			})
		}
	}

	t.Run("at a repository's own hook", func(t *testing.T) {
		s := serve(t, func(c *webhook.Config) { c.HTTPURLs = []string{public, own} })
		body := payload(t, set("https://elsewhere.example/a/b", "repository", "html_url"))
		s.answered(delivery("push", body).to(ownID, body), 202, "accepted")
	})

	t.Run("an installation", func(t *testing.T) {
		s := serve(t, func(c *webhook.Config) { c.HTTPURLs = []string{public, own} })
		s.answered(delivery("installation", marshal(t, installationEvent(),
			set(own+"/settings/installations/51", "installation", "html_url"))), 200, "accepted")
		if got := s.memory.installations[0].Installation; got.HTTPURL != own {
			t.Errorf("host %q", got.HTTPURL)
		}
	})
}
