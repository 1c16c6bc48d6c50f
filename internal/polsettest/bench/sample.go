package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cpuTime is what this process has used of the processors, in user and system
// mode.
func cpuTime() (time.Duration, error) { return cpuTimeOf(syscall.RUSAGE_SELF) }

// familyTime is cpuTime with that of all children that have ended.
func familyTime() (time.Duration, error) {
	own, err := cpuTime()
	if err != nil {
		return 0, err
	}
	children, err := cpuTimeOf(syscall.RUSAGE_CHILDREN)
	return own + children, err
}

func cpuTimeOf(who int) (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		return 0, fmt.Errorf("read the CPU time: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// A peak is how much memory a process took beyond what it had when idle.
type peak struct {
	Idle, Top int64 // bytes resident
}

func (p peak) above() float64 { return float64(max(0, p.Top-p.Idle)) }

// measurePeak runs f and looks how far the resident memory rose meanwhile. The
// kernel keeps the mark, so no moment is missed.
func measurePeak(f func() error) (peak, error) {
	debug.FreeOSMemory()
	idle, err := processStatus("VmRSS")
	if err != nil {
		return peak{}, err
	}
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		return peak{}, fmt.Errorf("reset the memory's high-water mark: %w", err)
	}
	if err := f(); err != nil {
		return peak{}, err
	}
	top, err := processStatus("VmHWM")
	return peak{idle, top}, err
}

// processStatus reads a size in bytes from what Linux tells of this process.
func processStatus(field string) (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("read this process's memory, which needs Linux: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read %s: %w", field, err)
			}
			return n << 10, nil
		}
	}
	return 0, fmt.Errorf("read %s: Linux does not tell it", field)
}

// percentile is the value that p percent of the sample do not exceed; 0 of
// none. 50 is the median.
func percentile(sample []time.Duration, p float64) time.Duration {
	if len(sample) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(sample))
	return sorted[min(len(sorted)-1, int(float64(len(sorted))*p/100))]
}

func median(sample []time.Duration) time.Duration { return percentile(sample, 50) }

// diskWritten is how many bytes this process has caused to be written to a
// disk so far, files that were removed again included.
func diskWritten() (int64, error) {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, fmt.Errorf("read what was written, which needs Linux: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "write_bytes:"); ok {
			return strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, fmt.Errorf("read what was written: Linux does not tell it")
}
