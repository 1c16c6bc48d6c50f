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

// FuzzRead feeds signed bodies: nothing may panic, and a push that is accepted
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
	f.Fuzz(func(t *testing.T, event string, raw []byte) {
		m, err := read(event, raw)
		for _, s := range []string{m.repo, m.ref, m.commit, m.sender} {
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
			if event != "push" || m.ignored != "" {
				t.Errorf("event %q gave %+v", event, m)
			}
			checkPush(t, m.push)
		case m.ignored == "":
			t.Error("neither a push nor ignored")
		}
	})
}
