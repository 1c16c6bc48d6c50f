package conformance_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

const (
	client        = "github.com/hashicorp/go-tfe"
	clientVersion = "v1.111.2"
	// pattern selects the 49 tests about policies.
	pattern = "TestPolic"

	// suiteLimit ends a suite in which something hangs; go-tfe asks a server
	// that is at fault again for six minutes.
	suiteLimit = 3 * time.Minute
	// aloneLimit ends a test that is run again.
	aloneLimit = 30 * time.Second
	// aloneLimits is how long those take together.
	aloneLimits = 3 * time.Minute
)

// A suite is the tests of a package, as a module requires it.
type suite struct {
	module, pkg string
	env         []string
}

// goTFE is the integration tests of go-tfe. They get their variables, and none
// that happen to be set here.
func goTFE(variables ...string) suite {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		for _, prefix := range []string{"TFE_", "TFC_", "TF_", "ENABLE_", "GITHUB_", "OAUTH_CLIENT_", "HYOK_", "SKIP_"} {
			if strings.HasPrefix(v, prefix) {
				return true
			}
		}
		return false
	})
	return suite{module: "gotfe", pkg: client, env: append(append(env, "GOWORK=off", "GOFLAGS=-mod=readonly"), variables...)}
}

// A report is what became of the tests, and what they printed.
type report struct {
	outcomes map[string]string
	output   map[string]*bytes.Buffer // "" is the program's
}

// run runs all tests but some. A test that panics ends the program, and the
// others with it: those that this took down are run again, each by itself, so
// that it hides nothing.
func (s suite) run(names, without []string) (report, error) {
	r := report{outcomes: map[string]string{}, output: map[string]*bytes.Buffer{}}
	args := []string{"-run", pattern, "-timeout", suiteLimit.String()}
	if len(without) > 0 {
		args = append(args, "-skip", "^("+strings.Join(without, "|")+")$")
	}
	if err := s.test(&r, args...); err != nil {
		return r, err
	}
	deadline := time.Now().Add(aloneLimits)
	for _, name := range names {
		if r.finished(name) || time.Now().After(deadline) {
			continue
		}
		r.forget(name)
		if err := s.test(&r, "-run", "^"+name+"$", "-timeout", aloneLimit.String()); err != nil {
			return r, err
		}
	}
	return r, nil
}

// An event is one line of go test -json.
type event struct {
	Action, Package, Test, Output string
}

// test runs go test once and adds what became of the tests to the report.
func (s suite) test(r *report, args ...string) error {
	// Dozens of organizations at once, whatever the number of cores.
	args = append([]string{"test", s.pkg, "-count=1", "-json", "-parallel", "16"}, args...)
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = s.module, s.env
	var stderr, other bytes.Buffer // other is what stdout holds beside events
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	started := false
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadBytes('\n')
		var e event
		if json.Unmarshal(line, &e) == nil {
			started = started || e.Action == "run"
			r.add(e)
		} else {
			other.Write(line)
		}
		if err != nil {
			break
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && (!started || !errors.As(err, &exit)) {
		return fmt.Errorf("go %s: %w\n%s%s%s", strings.Join(args, " "), err, r.output[""], &other, &stderr)
	}
	return nil
}

func (r *report) add(e event) {
	switch e.Action {
	case "run":
		r.outcomes[e.Test] = unfinished
	case passes, fails, skips:
		if e.Test != "" {
			r.outcomes[e.Test] = e.Action
		}
	case "output", "build-output":
		if r.output[e.Test] == nil {
			r.output[e.Test] = &bytes.Buffer{}
		}
		r.output[e.Test].WriteString(e.Output)
	}
}

// finished reports whether a test came to its end.
func (r *report) finished(name string) bool {
	outcome, ran := r.outcomes[name]
	return ran && outcome != unfinished
}

// forget removes what a test that did not come to its end has left.
func (r *report) forget(name string) {
	maps.DeleteFunc(r.outcomes, func(n, _ string) bool { return n == name || strings.HasPrefix(n, name+"/") })
}

// printed is what a test and its subtests printed.
func (r *report) printed(name string) string {
	var b strings.Builder
	for _, n := range slices.Sorted(maps.Keys(r.output)) {
		if n == name || strings.HasPrefix(n, name+"/") {
			b.Write(r.output[n].Bytes())
		}
	}
	return b.String()
}
