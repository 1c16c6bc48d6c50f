package main_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/polset/polset/internal/polsettest"
)

var setupLink = regexp.MustCompile(`http://\S+/setup/github\?token=\S+`)

// A page is what a browser sees of a link.
type page struct {
	code   int
	url    string // where it came out
	policy string // Content-Security-Policy
	body   string
}

// visit opens a link as a browser does.
func visit(t *testing.T, link string) page {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Jar: jar}).Get(link) //nolint:noctx // the test's own server
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return page{
		code: res.StatusCode, url: res.Request.URL.String(),
		policy: res.Header.Get("Content-Security-Policy"), body: string(body),
	}
}

// TestSetupLink follows the link of the first start, and that of the command.
func TestSetupLink(t *testing.T) {
	dir := t.TempDir()
	environ := env(polsettest.NewGit(t), dir)
	n := start(t, environ)
	link := setupLink.FindString(n.Log())
	if link == "" {
		t.Fatal("the first start prints no link")
	}
	shows := func(t *testing.T, link string) {
		t.Helper()
		p := visit(t, link)
		if p.code != http.StatusOK || strings.Contains(p.url, "token") {
			t.Errorf("the link came out at %s with %d", p.url, p.code)
		}
		if !strings.Contains(p.policy, "default-src 'none'") {
			t.Errorf("Content-Security-Policy is %q", p.policy)
		}
		if !strings.Contains(p.body, "<form") || strings.Contains(p.body, "<script") {
			t.Errorf("no form, or a script:\n%s", p.body)
		}
	}
	shows(t, link)

	t.Run("by command", func(t *testing.T) {
		out, err := command(t, append(environ, "POLSET_PUBLIC_URL="+n.URL), "github", "setup")
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		shows(t, setupLink.FindString(out))
	})
	t.Run("a made-up one", func(t *testing.T) {
		if p := visit(t, n.URL+"/setup/github?token=made-up"); p.code != http.StatusForbidden || strings.Contains(p.body, "<form") {
			t.Errorf("answered %d:\n%s", p.code, p.body)
		}
	})
	t.Run("the first start only", func(t *testing.T) {
		if code := n.Stop(); code != 0 {
			t.Fatalf("stopped with %d", code)
		}
		if again := start(t, environ); setupLink.MatchString(again.Log()) {
			t.Error("the second start prints a link as well")
		}
	})
	t.Run("the token is nowhere in the rows", func(t *testing.T) {
		_, token, _ := strings.Cut(link, "token=")
		files, err := filepath.Glob(filepath.Join(dir, "polset.db*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no database: %v", err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(content), token) {
				t.Errorf("%s holds the token", filepath.Base(file))
			}
		}
	})
}
