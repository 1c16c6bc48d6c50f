package webhook

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/polset/polset"
)

// TestRefsAgainstGit holds checkRef against git itself: it must never admit
// what git refuses, and where it is stricter it says why.
func TestRefsAgainstGit(t *testing.T) {
	parts := []string{"a", ".a", "a.", "a..b", "a.lock", "-a", "@", "a@{b", "a{", "a b", "a~", "a^", "a:", "a?", "a*", "a[", "a]", `a\`, "a\x01", "a\x7f", "", "HEAD", "ä", "日本", "a#", "a%", "a'", "a\"", "a|b", "a;b", "a&b", "a$b", "a!", "lock", ".lock", "a.lockx"}
	names := append([]string(nil), parts...)
	for _, a := range parts {
		for _, b := range []string{"a", ".a", "a.", "-a", "a.lock", "", "HEAD"} {
			names = append(names, a+"/"+b)
		}
	}
	for _, name := range names {
		ref := branchPrefix + name
		git := exec.Command("git", "check-ref-format", ref).Run() == nil
		stricter := strings.HasPrefix(name, "-") || name == "HEAD"
		if got := checkRef(ref); (got == nil) != (git && !stricter) {
			t.Errorf("checkRef(%q) = %v; git admits it: %v", ref, got, git)
		}
	}
}

func TestWellFormed(t *testing.T) {
	nested := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	for body, want := range map[string]bool{
		"{}": true, " \t\r\n{}": true, strings.Repeat(" ", 1000) + "{}": true, "": false, "   ": false, "[]": false, "\ufeff{}": false,
		nested(maxDepth): true, nested(maxDepth + 1): false,
		`{"a":"` + strings.Repeat("[", 1000) + `"}`:      true,
		`{"a":"\\","b":` + strings.Repeat("[", maxDepth): false,
		`{"a":"\\\"` + strings.Repeat("[", 1000) + `"}`:  true,
		`{"a":"\`: true, // cut inside an escape: the decoder's matter
	} {
		if err := wellFormed([]byte(body)); (err == nil) != want {
			t.Errorf("wellFormed(%.20q…) = %v", body, err)
		}
	}
}

var (
	commitPattern = regexp.MustCompile(`^[0-9a-f]{40}$`)
	namePattern   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]*/[A-Za-z0-9._-]+$`)
)

func shown(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return false
		}
	}
	return true
}

func checkPush(t *testing.T, p *polset.Push) {
	t.Helper()
	switch {
	case p.RepositoryID <= 0, !namePattern.MatchString(p.Identifier):
		t.Errorf("repository of %+v", p)
	case !commitPattern.MatchString(p.After), !commitPattern.MatchString(p.Before), p.After == noCommit:
		t.Errorf("commits of %+v", p)
	case p.Branch == "", !shown(p.Branch), strings.HasPrefix(p.Branch, "-"), strings.Contains(p.Branch, ".."), strings.ContainsAny(p.Branch, " ~^:?*[\\"):
		t.Errorf("branch of %+v", p)
	case !shown(p.DefaultBranch), !shown(p.Pusher):
		t.Errorf("claims of %+v", p)
	}
}

func checkRepositoryRef(t *testing.T, r polset.RepositoryRef) {
	t.Helper()
	if r.ID <= 0 || !namePattern.MatchString(r.Identifier) {
		t.Errorf("repository %+v", r)
	}
}

func checkRepository(t *testing.T, c *polset.RepositoryChange) {
	t.Helper()
	checkRepositoryRef(t, c.Repository)
	if c.Previous != "" && !namePattern.MatchString(c.Previous) || (c.Previous != "") != (c.Action == polset.RepositoryRenamed || c.Action == polset.RepositoryTransferred) {
		t.Errorf("previous of %+v", c)
	}
	if !shown(c.DefaultBranch) || !shown(c.Branch) || (c.Branch != "") != (c.Action == polset.RepositoryBranchDeleted) || c.Installation < 0 {
		t.Errorf("change %+v", c)
	}
}

func checkPull(t *testing.T, p *polset.PullRequest) {
	t.Helper()
	checkRepositoryRef(t, p.Repository)
	if p.Number <= 0 || !commitPattern.MatchString(p.Head) || p.Head == noCommit || p.Base == "" || checkRef(branchPrefix+p.Base) != nil || !shown(p.Author) || p.Installation < 0 {
		t.Errorf("pull request %+v", p)
	}
}

func checkInstallation(t *testing.T, c *polset.InstallationChange) {
	t.Helper()
	i := c.Installation
	if i.ExternalID <= 0 || i.AccountID <= 0 || !accountName(i.Account) || !accountType(i.AccountType) || c.SenderID < 0 || i.InstallerID < 0 {
		t.Errorf("installation %+v", i)
	}
	if !shown(i.HTMLURL) || !shown(i.IconURL) || (c.PreviousAccount != "") != (c.Action == polset.InstallationRenamed) {
		t.Errorf("installation %+v", c)
	}
	for name, level := range i.Permissions {
		if !permissionWord(name) || !permissionWord(level) {
			t.Errorf("permission %q: %q", name, level)
		}
	}
	for _, r := range append(c.Added, c.Removed...) {
		checkRepositoryRef(t, r)
	}
}

func meanings(m meaning) int {
	n := 0
	for _, has := range []bool{m.push != nil, m.pull != nil, m.repository != nil, m.installation != nil, m.ignored != ""} {
		if has {
			n++
		}
	}
	return n
}

// lifecycleBodies are the smallest bodies of each event that mean something.
var lifecycleBodies = map[string][]string{
	"repository": {
		`{"action":"archived","repository":{"id":7,"full_name":"a/b","default_branch":"main","archived":true},"installation":{"id":3}}`,
		`{"action":"renamed","changes":{"repository":{"name":{"from":"c"}}},"repository":{"id":7,"full_name":"a/b"}}`,
		`{"action":"transferred","changes":{"owner":{"from":{"user":{"login":"c"}}}},"repository":{"id":7,"full_name":"a/b"}}`,
		`{"action":"edited","changes":{"default_branch":{"from":"c"}},"repository":{"id":7,"full_name":"a/b","default_branch":"main"}}`,
	},
	"installation": {
		`{"action":"created","installation":{"id":3,"app_id":4,"account":{"id":5,"login":"a","type":"User","avatar_url":"https://x"},"html_url":"https://x/y","repository_selection":"selected","permissions":{"checks":"write"},"suspended_at":null},"repositories":[{"id":7,"full_name":"a/b"}],"sender":{"id":5,"login":"a"}}`,
		`{"action":"suspend","installation":{"id":3,"app_id":4,"account":{"id":5,"login":"a","type":"User"},"repository_selection":"all","suspended_at":"2026-01-02T03:04:05Z"}}`,
	},
	"installation_repositories": {
		`{"action":"added","installation":{"id":3,"app_id":4,"account":{"id":5,"login":"a","type":"User"}},"repository_selection":"all","repositories_added":[{"id":7,"full_name":"a/b"}]}`,
	},
	"installation_target": {
		`{"action":"renamed","account":{"id":5,"login":"a"},"target_type":"Organization","installation":{"id":3},"changes":{"login":{"from":"b"}}}`,
	},
	"pull_request": {
		`{"action":"opened","pull_request":{"number":1,"user":{"login":"a"},"head":{"sha":"1d5a2c9e7b6f4a3d2c1b0a9f8e7d6c5b4a392817","repo":null},"base":{"ref":"main","repo":{"id":7}}},"repository":{"id":7,"full_name":"a/b"}}`,
	},
}

// FuzzRead feeds signed bodies: nothing may panic, and what is accepted
// holds only what git, the database and a person may be given.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"push.json", "ping.json"} {
		raw, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("push", raw)
		f.Add("issues", raw)
	}
	const small = `{"ref":"refs/heads/main","before":"0000000000000000000000000000000000000000","after":"1d5a2c9e7b6f4a3d2c1b0a9f8e7d6c5b4a392817","repository":{"id":7,"full_name":"a/b","default_branch":"main"},"pusher":{"name":"x"},"sender":{"login":"x"}}`
	for _, s := range []string{
		small,
		strings.Replace(small, "heads/main", `heads/\u202e`, 1), strings.Replace(small, "heads", "tags", 1), strings.Replace(small, `{"id":7`, `null,"x":{"id":7`, 1),
		strings.Replace(small, "7", "1e3", 1), strings.Replace(small, `{"name":"x"}`, "null", 1), `{"ref":null}`, "{", "null",
	} {
		f.Add("push", []byte(s))
	}
	for event, bodies := range lifecycleBodies {
		for _, body := range bodies {
			f.Add(event, []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, event string, raw []byte) {
		m, err := read(event, raw)
		if n := meanings(m); n > 1 || n == 1 && err != nil {
			t.Errorf("%d meanings, %v", n, err)
		}
		for _, s := range []string{m.action, m.account, m.repo, m.ref, m.commit, m.sender} {
			if !shown(s) {
				t.Errorf("the log would hold %q", s)
			}
		}
		switch {
		case err != nil:
			r := asRefusal(err)
			if r.status != 400 && r.status != 422 {
				t.Errorf("status %d: %v", r.status, err)
			}
			if !shown(r.message) || len(r.Error()) > 2000 {
				t.Errorf("message %q", r.message)
			}
		case m.push != nil:
			if event != "push" {
				t.Errorf("event %q gave %+v", event, m)
			}
			checkPush(t, m.push)
		case m.repository != nil:
			checkRepository(t, m.repository)
		case m.pull != nil:
			checkPull(t, m.pull)
		case m.installation != nil:
			checkInstallation(t, m.installation)
		case m.ignored == "":
			t.Error("neither something nor ignored")
		}
	})
}
