// Command demo turns a push into a ready policy set version before one's eyes:
// a real git server, the real polset binary on its embedded defaults, and a
// developer's clone in between. It checks each thing that it shows, and leaves
// nothing behind.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/polset/polset/internal/polsettest"
)

// limit ends a demo in which something hangs.
const limit = 3 * time.Minute

func main() {
	binary := flag.String("polset", "bin/polset", "the polset `binary` to show")
	testdata := flag.String("testdata", "testdata/demo", "the `directory` of the policies")
	flag.Parse()
	// A reader that goes away (make demo | head) must not leave polset behind.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	err := demo(ctx, newPrinter(os.Stdout), *binary, *testdata)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case interrupted:
		os.Exit(130)
	case err != nil:
		os.Exit(1)
	}
}

// A world is what the walk happens in.
type world struct {
	*printer
	lib      *library
	git      *polsettest.Git
	policies *polsettest.Repo
	helpers  *polsettest.Repo
	server   *server
	api      *client

	gitToken, apiToken, hookSecret string
	deliveries                     chan delivery // what became of them
}

// demo prepares the world, walks, and cleans up whatever happened.
func demo(ctx context.Context, p *printer, binary, testdata string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	w := &world{
		printer: p, deliveries: make(chan delivery, 16),
		gitToken: "ghp_" + rand.Text(), apiToken: rand.Text(), hookSecret: rand.Text(),
	}
	dir, err := os.MkdirTemp("", "polset-demo-")
	if err != nil {
		p.failed(err)
		return err
	}
	defer func() {
		if r := recover(); r != nil { // the git server panics with what it cannot do
			err = errors.Join(err, fmt.Errorf("%v", r))
		}
		err = errors.Join(err, w.cleanUp(dir))
		switch {
		case errors.Is(ctx.Err(), context.Canceled):
			p.print("\nInterrupted; everything is stopped and removed.\n")
		case err != nil:
			w.explain(err)
		default:
			p.goodbye()
		}
	}()
	if w.lib, err = readLibrary(testdata); err != nil {
		return err
	}
	p.print(p.paint(bold, "polset: a push becomes a policy set version") + "\n")
	if err := w.serveGit(ctx, filepath.Join(dir, "git")); err != nil {
		return err
	}
	if err := w.startPolset(ctx, binary, dir); err != nil {
		return err
	}
	return w.walk(ctx, dir)
}

// serveGit makes the repositories, which only the token opens.
func (w *world) serveGit(ctx context.Context, dir string) (err error) {
	w.step("A git server with two private repositories")
	if w.git, err = polsettest.StartGit(dir); err != nil {
		return err
	}
	w.helpers = w.git.Create("acme/policy-lib")
	helpers := w.helpers.Commit("main", w.lib.helpers, polsettest.Message("Helpers for policies\n"))
	w.policies = w.git.Create("acme/policies")
	w.policies.Commit("main", w.lib.policies, polsettest.Message("Policies for production and staging\n"),
		polsettest.Submodule(policiesPath+"/lib", helpers))
	w.helpers.RequireToken(w.gitToken)
	w.policies.RequireToken(w.gitToken)
	w.policies.OnPush(func(push polsettest.Push) { w.deliver(ctx, push) })
	w.say("acme/policies    %s, %s in %s", plural(len(w.lib.policies), "file"), plural(w.lib.declared(), "policy"), policiesPath)
	w.say("acme/policy-lib  %s, the submodule %s/lib", plural(len(w.lib.helpers), "file"), policiesPath)
	w.say("It stands in for github.com: git over HTTP, and a signed webhook after each push.")
	return nil
}

// startPolset starts the binary on its embedded defaults: SQLite and a
// directory.
func (w *world) startPolset(ctx context.Context, binary, dir string) (err error) {
	w.step("polset serve, on the embedded defaults")
	began := time.Now()
	w.server, err = startServer(ctx, binary, dir, map[string]string{
		"POLSET_DATA_DIR":               filepath.Join(dir, "data"),
		"POLSET_BOOTSTRAP_TOKEN":        w.apiToken,
		"POLSET_RATE_LIMIT":             "0",
		"POLSET_GITHUB_URL":             w.git.URL(),
		"POLSET_GITHUB_WEBHOOK_SECRET":  w.hookSecret,
		"POLSET_ALLOW_PRIVATE_NETWORKS": "127.0.0.0/8",
	})
	if err != nil {
		return err
	}
	w.api = &client{base: w.server.url, token: w.apiToken}
	if _, err := w.api.send(ctx, "GET", "/readyz", nil, 200); err != nil {
		return err
	}
	w.say("SQLite and a directory of objects, below one data directory; nothing else runs.")
	w.checked("listening on %s and ready after %s", w.server.url, ms(time.Since(began)))
	return nil
}

// cleanUp stops whatever still runs and removes every file.
func (w *world) cleanUp(dir string) (err error) {
	if w.server != nil && !w.server.ended() { // how it ended by itself was told already
		err = w.server.stop()
	}
	if w.git != nil {
		err = errors.Join(err, w.git.Close())
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// explain ends a demo that failed with what is known of the reason.
func (w *world) explain(err error) {
	w.failed(err)
	if w.server == nil {
		return
	}
	if log := w.server.log.tail(40); log != "" {
		w.print("\nThe end of polset's log:\n")
		w.quote(log)
	}
}

func (p *printer) goodbye() {
	p.print(fmt.Sprintf("\n%s  everything held, after %.1f s. Nothing runs on, and every file is removed.\n", p.paint(good, "done"), time.Since(p.start).Seconds()))
	p.print(`
What to try next:
  bin/polset serve                     with your own repository: README.md, "Run it"
  opa eval -d testdata/demo/policies/policies/prod -d testdata/demo/policy-lib \
    -i testdata/demo/plans/careless.json 'data.terraform.policies'
  make test                            everything, on PostgreSQL and S3 too
`)
}
