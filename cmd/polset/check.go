package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// checkCommand asks what policies say of a plan: those of a server that apply
// to a workspace, or those of a directory.
type checkCommand struct {
	Plan      string `required:"" placeholder:"FILE" help:"The plan as terraform show -json writes it; - for standard input."`
	Workspace string `required:"" xor:"where" placeholder:"WORKSPACE" help:"Check against the policy sets that apply to a workspace: ws-…, ORGANIZATION/NAME, or a name with --organization."`
	Dir       string `required:"" xor:"where" placeholder:"DIR" help:"Check offline, against the policy set in a directory."`

	Timeout time.Duration `default:"10m" placeholder:"DURATION" help:"Limit on all of it (${default})."`

	Format string `enum:"table,json,sarif,junit" default:"table" placeholder:"FORMAT" help:"table, json, sarif or junit (${default})."`
	JSON   bool   `name:"json" xor:"format" help:"As --format json."`
	SARIF  bool   `name:"sarif" xor:"format" help:"As --format sarif."`
	JUnit  bool   `name:"junit" xor:"format" help:"As --format junit."`
	Output string `placeholder:"FILE" help:"Write the report to a file. Standard output then shows the table."`

	Remote  checkRemote  `embed:"" group:"With --workspace:"`
	Offline checkOffline `embed:"" group:"With --dir:"`
}

// Help is what polset check --help says besides.
func (checkCommand) Help() string {
	return `The exit code is 0 when the plan passed (failures of advisory policies included, and when no policy set applies), 1 when a mandatory policy failed, and 2 when there is no verdict: a policy that could not be evaluated, a server that does not answer, a plan that is none, wrong usage.

  terraform plan -out tfplan && terraform show -json tfplan > plan.json
  polset check --workspace acme/network --plan plan.json
  polset check --dir policies/ --plan plan.json --parameter 'regions=["eu-central-1"]'`
}

// The exit codes of polset check.
const (
	exitFailed  = 1
	exitErrored = 2
)

// Run checks, reports, and says by the exit code what came of it.
func (k *checkCommand) Run(ctx context.Context) error {
	if err := k.settle(); err != nil {
		return &exitError{exitErrored, err}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, k.Timeout, fmt.Errorf("no verdict within %s, the limit of --timeout", k.Timeout))
	defer cancel()

	r, err := k.check(ctx)
	if err != nil {
		err = errors.New(plain(err.Error())) // servers have a say in it
		r.Err = err
	}
	if failed := k.write(r); failed != nil {
		return &exitError{exitErrored, errors.Join(err, failed)}
	}
	if code := r.exitCode(); code != 0 {
		return &exitError{code, err}
	}
	return nil
}

// settle judges what kong cannot.
func (k *checkCommand) settle() error {
	for format, wanted := range map[string]bool{"json": k.JSON, "sarif": k.SARIF, "junit": k.JUnit} {
		if !wanted {
			continue
		}
		if k.Format != "table" && k.Format != format {
			return fmt.Errorf("--format %s and --%s contradict each other", k.Format, format)
		}
		k.Format = format
	}
	if k.Timeout <= 0 {
		return errors.New("--timeout must be greater than 0")
	}
	if k.Dir != "" {
		return nil
	}
	if name := k.Offline.given(); name != "" {
		return fmt.Errorf("%s goes with --dir: a workspace's policy sets have their own", name)
	}
	return k.Remote.settle(k.Workspace)
}

// check returns a report that is fit to be written whatever happened.
func (k *checkCommand) check(ctx context.Context) (report, error) {
	if k.Dir != "" {
		return k.Offline.check(ctx, k.Dir, k.Plan)
	}
	progress := newProgress(os.Stderr)
	defer progress.end()
	return k.Remote.check(ctx, k.Workspace, k.Plan, progress)
}

// write puts the report where it belongs. Why there is no verdict at all is
// for standard error, unless the report is one for programs.
func (k *checkCommand) write(r report) error {
	shown := k.Format
	if k.Output != "" {
		shown = "table"
		f, err := os.Create(k.Output)
		if err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
		if err := errors.Join(r.write(f, k.Format), f.Close()); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	if shown != "table" || r.Err == nil {
		if err := r.write(os.Stdout, shown); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	return nil
}
