package main

import (
	"bufio"
	"errors"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be the program itself.
func TestMain(m *testing.M) {
	if os.Getenv("POLSET_TEST_SERVICES_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// services is the program, with a temporary directory of its own.
func services(t *testing.T, args ...string) (*exec.Cmd, string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// PostgreSQL's user must be able to walk there.
	dir, err := os.MkdirTemp("", "polset-services-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "POLSET_TEST_SERVICES_MAIN=1", "TMPDIR="+dir)
	cmd.Stderr = os.Stderr
	return cmd, dir
}

func TestExitCode(t *testing.T) {
	for _, test := range []struct {
		name, script string
		want         int
	}{
		{"success", "test -n \"$POLSET_TEST_S3_SECRET_KEY\"", 0},
		{"failure", "exit 7", 7},
		{"death", "kill -KILL $$", 137},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd, dir := services(t, "-durable", "--", "sh", "-c", test.script)
			err := cmd.Run()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if got := cmd.ProcessState.ExitCode(); got != test.want {
				t.Errorf("exit code %d, want %d", got, test.want)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// However the program ends, its services and the command end with it.
func TestSignals(t *testing.T) {
	for _, test := range []struct {
		name   string
		signal syscall.Signal
		last   string
	}{
		{"interrupt", syscall.SIGINT, "sleep 60; true"},
		{"terminate", syscall.SIGTERM, "sleep 60; true"},
		// A killed program takes only its own children with it.
		{"kill", syscall.SIGKILL, "exec sleep 60"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd, dir := services(t, "--", "sh", "-c",
				`echo "$POLSET_TEST_DATABASE_URL"; echo "$POLSET_TEST_S3_ENDPOINT"; `+test.last)
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(stdout)
			var addresses []string
			for len(addresses) < 2 && lines.Scan() {
				u, err := url.Parse(lines.Text())
				if err != nil {
					t.Fatal(err)
				}
				addresses = append(addresses, u.Host)
			}
			if len(addresses) < 2 {
				t.Fatalf("services are at %q: %v", addresses, lines.Err())
			}
			if err := cmd.Process.Signal(test.signal); err != nil {
				t.Fatal(err)
			}
			// The command and its children hold the other end of the pipe.
			timer := time.AfterFunc(10*time.Second, func() {
				t.Error("the command outlives the program")
				_ = stdout.Close()
			})
			for lines.Scan() {
			}
			timer.Stop()
			if err := cmd.Wait(); err == nil {
				t.Error("the program ended well")
			}
			for _, address := range addresses {
				if !ends(t, address) {
					t.Errorf("something still listens at %s", address)
				}
			}
			if test.signal == syscall.SIGKILL {
				return // who is killed cannot tidy up
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// ends waits until nobody listens at address.
func ends(t *testing.T, address string) bool {
	t.Helper()
	deadline, tick := time.After(10*time.Second), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return true
		}
		_ = conn.Close()
		select {
		case <-tick.C:
		case <-deadline:
			return false
		}
	}
}

func TestMissing(t *testing.T) {
	cmd, _ := services(t, "--", "true")
	cmd.Env = append(cmd.Env, "PATH=", "GOBIN=/nonexistent")
	cmd.Stderr = nil
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatal("the program found what is not there")
	}
	if cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("exit code %d", cmd.ProcessState.ExitCode())
	}
	if !strings.Contains(string(out), "make test-deps") {
		t.Errorf("it said %q", out)
	}
}
