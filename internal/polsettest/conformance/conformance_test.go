//go:build conformance

package conformance_test

import (
	"flag"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset/internal/polsettest"
)

var binary = flag.String("polset", "", "the polset `binary` that go-tfe's tests are run against")

// TestConformance runs go-tfe's tests on both databases: on the one as fast as
// they can, and on the other with the limit on requests that polset has by
// default, which the client must live with. What became of a test
// is compared in both directions: one that passes unexpectedly, or moves from
// pass to skip, is as wrong as one that fails.
func TestConformance(t *testing.T) {
	if *binary == "" {
		t.Fatal("make conformance runs this, with -polset")
	}
	path, err := filepath.Abs(*binary)
	if err != nil {
		t.Fatal(err)
	}
	want, err := parseExpectations(expected)
	if err != nil {
		t.Fatalf("expected.txt: %v", err)
	}
	unmodified(t)
	for _, database := range []struct {
		name     string
		settings func(*testing.T) []string
	}{
		{"SQLite", func(*testing.T) []string { return nil }},
		{"PostgreSQL", func(t *testing.T) []string {
			return []string{"POLSET_RATE_LIMIT=0", "POLSET_DATABASE_URL=" + polsettest.Postgres(t), "POLSET_ENCRYPTION_KEY=" + encryptionKey}
		}},
	} {
		t.Run(database.name, func(t *testing.T) { conform(t, newWorld(t, path, database.settings(t)...), want) })
	}
}

const encryptionKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// unmodified makes sure that the tests are those of the release: fetched by
// its number, verified by its hash, replaced by nothing.
func unmodified(t *testing.T) {
	t.Helper()
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Version}} {{.Replace}}", client)
	cmd.Dir, cmd.Env = "gotfe", goTFE().env
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("look at the module gotfe: %v", err)
	}
	if got, want := strings.TrimSpace(string(out)), clientVersion+" <nil>"; got != want {
		t.Fatalf("the tests are those of %s, want %s", got, want)
	}
}

func conform(t *testing.T, w *world, want expectations) {
	t.Cleanup(func() {
		if t.Failed() {
			w.keepLog("conformance-" + filepath.Base(t.Name()) + ".log")
		}
	})
	start := time.Now()
	report, err := goTFE(
		"TFE_ADDRESS="+w.URL, "TFE_TOKEN="+bootstrap, "TFE_ADMIN_PROVISION_LICENSES_TOKEN="+bootstrap,
		"ENABLE_BETA=1",
		"GITHUB_POLICY_SET_IDENTIFIER="+repository, "OAUTH_CLIENT_GITHUB_TOKEN="+w.PersonalToken,
		"GITHUB_APP_INSTALLATION_ID="+w.Installation,
	).run(want.names(true), want.names(false))
	if err != nil {
		t.Fatal(err)
	}
	elapsed := time.Since(start)

	var shown []string
	for _, d := range want.differences(report.outcomes) {
		t.Errorf("%s: %s", d.test, d.problem)
		if name, _, _ := strings.Cut(d.test, "/"); !slices.Contains(shown, name) {
			shown = append(shown, name)
		}
	}
	for _, name := range shown {
		if text := report.printed(name); text != "" {
			t.Logf("%s printed:\n%s", name, text)
		}
	}

	w.operator.Close() // and with it the tests' last request
	w.stop()
	limited := 0
	for _, a := range w.answers {
		switch {
		case a.code == http.StatusTooManyRequests:
			limited++
		case a.code >= 500: // go-tfe asks again, and nobody notices
			t.Errorf("polset answered %s %s with %d", a.method, a.path, a.code)
		}
	}
	w.audit()
	_, _ = fmt.Fprintf(t.Output(), "go-tfe %s on %s: %d requests in %s, and %d that were too many\n%s\n",
		clientVersion, filepath.Base(t.Name()), len(w.answers)-limited, elapsed.Round(time.Second/10), limited, want.summary(report.outcomes))
}
