//go:build linux

package main_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal opens a pseudo-terminal of some width.
func terminal(t *testing.T, width uint16) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: width})
	}
	if err == nil {
		slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// On a terminal the progress is one line that lives, and leaves nothing.
func TestCheckOnTerminal(t *testing.T) {
	s := newCheckServer(t)
	s.Statuses = []string{"pending", "post_plan_running", "post_plan_completed"}
	s.evaluation("poleval-1", "passed", outcome("p", false, said("x", "mandatory", "passed")))
	master, slave := terminal(t, 24)
	cmd := exec.CommandContext(t.Context(), polsetBinary, "check", "--workspace", checkWS, "--plan", "-")
	cmd.Env = append(s.env(), "TMPDIR="+t.TempDir())
	cmd.Stdin, cmd.Stderr = strings.NewReader(checkPlan), slave
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := slave.Close(); err != nil {
		t.Fatal(err)
	}
	shown, err := io.ReadAll(master) // until nobody holds the other end
	if err != nil && !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	lines := strings.Split(string(shown), "\r\x1b[K")
	if len(lines) < 5 || lines[0] != "" || lines[len(lines)-1] != "" {
		t.Errorf("the terminal got %q", shown)
	}
	for _, line := range lines {
		if strings.ContainsAny(line, "\r\n\x1b") || len([]rune(line)) > 23 {
			t.Errorf("this is no line of a terminal of 24 columns: %q", line)
		}
	}
	if !strings.Contains(string(shown), "polset: run run-1: pen") {
		t.Errorf("the terminal got %q", shown)
	}
}
