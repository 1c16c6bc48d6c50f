package main_test

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// remote runs polset check against the server, with the plan of the tests.
func (s *checkServer) check(args ...string) checkResult {
	s.t.Helper()
	plan := filepath.Join(s.t.TempDir(), "plan.json")
	if err := os.WriteFile(plan, []byte(checkPlan), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return check(s.t, checking{dir: filepath.Dir(plan), env: s.env(), args: append([]string{"--workspace", checkWS, "--plan", "plan.json"}, args...)})
}

func TestCheckWorkspace(t *testing.T) {
	advisory := said("named", "advisory", "failed", "no owner")
	for _, c := range []struct {
		name   string
		status string
		shape  func(s *checkServer)
		code   int
	}{
		{"passed", "post_plan_completed", func(s *checkServer) {
			s.evaluation("poleval-1", "passed", outcome("production", false, said("public", "mandatory", "passed"), advisory))
		}, 0},
		{"hard-failed", "errored", func(s *checkServer) {
			s.evaluation("poleval-1", "failed",
				outcome("production", false, said("public", "mandatory", "failed", "bucket a is public", "bucket b is public"), advisory),
				outcome("costs", true, said("cheap", "mandatory", "passed")))
		}, 1},
		{"soft-failed", "post_plan_awaiting_decision", func(s *checkServer) {
			s.evaluation("poleval-1", "failed", outcome("production", true, said("public", "mandatory", "failed", "bucket a is public")))
		}, 1},
		{"overridden", "post_plan_completed", func(s *checkServer) {
			s.evaluation("poleval-1", "overridden", outcome("production", true, said("public", "mandatory", "failed", "bucket a is public")))
		}, 0},
		{"errored-policy", "errored", func(s *checkServer) {
			s.evaluation("poleval-1", "errored", outcome("production", true, said("public", "advisory", "errored", "The query gives nothing.")))
		}, 2},
		{"errored-set", "errored", func(s *checkServer) {
			o := outcome("production", true)
			get(o, "attributes").(document)["error"] = "There is no ready version."
			s.evaluation("poleval-1", "errored", o)
		}, 2},
		{"errored-set-of-policies", "errored", func(s *checkServer) { // says once why
			const why = "The policies need more than 1 GiB of memory."
			o := outcome("production", true, said("public", "mandatory", "errored", why), said("tagged", "advisory", "errored", why))
			get(o, "attributes").(document)["error"] = why
			s.evaluation("poleval-1", "errored", o)
		}, 2},
		{"errored-check", "errored", func(s *checkServer) {
			s.evaluation("poleval-1", "errored")
			get(s.Evaluations[0], "attributes").(document)["error-message"] = "There is no tfplan.json."
		}, 2},
		{"declared", "errored", func(s *checkServer) {
			p := said("public", "mandatory", "failed", "bucket a is public", "and said so")
			p["messages"], p["prints"], p["file"], p["line"] = []any{"bucket a is public"}, []any{"and said so"}, "policies/prod/policies.hcl", 12
			s.evaluation("poleval-1", "failed", outcome("production", false, p))
		}, 1},
		{"none-applies", "planned", func(*checkServer) {}, 0},
		{"sentinel", "errored", func(s *checkServer) {
			s.Checks = []document{{"id": "polchk-1", "type": "policy-checks", "attributes": document{
				"status": "errored", "error-message": "Policy set s: there is no Sentinel engine.", "result": document{"policies": []any{}},
			}}}
		}, 2},
		{"sentinel-policy", "errored", func(s *checkServer) {
			s.Checks = []document{{"id": "polchk-1", "type": "policy-checks", "attributes": document{
				"status": "errored", "error-message": "Policy set s: there is no Sentinel engine.", "result": document{"policies": []any{
					document{"name": "a", "policy-set": "s", "result": "errored", "messages": []any{"There is no Sentinel engine."}},
				}},
			}}}
		}, 2},
		{"policy-check", "policy_override", func(s *checkServer) {
			s.Checks = []document{{"id": "polchk-1", "type": "policy-checks", "attributes": document{
				"status": "soft_failed", "error-message": nil, "result": document{"policies": []any{
					document{"name": "a", "policy-set": "s", "result": "passed", "messages": []any{}},
					document{"name": "b", "policy-set": "s", "result": "soft_failed", "messages": []any{"no"}},
				}},
			}}}
		}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, format := range []string{"table", "json", "sarif", "junit"} {
				s := newCheckServer(t)
				s.Statuses = []string{"pending", "post_plan_running", c.status}
				c.shape(s)
				got := s.check("--format", format)
				if got.code != c.code {
					t.Errorf("%s: exit code %d, want %d\n%s%s", format, got.code, c.code, got.stdout, got.stderr)
				}
				if !slices.Equal(s.uploads, []string{checkPlan}) {
					t.Errorf("the server got the plans %q", s.uploads)
				}
				judgeReport(t, format, got.stdout)
				golden(t, "workspace-"+c.name+"."+format, strings.ReplaceAll(got.stdout, s.url, "https://polset.example.com"))
				// A log has a line for each change.
				for _, want := range []string{"uploading the plan", "run run-1: pending", "run run-1: post plan running", "run run-1: " + strings.ReplaceAll(c.status, "_", " ")} {
					if strings.Count(got.stderr, "polset: "+want+"\n") != 1 {
						t.Errorf("the progress does not say once that %s:\n%s", want, got.stderr)
					}
				}
				if strings.ContainsAny(got.stderr, "\r\x1b") {
					t.Errorf("the log holds what is for terminals: %q", got.stderr)
				}
			}
		})
	}
}

func TestCheckWorkspaceByName(t *testing.T) {
	for _, args := range [][]string{
		{"--workspace", "acme/network"},
		{"--workspace", "network", "--organization", "acme"},
	} {
		s := newCheckServer(t)
		s.Statuses = []string{"planned"}
		got := check(t, checking{env: s.env(), stdin: checkPlan, args: append(args, "--plan", "-", "--message", "commit abc")})
		if got.code != 0 || !strings.Contains(got.stdout, "no policy set applies to the workspace acme/network") {
			t.Errorf("%v: exit code %d\n%s%s", args, got.code, got.stdout, got.stderr)
		}
		if len(s.runs) != 1 || text(s.runs[0], "data", "attributes", "message") != "commit abc" {
			t.Errorf("%v: runs %v", args, s.runs)
		}
	}
}

func TestCheckReadsEveryPage(t *testing.T) {
	s := newCheckServer(t)
	s.Statuses = []string{"errored"}
	var outcomes []document
	for i := range 230 {
		status := "passed"
		if i == 229 {
			status = "failed"
		}
		outcomes = append(outcomes, outcome(fmt.Sprintf("set-%03d", i), false, said("p", "mandatory", status)))
	}
	s.evaluation("poleval-1", "failed", outcomes...)
	if got := s.check(); got.code != 1 || !strings.Contains(got.stdout, "230 policy sets, 230 policies: 229 passed, 1 failed.") {
		t.Errorf("exit code %d\n%s", got.code, got.stdout)
	}
}

// A pass that anything contradicts is no pass.
func TestCheckFailsClosed(t *testing.T) {
	for _, c := range []struct {
		name, status string
		shape        func(s *checkServer)
		want         string
	}{
		{"a run that passed, and a policy that failed", "post_plan_completed", func(s *checkServer) {
			s.evaluation("poleval-1", "passed", outcome("p", false, said("x", "mandatory", "failed", "no")))
		}, "check again"},
		{"a run that passed, and an evaluation that did not", "post_plan_completed", func(s *checkServer) {
			s.evaluation("poleval-1", "failed", outcome("p", false, said("x", "mandatory", "passed")))
		}, "check again"},
		{"a run that errored, and nothing that says so", "errored", func(s *checkServer) {
			s.evaluation("poleval-1", "passed", outcome("p", false, said("x", "mandatory", "passed")))
		}, "check again"},
		{"an evaluation that passed without policy sets", "post_plan_completed", func(s *checkServer) { s.evaluation("poleval-1", "passed") }, "no policy set"},
		{"a policy set that has no policies", "post_plan_completed", func(s *checkServer) { s.evaluation("poleval-1", "passed", outcome("p", false)) }, "check again"},
		{"a run that passed without checks", "post_plan_completed", func(*checkServer) {}, "no check"},
		{"a run that no policy set applies to, with checks", "planned", func(s *checkServer) {
			s.evaluation("poleval-1", "passed", outcome("p", false, said("x", "mandatory", "passed")))
		}, "in spite of its checks"},
		{"an evaluation in a state that nobody knows", "post_plan_completed", func(s *checkServer) {
			s.evaluation("poleval-1", "fine", outcome("p", false, said("x", "mandatory", "passed")))
		}, "check again"},
		{"a policy in a state that nobody knows", "post_plan_completed", func(s *checkServer) {
			s.evaluation("poleval-1", "passed", outcome("p", false, said("x", "mandatory", "fine")))
		}, "check again"},
		{"a policy check without its result", "policy_checked", func(s *checkServer) {
			s.Checks = []document{{"id": "polchk-1", "type": "policy-checks", "attributes": document{"status": "passed"}}}
		}, "no result"},
		{"a run that somebody cancelled", "canceled", func(s *checkServer) {
			s.evaluation("poleval-1", "unreachable")
		}, "canceled"},
		{"a run that somebody discarded", "discarded", func(*checkServer) {}, "discarded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newCheckServer(t)
			s.Statuses = []string{c.status}
			c.shape(s)
			got := s.check()
			if got.code != 2 || got.stdout != "" || !strings.Contains(got.stderr, c.want) {
				t.Errorf("exit code %d, want 2 and an error with %q\n%s%s", got.code, c.want, got.stdout, got.stderr)
			}
		})
	}
}

// An override between two answers is not taken for a contradiction.
func TestCheckSeesOverrideOnItsWay(t *testing.T) {
	s := newCheckServer(t)
	s.Statuses = []string{"post_plan_awaiting_decision", "post_plan_completed"}
	s.evaluation("poleval-1", "overridden", outcome("p", true, said("x", "mandatory", "failed", "no")))
	if got := s.check(); got.code != 0 {
		t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

func TestCheckIsPatient(t *testing.T) {
	fail := func(what string, times, code int, header ...string) func(s *checkServer) {
		return func(s *checkServer) {
			s.Fault = func(w http.ResponseWriter, r *http.Request, n int) bool {
				if r.Method+" "+r.URL.Path != what || n > times {
					return false
				}
				for i := 0; i < len(header); i += 2 {
					w.Header().Set(header[i], header[i+1])
				}
				if code == 0 {
					hangUp(w)
				} else {
					send(w, code, document{"errors": []any{document{"status": code, "title": "later"}}})
				}
				return true
			}
		}
	}
	lost := func(what string) func(*checkServer) { return func(s *checkServer) { s.lost(what) } }
	const (
		workspace      = "GET /api/v2/workspaces/" + checkWS
		configurations = "POST /api/v2/workspaces/" + checkWS + "/configuration-versions"
		runs           = "POST /api/v2/runs"
	)
	for _, c := range []struct {
		name string
		make func(*checkServer)
	}{
		{"429 with Retry-After", fail(workspace, 2, 429, "Retry-After", "0")},
		{"429 with X-RateLimit-Reset", fail(runs, 2, 429, "X-RateLimit-Reset", "0.050")},
		{"429 more often than other faults are forgiven", fail("GET /api/v2/runs/run-1", 15, 429, "X-RateLimit-Reset", "0.001")},
		{"503 with Retry-After", fail(runs, 1, 503, "Retry-After", "0.1")},
		{"500 once", fail(workspace, 1, 500)},
		{"502 to what makes something", fail(configurations, 1, 502)},
		{"502 to the run", fail(runs, 1, 502)},
		{"a connection that ends", fail("GET /api/v2/runs/run-1/task-stages", 1, 0)},
		{"an upload that is cut off", fail("PUT /upload", 1, 0)},
		{"503 to the upload", fail("PUT /upload", 1, 503)},
		{"the answer to the upload is lost", lost("PUT /upload")},
		{"the answer to the configuration version is lost", lost(configurations)},
		{"the answer to the run is lost", lost(runs)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newCheckServer(t)
			s.evaluation("poleval-1", "passed", outcome("p", false, said("x", "mandatory", "passed")))
			c.make(s)
			if got := s.check(); got.code != 0 || !strings.Contains(got.stderr, "trying again") && s.count("PUT /upload") < 2 && s.count(runs) < 1 {
				t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
			}
			if s.runCount() != 1 {
				t.Errorf("%d runs were created", s.runCount())
			}
		})
	}
}

func TestCheckGivesUp(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s followed a redirect, with Authorization %q", r.Method, r.URL, r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	answer := func(code int, body string, header ...string) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
			return true
		}
	}
	for _, c := range []struct {
		name  string
		fault func(http.ResponseWriter, *http.Request, int) bool
		want  string
	}{
		{"a token that is refused", answer(401, `{"errors":[{"status":"401","title":"unauthorized"}]}`), "POLSET_TOKEN"},
		{"a workspace that is not there", answer(404, `{"errors":[{"status":"404","title":"not found"}]}`), "there is no workspace " + checkWS},
		{"a token that may only read", func(w http.ResponseWriter, r *http.Request, n int) bool {
			return r.Method == http.MethodPost && answer(404, `{"errors":[{"status":"404","title":"not found"}]}`)(w, r, n)
		}, "that takes the permission manage-policies"},
		{"what the server says", answer(422, `{"errors":[{"status":"422","title":"invalid","detail":"No, because \u001b[31mred\u001b[0m."}]}`), "No, because \uFFFD[31mred"},
		{"a page of a proxy", answer(200, `<html>Sign in</html>`), "--address"},
		{"a redirect", answer(301, "", "Location", elsewhere.URL+"/api"), "redirects to " + elsewhere.URL},
		{"a wait that is too long", answer(429, "", "Retry-After", "3600"), "--timeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newCheckServer(t)
			s.Fault = c.fault
			got := s.check()
			if got.code != 2 || got.stdout != "" || !strings.Contains(got.stderr, c.want) {
				t.Errorf("exit code %d, want 2 and an error with %q\n%s%s", got.code, c.want, got.stdout, got.stderr)
			}
			// Whoever reads reports learns it too.
			for _, format := range []string{"json", "sarif", "junit"} {
				got := s.check("--format", format)
				judgeReport(t, format, got.stdout)
				if got.code != 2 || got.stdout == "" {
					t.Errorf("%s: exit code %d\n%s", format, got.code, got.stdout)
				}
			}
		})
	}
	t.Run("an upload to elsewhere is not redirected either", func(t *testing.T) {
		s := newCheckServer(t)
		s.Fault = func(w http.ResponseWriter, r *http.Request, _ int) bool {
			if r.URL.Path == "/upload" {
				http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
				return true
			}
			return false
		}
		if got := s.check(); got.code != 2 || !strings.Contains(got.stderr, "redirects") {
			t.Errorf("exit code %d\n%s", got.code, got.stderr)
		}
	})
	t.Run("a certificate that nobody vouches for", func(t *testing.T) {
		server := httptest.NewTLSServer(http.NotFoundHandler())
		defer server.Close()
		server.Config.ErrorLog = nil
		s := newCheckServer(t)
		s.url = server.URL
		if got := s.check(); got.code != 2 || !strings.Contains(got.stderr, "certificate") || strings.Contains(got.stderr, "trying again") {
			t.Errorf("exit code %d\n%s", got.code, got.stderr)
		}
	})
}

func TestCheckTimeout(t *testing.T) {
	s := newCheckServer(t)
	s.Statuses = []string{"post_plan_running"}
	got := s.check("--timeout", "1500ms")
	if got.code != 2 || !strings.Contains(got.stderr, "no verdict within 1.5s") || !strings.Contains(got.stderr, "run-1 is cancelled") {
		t.Errorf("exit code %d\n%s", got.code, got.stderr)
	}
	if !s.canceled {
		t.Error("the run was left alone")
	}
}

func TestCheckInterrupted(t *testing.T) {
	s := newCheckServer(t)
	s.Statuses = []string{"post_plan_running"}
	spool := t.TempDir()
	cmd := exec.Command(polsetBinary, "check", "--workspace", checkWS, "--plan", "-", "--json")
	cmd.Env = append(s.env(), "TMPDIR="+spool)
	cmd.Stdin = strings.NewReader(bigPlan(4 << 20))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }).Stop()
	var log strings.Builder
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		log.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "post plan running") {
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // its code is in ProcessState
	if code := cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(log.String(), "run-1 is cancelled") || !s.canceled {
		t.Errorf("exit code %d, canceled %v\n%s", code, s.canceled, &log)
	}
	if left, err := os.ReadDir(spool); err != nil || len(left) > 0 {
		t.Errorf("%v is left of the plan, %v", left, err)
	}
}

// What policies say may quote the plan, which anybody may have written.
func TestCheckShowsNoCommands(t *testing.T) {
	hostile := []string{
		"\x1b[2J\x1b]0;title\x07red", "c1 \u009b31m", "bidi \u202e txt.exe", "zero\u200bwidth", "a\rb", "::error file=x::no", "fine\n::set-output name=a::b",
		"x ##[add-mask]y", "##vso[task.setvariable variable=a]b", "]]> </failure><error/> & \"quotes\"", "nul \x00 and \ufffe", "tag \U000E0041",
	}
	for _, format := range []string{"table", "json", "sarif", "junit"} {
		s := newCheckServer(t)
		s.Statuses = []string{"errored"}
		s.evaluation("poleval-1", "failed", outcome("::error::set\x1b[1m", false,
			said("p\u202e", "mandatory", "failed", hostile...), said("::q", "advisory\x1b", "failed", hostile...)))
		got := s.check("--format", format)
		if got.code != 1 {
			t.Errorf("exit code %d\n%s", got.code, got.stderr)
		}
		judgeReport(t, format, got.stdout)
		if !strings.Contains(got.stdout, "title") || !strings.Contains(got.stdout, "txt.exe") {
			t.Errorf("%s: the messages are not there:\n%s", format, got.stdout)
		}
		if format == "json" { // which is faithful
			kept := verdicts(t, got.stdout)[0].Messages
			if !slices.Equal(kept, hostile) {
				t.Errorf("the JSON holds %q", kept)
			}
		}
	}
}
