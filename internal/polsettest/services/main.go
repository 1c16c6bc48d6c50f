// Command services runs a command beside a real PostgreSQL and a real S3
// server, made for it alone, and leaves nothing behind:
//
//	go run ./internal/polsettest/services -- go test ./...
//
// It takes about two seconds to start and needs PostgreSQL's server programs
// and versitygw, which make test-deps installs.
//
// The command finds them through POLSET_TEST_DATABASE_URL (a superuser's URL),
// POLSET_TEST_S3_ENDPOINT, POLSET_TEST_S3_ACCESS_KEY and
// POLSET_TEST_S3_SECRET_KEY. Its exit code becomes that of this program
// (which go run, in its turn, reports as 1 unless it is 0).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/polset/polset/internal/polsettest"
)

// startTimeout is how long all services together may take to be ready.
const startTimeout = 2 * time.Minute

// interrupted is the exit code of a start that a signal ended.
const interrupted = 130

func main() {
	// The services die with the thread that started them (see detach), and
	// the main thread lives as long as the process.
	runtime.LockOSThread()
	durable := flag.Bool("durable", false, "let PostgreSQL write to disk as it would in production")
	flag.Usage = func() {
		_, _ = fmt.Fprintln(os.Stderr, "usage: services [-durable] -- COMMAND ARGUMENTS…")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	code, err := run(*durable, flag.Args())
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "services:", err)
	}
	os.Exit(code)
}

// run starts the services, runs the command and stops the services.
func run(durable bool, command []string) (code int, err error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go watchParent(os.Getppid(), signals)

	dir, err := os.MkdirTemp("", "polset-services-")
	if err != nil {
		return 1, fmt.Errorf("make a directory: %w", err)
	}
	defer func() {
		if removed := os.RemoveAll(dir); removed != nil {
			code, err = max(code, 1), errors.Join(err, removed)
		}
	}()

	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	stopWatch := cancelOn(signals, cancel)
	pg, url, err := startPostgres(ctx, dir, durable)
	defer pg.stop(syscall.SIGQUIT) // at once: nobody wants the data
	if err != nil {
		if stopWatch() {
			return interrupted, errors.New("interrupted")
		}
		return 1, fmt.Errorf("start PostgreSQL: %w", err)
	}
	s3, bucket, err := startS3(ctx, dir)
	defer s3.stop(syscall.SIGTERM)
	if stopWatch() {
		return interrupted, errors.New("interrupted")
	}
	if err != nil {
		return 1, fmt.Errorf("start the S3 server: %w", err)
	}
	return runCommand(command, append(os.Environ(),
		polsettest.EnvDatabaseURL+"="+url,
		polsettest.EnvS3Endpoint+"="+bucket.Endpoint,
		polsettest.EnvS3AccessKey+"="+bucket.AccessKey,
		polsettest.EnvS3SecretKey+"="+bucket.SecretKey,
	), signals)
}

// cancelOn cancels at the first signal. The function that it returns ends
// that and says whether there was one.
func cancelOn(signals <-chan os.Signal, cancel func()) func() bool {
	stop, seen := make(chan struct{}), make(chan bool, 1)
	go func() {
		select {
		case <-signals:
			cancel()
			seen <- true
		case <-stop:
			seen <- false
		}
	}()
	return func() bool {
		close(stop)
		return <-seen
	}
}

// watchParent turns the parent's death into a signal: go run, when it is
// killed, does not tell its child.
func watchParent(parent int, signals chan<- os.Signal) {
	for range time.Tick(time.Second) {
		if os.Getppid() != parent {
			signals <- syscall.SIGTERM
			return
		}
	}
}

// runCommand runs the command in a process group of its own, hands signals
// on to all of the group, and leaves none of it behind.
func runCommand(command, env []string, signals <-chan os.Signal) (int, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if stdin := int(os.Stdin.Fd()); term.IsTerminal(stdin) {
		cmd.SysProcAttr.Foreground, cmd.SysProcAttr.Ctty = true, stdin
	}
	detach(cmd.SysProcAttr, syscall.SIGKILL)
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("start %s: %w", command[0], err)
	}
	group := -cmd.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var kill <-chan time.Time
	for {
		select {
		case s := <-signals:
			if s, ok := s.(syscall.Signal); ok {
				_ = syscall.Kill(group, s) // fails only when it has ended
			}
			kill = time.After(stopTimeout)
		case <-kill:
			_ = syscall.Kill(group, syscall.SIGKILL)
		case err := <-ended:
			_ = syscall.Kill(group, syscall.SIGKILL)
			return exitCode(err)
		}
	}
}

// exitCode is what a shell would report.
func exitCode(err error) (int, error) {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		if err != nil {
			return 1, fmt.Errorf("wait for the command: %w", err)
		}
		return 0, nil
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return exit.ExitCode(), nil
}

// freePort finds a port that nothing listens on right now.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}
