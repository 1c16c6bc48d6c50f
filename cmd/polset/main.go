// Command polset is the self-hosted home of Terraform policy sets. It wires
// the rooms together, one file a subcommand.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/polset/polset/policy/worker"
)

// commands is the command line: every option is a flag and an environment
// variable.
type commands struct {
	Serve   serveCommand   `cmd:"" help:"Serve the webhooks and the API, and ingest what arrives."`
	Check   checkCommand   `cmd:"" help:"Check a Terraform plan: against the policy sets of a workspace, or a directory."`
	Token   tokenCommands  `cmd:"" help:"Manage API tokens."`
	GitHub  githubCommands `cmd:"" name:"github" help:"Set the GitHub App up, and bind its installations."`
	Replay  replayCommand  `cmd:"" help:"Run a delivery again."`
	Audit   auditCommands  `cmd:"" help:"Check the audit chains."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

func main() {
	// Before anything else: a worker has nothing that it does not need.
	if len(os.Args) > 1 && os.Args[1] == worker.Subcommand {
		os.Exit(worker.Main(os.Args[2:]))
	}
	keepPrivate()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// An exitError ends polset with a code of its own. Without an error there is
// nothing left to say.
type exitError struct {
	code int
	err  error
}

// Error implements error.
func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

// Unwrap returns the cause.
func (e *exitError) Unwrap() error { return e.err }

// run is main with an exit code: 0 when all went well, 1 when a command
// failed or found something wrong, 2 when it was not understood; check, which
// others decide by, has codes of its own.
func run(ctx context.Context, args []string) int {
	var c commands
	code := -1
	parser, err := kong.New(&c,
		kong.Name("polset"),
		kong.Description("The open, self-hosted home of Terraform policy sets."),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Exit(func(n int) { code = n }),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, "polset:", err)
		return 2
	}
	parsed, err := parser.Parse(args)
	if code >= 0 { // help was asked for
		return code
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "polset:", err)
		return 2
	}
	err = parsed.Run()
	var exit *exitError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &exit):
		exit = &exitError{code: 1, err: err}
	}
	if exit.err != nil {
		fmt.Fprintln(os.Stderr, "polset:", exit.err)
	}
	return exit.code
}
