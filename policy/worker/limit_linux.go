package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// slack is what the process may take beyond the memory: threads that come
	// later, and what is asked for between two looks of the watch.
	slack = 64 << 20
	// assumed is what the program itself takes where nobody says so.
	assumed = 256 << 20
	// openFiles is how many files the process may have open: three pipes, what the
	// Go runtime needs, and a time zone that a policy asks for.
	openFiles = 32
)

// limitResources bounds what the process may take of the system. RLIMIT_DATA is
// on all private memory that is writable; an allocation beyond it fails, which
// ends a Go program at once. It counts what is mapped, not what is used, so what
// the program itself has mapped comes on top.
func limitResources(memory int64) error {
	if err := closeInherited(); err != nil {
		return err
	}
	// Where the host has no more memory, the kernel shall end this process and not
	// the server, which tries again. It may not be ours to say.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	own, err := mapped()
	if errors.Is(err, fs.ErrNotExist) {
		own, err = assumed, nil
	}
	if err != nil {
		return err
	}
	for _, l := range []struct {
		name     string
		resource int
		most     uint64
	}{
		{"RLIMIT_CORE", unix.RLIMIT_CORE, 0}, // which would hold what policies see
		{"RLIMIT_FSIZE", unix.RLIMIT_FSIZE, 0},
		{"RLIMIT_NOFILE", unix.RLIMIT_NOFILE, openFiles},
		{"RLIMIT_DATA", unix.RLIMIT_DATA, own + shadow*uint64(memory) + slack}, //nolint:gosec // positive
	} {
		var now unix.Rlimit
		if err := unix.Getrlimit(l.resource, &now); err != nil {
			return fmt.Errorf("get %s: %w", l.name, err)
		}
		most := min(l.most, now.Max) // an operator's own limit may be lower
		if err := unix.Setrlimit(l.resource, &unix.Rlimit{Cur: most, Max: most}); err != nil {
			return fmt.Errorf("set %s: %w", l.name, err)
		}
	}
	return nil
}

// closeInherited closes what whoever started the server left open, and the
// server with it. What this process opened itself closes when a program is
// executed; what came through one does not.
func closeInherited() error {
	const first = 3 // behind the pipes
	open, err := os.ReadDir("/proc/self/fd")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range open {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || fd < first {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd) // nothing was written
		}
	}
	return nil
}

// mapped is how much private memory is mapped, in bytes.
func mapped() (uint64, error) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text)) // size resident shared text lib data dt
	if len(fields) < 6 {
		return 0, fmt.Errorf("read /proc/self/statm: %q", text)
	}
	pages, err := strconv.ParseUint(fields[5], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read /proc/self/statm: %w", err)
	}
	return pages * uint64(os.Getpagesize()), nil //nolint:gosec // positive
}
