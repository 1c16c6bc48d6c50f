// Command bench measures polset beside what others do with git, in one run and
// on one machine, and fails where a ratio is missed:
//
//	go run ./internal/polsettest/services -durable -- go run ./internal/polsettest/bench
//
// It makes its own repositories, the same ones every time, and serves them by
// git http-backend with GitHub's capabilities, from a process of its own, so
// that the CPU time that it reports is the client's. Milliseconds are
// reported; ratios, bytes, requests and memory are asserted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/polset/polset/policy/worker"
)

// timeLimit ends a bench in which something hangs.
const timeLimit = 20 * time.Minute

// A part is what -only can name.
type part struct {
	name, what   string
	repositories []recipe
	run          func(context.Context, *bench) error
}

var parts = []part{
	{"small", "one fetch of the small repository", []recipe{small}, smallFetch},
	{"fetch", "one fetch of the medium and of the large one, beside git", []recipe{small, medium, large}, largeFetch},
	{"ingest", "fifty ingests at once, beside git", []recipe{small}, ingests},
	{"webhook", "deliveries a second, on SQLite and PostgreSQL", []recipe{pushed}, webhooks},
	{"reads", "lists and single ones of 10,000 policy sets, on SQLite and PostgreSQL", nil, reads},
	{"check", "20 policies over a plan of 5 MiB, beside opa eval and OPA's library", nil, checked},
}

type options struct {
	only       string
	binary     string
	dir        string
	reportOnly bool
}

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == childArgument:
		os.Exit(childMain(os.Args[2]))
	case len(os.Args) > 1 && os.Args[1] == worker.Subcommand:
		os.Exit(worker.Main(os.Args[2:]))
	}
	var o options
	flag.StringVar(&o.only, "only", "", "the one `part` to run: "+partNames())
	flag.StringVar(&o.binary, "polset", "bin/polset", "the polset `binary` that receives webhooks")
	flag.StringVar(&o.dir, "dir", ".bench", "the `directory` that keeps the repositories for the next run; \"\" keeps nothing")
	flag.BoolVar(&o.reportOnly, "report-only", false, "succeed even where a target is missed")
	flag.Parse()
	if o.only != "" && !slices.ContainsFunc(parts, func(p part) bool { return p.name == o.only }) {
		_, _ = fmt.Fprintf(os.Stderr, "bench: -only must be one of %s\n", partNames())
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, o, os.Stdout)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case interrupted:
		_, _ = fmt.Fprintln(os.Stderr, "\nInterrupted; everything is stopped and removed.")
		os.Exit(130)
	case err != nil:
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func partNames() string {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	return strings.Join(names, ", ")
}

// A bench is what the parts share.
type bench struct {
	*report
	options
	temp  string // removed at the end
	git   *gitServer
	repos map[string]repository // by the recipe's name
}

// run prepares, measures and cleans up, whatever happened.
func run(ctx context.Context, o options, out io.Writer) (err error) {
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	b := &bench{report: newReport(out), options: o, repos: map[string]repository{}}
	if b.temp, err = os.MkdirTemp("", "polset-bench-"); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.temp)) }()
	if b.dir == "" {
		b.dir = filepath.Join(b.temp, "repositories")
	}
	if b.git, err = startGitServer(ctx, b.dir, b.temp); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.git.stop()) }()

	for _, p := range parts {
		if b.only != "" && b.only != p.name {
			continue
		}
		for _, r := range p.repositories {
			if err := b.prepare(r); err != nil {
				return err
			}
		}
		if err := p.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	b.end()
	if len(b.missed) > 0 && !b.reportOnly {
		return fmt.Errorf("%d of %d targets missed", len(b.missed), b.asserted)
	}
	return nil
}

// prepare makes a repository, or finds that of an earlier run.
func (b *bench) prepare(r recipe) error {
	if _, ok := b.repos[r.Name]; ok {
		return nil
	}
	defer b.progress("repository %s: %s", r.Name, r.describe())()
	made, err := b.git.make(r)
	if err != nil {
		return fmt.Errorf("make repository %s: %w", r.Name, err)
	}
	b.repos[r.Name] = made
	return nil
}
