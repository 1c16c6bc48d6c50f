package hub_test

import (
	"errors"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset/internal/polsettest"
	"github.com/polset/polset/internal/polsettest/hub"
)

func TestFaults(t *testing.T) {
	w := newWorld(t)
	token := w.installation.Token()
	const runs = "POST /repos/{owner}/{repo}/check-runs"
	create := func() answer {
		return w.ask("POST /repos/acme/policies/check-runs", token, object{"name": "a", "head_sha": w.commit})
	}
	w.Fault(runs, polsettest.Times(1, hub.Lost()))
	if a := create(); a.status != 0 {
		t.Errorf("a lost answer arrived: %d", a.status)
	}
	if n := len(w.policies.CheckRuns(w.commit)); n != 1 {
		t.Errorf("%d check runs were made", n)
	}
	create().want(t, 201)
	reset := w.clock.Now().Add(time.Hour)
	w.Fault(runs, polsettest.RateLimited(reset))
	if a := create().want(t, 403); a.header.Get("X-RateLimit-Remaining") != "0" {
		t.Errorf("the header is %v", a.header)
	}
	w.ask("GET /repos/acme/policies", token, nil).want(t, 200)
	w.Fault(runs, polsettest.SecondaryRateLimited(time.Minute))
	if a := create().want(t, 403, "You have exceeded a secondary rate limit"); a.header.Get("Retry-After") != "60" {
		t.Errorf("the header is %v", a.header)
	}
	w.Fault(runs, polsettest.TooManyRequests(time.Second))
	create().want(t, 429)
	w.Fault(runs, nil)
	create().want(t, 201)
	w.Fault("", polsettest.When(polsettest.IsRepository("repos/acme"), polsettest.Status(500, "{}")))
	create().want(t, 500)
	w.ask("GET /installation/repositories", token, nil).want(t, 200)
	w.Fault("", nil)

	// What is malformed is told even where a fault stands in the way.
	w.Fault(runs, polsettest.Status(502, ""))
	w.ask("POST /repos/acme/policies/check-runs", token, object{"name": "a"}).want(t, 422)
	if len(w.violated()) == 0 {
		t.Error("the fault has hidden a malformed request")
	}
	w.Fault(runs, nil)

	w.ResetCalls()
	create()
	calls := w.Calls()
	if len(calls) != 1 || calls[0].Route != runs || calls[0].Repository != w.policies.ID() || calls[0].Auth != "installation" ||
		calls[0].Installation != w.installation.ID() || calls[0].Status != 201 || calls[0].Token != token {
		t.Errorf("the calls are %+v", calls)
	}
}

func TestOutages(t *testing.T) {
	w := newWorld(t)
	token := w.installation.Token()
	get := func() answer { return w.ask("GET /repos/acme/policies", token, nil) }
	w.Down(hub.Outage{REST: true})
	get().want(t, 503)
	if err := clone(t, w, w.policies, token); err != nil {
		t.Error(err)
	}
	w.Down(hub.Outage{Git: true, Status: 502})
	get().want(t, 200)
	if err := clone(t, w, w.policies, token); err == nil || !strings.Contains(err.Error(), "502") {
		t.Errorf("git said %v", err)
	}
	w.Down(hub.Outage{Deliveries: true})
	w.policies.Push("main", map[string]string{"a": "b"})
	if d := w.app.Deliveries(); !d[len(d)-1].Failed() || len(w.receiver.events()) != 0 {
		t.Errorf("the delivery is %+v", d[len(d)-1])
	}
	w.Down(hub.Outage{Refuse: true})
	for _, address := range []string{w.URL(), w.RootAPIURL()} {
		_, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
		var refused *net.OpError
		if !errors.As(err, &refused) {
			t.Errorf("dialling %s is %v", address, err)
		}
	}
	if a := get(); a.status != 0 {
		t.Errorf("a connection that was alive is answered %d", a.status)
	}
	w.Down(hub.Outage{})
	get().want(t, 200)
}

// clone clones a repository with a token, or with none.
func clone(t *testing.T, w *world, r *hub.Repository, token string) error {
	t.Helper()
	address := w.URL() + "/" + r.Identifier() + ".git"
	return cloneURL(t, address, token)
}

func cloneURL(t *testing.T, address, token string) error {
	t.Helper()
	if token != "" {
		address = strings.Replace(address, "http://", "http://x-access-token:"+token+"@", 1)
	}
	cmd := exec.Command("git", "clone", "--quiet", address, t.TempDir())
	cmd.Env = polsettest.GitEnv()
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.New(string(out))
	}
	return nil
}

// TestGitAccess checks who may fetch what.
func TestGitAccess(t *testing.T) {
	w := newWorld(t)
	other := w.Repository("acme/other")
	other.Commit("main", map[string]string{"a": "b"})
	foreign := w.Repository("globex/rules")
	foreign.Commit("main", map[string]string{"a": "b"})
	mint := func(body object) string {
		t.Helper()
		a := w.ask("POST /app/installations/"+number(w.installation.ID())+"/access_tokens", signed(t, w, nil), body).want(t, 201)
		token, _ := a.body["token"].(string)
		return token
	}
	narrow := mint(object{"repository_ids": []int64{w.policies.ID()}, "permissions": object{"contents": "read"}})
	blind := mint(object{"permissions": object{"checks": "write"}})
	personal := w.PersonalToken(w.User("octocat"), "repo")
	for name, test := range map[string]struct {
		repository *hub.Repository
		token      string
		want       string // "" succeeds
	}{
		"narrowed to it":      {w.policies, narrow, ""},
		"narrowed to another": {other, narrow, "not found"},
		"another's":           {foreign, narrow, "not found"},
		"without contents":    {w.policies, blind, "403"},
		"whole":               {other, w.installation.Token(), ""},
		"personal":            {w.policies, personal, ""},
		"personal, stranger":  {w.policies, w.PersonalToken(w.User("mallory"), "repo"), "not found"},
		"personal, no scope":  {w.policies, w.PersonalToken(w.User("octocat")), "not found"},
		"nobody":              {w.policies, "", "could not read Username"},
		"nonsense":            {w.policies, "ghs_nonsense", "Authentication failed"},
	} {
		t.Run(name, func(t *testing.T) {
			err := clone(t, w, test.repository, test.token)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("git said %v, not %q", err, test.want)
			}
		})
	}
	former := w.policies.URL()
	w.policies.Rename("rules")
	if err := cloneURL(t, former, w.installation.Token()); err != nil {
		t.Errorf("the former address: %v", err)
	}
	w.policies.Publicize()
	if err := clone(t, w, w.policies, ""); err != nil {
		t.Errorf("a public repository: %v", err)
	}
	request, err := http.NewRequest(http.MethodGet, w.policies.URL()+"/info/refs?service=git-upload-pack", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth("x-access-token", "ghs_nonsense") // git itself asks without a credential first
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("a wrong token at a public repository is answered %d", response.StatusCode)
	}
	w.policies.Privatize()
	w.clock.Advance(time.Hour)
	if err := clone(t, w, w.policies, narrow); err == nil || !strings.Contains(err.Error(), "Authentication failed") {
		t.Errorf("with an expired token git said %v", err)
	}
	fresh := w.installation.Token()
	w.installation.Suspend()
	if err := clone(t, w, w.policies, fresh); err == nil || !strings.Contains(err.Error(), "Authentication failed") {
		t.Errorf("with a suspended installation git said %v", err)
	}
	w.installation.Unsuspend()
	w.policies.Transfer(w.User("mallory"))
	if err := clone(t, w, w.policies, w.installation.Token()); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("after a transfer git said %v", err)
	}
	if got := w.Git().Requests(); len(got) == 0 || got[0].Status == 0 {
		t.Error("git's requests are not recorded")
	}
}
