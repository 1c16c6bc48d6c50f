package api_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
	"github.com/polset/polset/api"
)

func TestFollowingByInstallation(t *testing.T) {
	s := newServer(t)
	token, app, other := s.connect("acme").TokenID, s.install("acme", 42, "acme"), s.install("acme-labs", 43, "acme", "evilcorp")
	var looked, asked []polset.Remote
	s.head = func(_ context.Context, r polset.Remote, _ string) (polset.Head, error) {
		looked = append(looked, r)
		return polset.Head{Branch: "main", Commit: commit}, nil
	}
	known := s.facts
	s.facts = func(ctx context.Context, r polset.Remote) (polset.RepositoryFacts, error) {
		asked = append(asked, r)
		return known(ctx, r)
	}
	create := func(name, credentials string) answer {
		looked, asked = nil, nil
		return s.ask(acme, "POST", sets, `{"data":{"type":"policy-sets","attributes":{"name":"`+name+`","vcs-repo":{"identifier":"acme/policies",`+credentials+`}}}}`)
	}
	a := create("a", `"oauth-token-id":"","github-app-installation-id":"`+app.ID+`"`)
	if a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	remote := []polset.Remote{{HTTPURL: "https://github.com", Identifier: "acme/policies", Installation: 42}}
	if !cmp.Equal(looked, remote, secrets) || !cmp.Equal(asked, remote, secrets) {
		t.Errorf("looked at %+v, asked of %+v", looked, asked)
	}
	if d := s.lastDraft.VCS; d.InstallationID != app.ID || d.TokenID != "" || d.Head.Commit != commit || d.Facts.ID != 1296269 {
		t.Errorf("draft %+v", d)
	}
	for _, want := range []string{
		`"github-app-installation-id":"` + app.ID + `"`, `"service-provider":"github_app"`, `"oauth-token-id":null`,
		`"webhook-url":null,"webhook-status":null,"webhook-message":null}`,
	} {
		if !strings.Contains(a.body, want) {
			t.Errorf("no %s in %s", want, a.body)
		}
	}
	if a := create("null", `"oauth-token-id":null,"github-app-installation-id":"`+other.ID+`"`); a.status != http.StatusCreated {
		t.Errorf("%d %s", a.status, a.body)
	}
	const repo = "/data/attributes/vcs-repo"
	refused(t, create("x", `"oauth-token-id":"","github-app-installation-id":""`), http.StatusUnprocessableEntity, repo)
	refused(t, create("x", `"oauth-token-id":null,"github-app-installation-id":null`), http.StatusUnprocessableEntity, repo)
	refused(t, create("x", `"oauth-token-id":"`+token+`","github-app-installation-id":"`+app.ID+`"`), http.StatusUnprocessableEntity, repo)
	refused(t, create("x", `"github-app-installation-id":"ghain-/"`), http.StatusUnprocessableEntity, repo+"/github-app-installation-id")

	path := "/policy-sets/" + s.sets[0].ID
	for _, c := range []struct {
		name, credentials   string
		token, installation string
		looks               int
		secret              bool // the hook's is shown
	}{
		{"both empty", `"oauth-token-id":"","github-app-installation-id":""`, "", app.ID, 0, false},
		{"both null", `"oauth-token-id":null,"github-app-installation-id":null`, "", app.ID, 0, false},
		{"the same", `"oauth-token-id":"","github-app-installation-id":"` + app.ID + `"`, "", app.ID, 0, false},
		{"another installation", `"oauth-token-id":"","github-app-installation-id":"` + other.ID + `"`, "", other.ID, 1, false},
		{"a token", `"oauth-token-id":"` + token + `","github-app-installation-id":""`, token, "", 1, true},
		{"the same token", `"oauth-token-id":"` + token + `","github-app-installation-id":null`, token, "", 0, false},
		{"an installation again", `"github-app-installation-id":"` + app.ID + `"`, "", app.ID, 1, false},
		{"a token alone", `"oauth-token-id":"` + token + `"`, token, "", 1, true},
	} {
		t.Run("a change to "+c.name, func(t *testing.T) {
			looked, asked = nil, nil
			a := s.ask(acme, "PATCH", path, `{"data":{"type":"policy-sets","attributes":{"vcs-repo":{`+c.credentials+`}}}}`)
			if a.status != http.StatusOK {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if d := s.lastChange.VCS; d.TokenID != c.token || d.InstallationID != c.installation || d.Identifier != "acme/policies" {
				t.Errorf("change %+v", d)
			}
			if len(looked) != c.looks || len(asked) != c.looks {
				t.Errorf("%d looks, %d questions", len(looked), len(asked))
			}
			if strings.Contains(a.body, "webhook-secret") != c.secret {
				t.Errorf("the secret of the hook: %s", a.body)
			}
		})
	}
	refused(t, s.ask(acme, "PATCH", path, `{"data":{"type":"policy-sets","attributes":{"vcs-repo":{"oauth-token-id":"`+token+`","github-app-installation-id":"`+app.ID+`"}}}}`),
		http.StatusUnprocessableEntity, repo)

	t.Run("a suspended installation is followed without a look", func(t *testing.T) {
		s.installations[0].SuspendedAt = epoch
		if a := create("suspended", `"github-app-installation-id":"`+app.ID+`"`); a.status != http.StatusCreated || len(looked) != 0 || len(asked) != 0 ||
			s.lastDraft.VCS.InstallationID != app.ID || s.lastDraft.VCS.Head != (polset.Head{}) {
			t.Errorf("%d %s %+v", a.status, a.body, s.lastDraft.VCS)
		}
		looked, asked = nil, nil
		a := s.ask(acme, "PATCH", path, `{"data":{"type":"policy-sets","attributes":{"vcs-repo":{"github-app-installation-id":"`+app.ID+`"}}}}`)
		if a.status != http.StatusOK || len(looked) != 0 || len(asked) != 0 || s.lastChange.VCS.InstallationID != app.ID {
			t.Errorf("%d %s %+v", a.status, a.body, s.lastChange.VCS)
		}
	})
}

// secrets lets cmp look into what hides its content from everybody else.
var secrets = cmp.Comparer(func(a, b polset.Secret) bool { return a.Reveal() == b.Reveal() })

func TestRepositoryOutOfReach(t *testing.T) {
	s := newServer(t)
	token := s.connect("acme").TokenID
	create := func(name string) answer {
		return s.ask(acme, "POST", sets, `{"data":{"type":"policy-sets","attributes":{"name":"`+name+`","vcs-repo":{"identifier":"acme/policies","oauth-token-id":"`+token+`"}}}}`)
	}
	facts, err := s.facts(t.Context(), polset.Remote{Identifier: "acme/policies"})
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() (polset.RepositoryFacts, error){
		"auth":  func() (polset.RepositoryFacts, error) { return facts, polset.Fail(polset.ClassAuth, "no") },
		"odd":   func() (polset.RepositoryFacts, error) { return facts, errors.New("both") },
		"panic": func() (polset.RepositoryFacts, error) { panic("oh") },
	} {
		t.Run("a set is made although GitHub tells nothing: "+name, func(t *testing.T) {
			s.facts = func(context.Context, polset.Remote) (polset.RepositoryFacts, error) { return f() }
			logged := s.logs.FilterMessage("repository not seen at once").Len()
			if a := create(name); a.status != http.StatusCreated || s.lastDraft.VCS.Facts != (polset.RepositoryFacts{}) || s.lastDraft.VCS.Head.Commit != commit {
				t.Errorf("%d %s %+v", a.status, a.body, s.lastDraft.VCS)
			}
			if s.logs.FilterMessage("repository not seen at once").Len() != logged+1 {
				t.Error("nothing was logged")
			}
		})
	}
	t.Run("GitHub does not answer at all", func(t *testing.T) {
		s := newServer(t, func(c *api.Config) { c.HeadTimeout = time.Millisecond })
		token = s.connect("acme").TokenID
		s.facts = func(ctx context.Context, _ polset.Remote) (polset.RepositoryFacts, error) {
			<-ctx.Done()
			return facts, ctx.Err()
		}
		if a := s.ask(acme, "POST", sets, `{"data":{"type":"policy-sets","attributes":{"name":"n","vcs-repo":{"identifier":"acme/policies","oauth-token-id":"`+token+`"}}}}`); a.status != http.StatusCreated ||
			s.lastDraft.VCS.Facts != (polset.RepositoryFacts{}) || s.lastDraft.VCS.Head.Commit != commit {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("the branch and the repository are looked at together", func(t *testing.T) {
		// Each waits for the other to have begun.
		head, repository := make(chan struct{}), make(chan struct{})
		meet := func(ctx context.Context, mine, theirs chan struct{}) error {
			close(mine)
			select {
			case <-theirs:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		s.head = func(ctx context.Context, _ polset.Remote, _ string) (polset.Head, error) {
			return polset.Head{Branch: "main", Commit: commit}, meet(ctx, head, repository)
		}
		s.facts = func(ctx context.Context, _ polset.Remote) (polset.RepositoryFacts, error) {
			return facts, meet(ctx, repository, head)
		}
		if a := create("together"); a.status != http.StatusCreated || s.lastDraft.VCS.Head.Commit != commit || s.lastDraft.VCS.Facts != facts {
			t.Errorf("%d %s %+v", a.status, a.body, s.lastDraft.VCS)
		}
	})
}
