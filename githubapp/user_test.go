package githubapp

import (
	"testing"

	"github.com/polset/polset"
)

func TestUser(t *testing.T) {
	w := newWorld(t)
	if user, err := w.client.User(t.Context(), w.connection("repo")); err != nil || user != "octocat" {
		t.Errorf("the token is %q's, %v", user, err)
	}
	wrong := w.connection("repo")
	wrong.Token = polset.NewSecret("ghp_wrong")
	_, err := w.client.User(t.Context(), wrong)
	if f := polset.FailureOf(err); f.Class != polset.ClassAuth {
		t.Errorf("a wrong token: %v", err)
	}
	elsewhere := w.connection("repo")
	elsewhere.APIURL = "http://169.254.169.254"
	if _, err := w.client.User(t.Context(), elsewhere); polset.FailureOf(err).Class != polset.ClassURLForbidden {
		t.Errorf("plain http to another host: %v", err)
	}
}
