package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
)

// checkOffline is how a directory is checked against, without a server.
type checkOffline struct {
	Parameter   map[string]string `mapsep:"none" placeholder:"KEY=VALUE" help:"A parameter of the policy set (input.parameters). May be repeated."`
	Kind        string            `enum:"auto,opa,sentinel" default:"auto" placeholder:"KIND" help:"opa or sentinel. Default: what the directory holds."`
	Overridable bool              `help:"The failure of a mandatory policy may be overridden, as where the policy set says so."`
	RunFile     string            `name:"run" placeholder:"FILE" help:"JSON that policies see as input.run. Default: a run of no workspace in particular."`
	At          moment            `placeholder:"TIME" help:"What policies take for the present time, such as 2026-01-31T12:00:00Z. Default: created_at of --run, or now."`
}

// A moment is a time on the command line.
type moment struct{ time.Time }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *moment) UnmarshalText(text []byte) error {
	t, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return fmt.Errorf("%q is no time such as 2026-01-31T12:00:00Z", text)
	}
	m.Time = t
	return nil
}

// given is a flag that makes sense with a directory only.
func (k *checkOffline) given() string {
	switch {
	case len(k.Parameter) > 0:
		return "--parameter"
	case k.Kind != "auto":
		return "--kind"
	case k.Overridable:
		return "--overridable"
	case k.RunFile != "":
		return "--run"
	case !k.At.IsZero():
		return "--at"
	}
	return ""
}

// check does what the server does, in this process.
func (k *checkOffline) check(ctx context.Context, dir, planPath string) (report, error) {
	r := report{Plan: planPath, Dir: dir}
	run, err := k.run()
	if err != nil {
		return r, err
	}
	r.At = run.at
	root, err := os.OpenRoot(dir)
	if err != nil {
		return r, fmt.Errorf("read the policy set: %w", err)
	}
	defer func() { _ = root.Close() }()
	files := workTree{root.FS()}
	kind, err := k.kind(files)
	if err != nil {
		return r, err
	}
	plan, err := readPlan(ctx, planPath)
	if err != nil {
		return r, err
	}
	results, err := evaluate(ctx, policy.Evaluation{
		Plan: plan, Run: run.input, At: run.at, Seed: run.id,
		Sets: []policy.SetEvaluation{{
			Kind: kind, Parameters: k.Parameter,
			Files: func(context.Context) (fs.FS, error) { return files, nil },
		}},
	})
	if err == nil {
		r.Sets, err = k.sets(dir, kind, results)
	}
	return r, offlineError(ctx, err)
}

// evaluate does not wait for a policy that does not let itself be stopped: a
// server would end its worker, and here the process ends.
func evaluate(ctx context.Context, e policy.Evaluation) ([]policy.SetResult, error) {
	type answer struct {
		results []policy.SetResult
		err     error
	}
	answers := make(chan answer, 1)
	go func() {
		results, err := policy.Evaluate(ctx, e)
		answers <- answer{results, err}
	}()
	select {
	case a := <-answers:
		return a.results, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// offlineError is what stands in the way of any result, for people.
func offlineError(ctx context.Context, err error) error {
	var f *polset.Failure
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &f):
		return errors.New(f.Message)
	}
	return err
}

// sets are the results as a server keeps them.
func (k *checkOffline) sets(dir string, kind polset.Kind, results []policy.SetResult) ([]reportSet, error) {
	base, name := seenFromHere(dir)
	var sets []reportSet
	for _, result := range results {
		s := reportSet{Base: base, PolicySetOutcome: polset.PolicySetOutcome{
			PolicySetName: name, Kind: kind, Overridable: k.Overridable, Policies: result.Policies,
		}}
		if result.Err != nil {
			var f *polset.Failure
			if !errors.As(result.Err, &f) {
				return nil, result.Err
			}
			s.Error, s.ErrorMessage, s.Diagnostics = f.Class, f.Message, f.Diagnostics
			var invalid *policy.Invalid
			if errors.As(f, &invalid) {
				s.More = invalid.More
			}
		}
		s.Counts = s.Count()
		sets = append(sets, s)
	}
	return sets, nil
}

// seenFromHere is a directory as a path from the present one where it lies
// below that, and what it is called.
func seenFromHere(dir string) (seen, name string) {
	seen = filepath.Clean(dir)
	whole, err := filepath.Abs(dir)
	if err != nil {
		return filepath.ToSlash(seen), filepath.Base(seen)
	}
	if here, err := os.Getwd(); err == nil {
		if below, err := filepath.Rel(here, whole); err == nil && filepath.IsLocal(below) {
			seen = below
		}
	}
	return filepath.ToSlash(seen), filepath.Base(whole)
}

// kind is that of the files, unless somebody says otherwise.
func (k *checkOffline) kind(files fs.FS) (polset.Kind, error) {
	if k.Kind != "auto" {
		return polset.Kind(k.Kind), nil
	}
	for _, c := range []struct {
		file string
		kind polset.Kind
	}{
		{"policies.hcl", polset.KindOPA},
		{"policies.json", polset.KindOPA},
		{"sentinel.hcl", polset.KindSentinel},
	} {
		_, err := fs.Stat(files, c.file)
		if err == nil {
			return c.kind, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("read the policy set: %w", err)
		}
	}
	return polset.KindOPA, nil // whose absence the policy room explains
}

// runInput is the run that policies see.
type runInput struct {
	id    string
	at    time.Time
	input []byte
}

// run reads input.run, or makes one up.
func (k *checkOffline) run() (runInput, error) {
	run := runInput{id: "run-offline", at: k.At.Time}
	if k.RunFile != "" {
		raw, err := os.ReadFile(k.RunFile)
		if err != nil {
			return run, fmt.Errorf("read --run: %w", err)
		}
		var known struct {
			ID        string    `json:"id"`
			CreatedAt time.Time `json:"created_at"`
		}
		if err := json.Unmarshal(raw, &known); err != nil {
			var kind *json.UnmarshalTypeError
			if errors.As(err, &kind) {
				err = fmt.Errorf("%s is of type %s", firstOf(kind.Field, "it"), kind.Value)
			}
			return run, fmt.Errorf("%s is no JSON of a run, such as policies see as input.run: %w", k.RunFile, err)
		}
		run.input, run.id = raw, firstOf(known.ID, run.id)
		if run.at.IsZero() {
			run.at = known.CreatedAt
		}
	}
	if run.at.IsZero() {
		run.at = time.Now()
	}
	run.at = run.at.UTC()
	if run.input != nil {
		return run, nil
	}
	var err error
	run.input, err = json.Marshal(polset.RunInput{
		ID: run.id, CreatedAt: run.at, CreatedBy: "cli", Message: "polset check", Refresh: true, Speculative: true,
		ReplaceAddrs: []string{}, TargetAddrs: []string{}, Variables: map[string]polset.RunVariable{},
		Project: polset.RunProject{ID: "prj-offline", Name: "Default Project"}, Organization: polset.RunOrganization{Name: "offline"},
		Workspace: polset.RunWorkspace{
			ID: "ws-offline", Name: "offline", CreatedAt: run.at, ExecutionMode: "remote", Tags: []string{}, TagBindings: []polset.RunTag{},
		},
	})
	return run, err
}

// readPlan reads the whole plan, once.
func readPlan(ctx context.Context, name string) (raw []byte, err error) {
	p, err := openPlan(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	return p.read(ctx)
}

// A workTree is a directory that somebody works in: what git keeps there, and
// what Terraform does, is no part of a commit.
type workTree struct{ fs.FS }

// ReadDir implements fs.ReadDirFS.
func (w workTree) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(w.FS, name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return strings.EqualFold(e.Name(), ".git") || e.Name() == ".terraform"
	}), err
}

// Stat implements fs.StatFS.
func (w workTree) Stat(name string) (fs.FileInfo, error) { return fs.Stat(w.FS, name) }

// Lstat implements fs.ReadLinkFS.
func (w workTree) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(w.FS, name) }

// ReadLink implements fs.ReadLinkFS.
func (w workTree) ReadLink(name string) (string, error) { return fs.ReadLink(w.FS, name) }
