package worker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/tools/txtar"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
	"github.com/polset/polset/policy/worker"
)

// here is what Pool.Inspect does, in this process.
func here(ctx context.Context, fsys fs.FS, dir string, kind polset.Kind) ([]polset.PolicySummary, error) {
	set, err := policy.Read(fsys, dir, kind)
	if err != nil {
		return nil, err
	}
	return set.Inspect(ctx, fsys)
}

// TestInspectSaysTheSame holds the pool against package policy for whatever that
// is tested with.
func TestInspectSaysTheSame(t *testing.T) {
	p := newPool(t, nil)
	files, err := filepath.Glob("../testdata/*.txtar")
	if err != nil || len(files) < 20 {
		t.Fatalf("fixtures: %v, %v", files, err)
	}
	good, bad := 0, 0
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			fsys, dir := fstest.MapFS{}, ""
			for _, f := range archive.Files {
				fsys[f.Name] = &fstest.MapFile{Data: f.Data, Mode: 0o644}
			}
			for line := range strings.Lines(string(archive.Comment)) {
				if d, ok := strings.CutPrefix(line, "dir "); ok {
					dir = strings.TrimSpace(d)
				}
			}
			for _, kind := range []polset.Kind{polset.KindOPA, polset.KindSentinel, "other"} {
				want, wantErr := here(t.Context(), fsys, dir, kind)
				got, err := p.Inspect(t.Context(), fsys, dir, kind)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", kind, diff)
				}
				wantSame(t, wantErr, err)
				if err == nil {
					good++
				} else {
					bad++
				}
			}
		})
	}
	if good < 5 || bad < 20 {
		t.Errorf("%d sets are valid and %d are not", good, bad)
	}
	p.wantCauses()
	if n := len(p.pids()); n != 1 {
		t.Errorf("%d workers were started", n)
	}
}

// wantSame compares errors, and the failures in them, but for their causes, of
// which only the text goes from one process to another.
func wantSame(t *testing.T, want, got error) {
	t.Helper()
	if (want == nil) != (got == nil) || want != nil && want.Error() != got.Error() {
		t.Fatalf("got the error %v\nwant %v", got, want)
	}
	var w, g *polset.Failure
	if errors.As(want, &w) != errors.As(got, &g) {
		t.Fatalf("got %v, want %v", g, w)
	}
	if diff := cmp.Diff(w, g, cmpopts.IgnoreFields(polset.Failure{}, "Err")); diff != "" {
		t.Errorf("failure (-want +got):\n%s", diff)
	}
}

func TestInspectCase92(t *testing.T) {
	p := newPool(t, nil)
	const n = 5_000_000
	for name, source := range map[string]string{
		"case 92 open brackets": "x := " + strings.Repeat("[", n),
		"case 92 operators":     "x := 1" + strings.Repeat("+1", n/2-100),
		"case 92 templates":     "x := " + strings.Repeat(`$"{`, n/3),
	} {
		t.Run(name, func(t *testing.T) {
			_, want := here(t.Context(), rego(source), "", polset.KindOPA)
			_, err := p.Inspect(t.Context(), rego(source), "", polset.KindOPA)
			wantFailure(t, err, polset.ClassLimit, "")
			wantSame(t, want, err)
		})
	}
	p.wantCauses()
}

func TestCase92MoreMemoryThanThereIs(t *testing.T) {
	p := newPool(t, func(c *worker.Config) { c.Memory, c.InspectTimeout = 128<<20, 10*time.Minute })
	before := resident(t)
	stop, most := make(chan struct{}), make(chan int64)
	go func() {
		var peak int64
		for {
			select {
			case <-stop:
				most <- peak
				return
			case <-time.After(time.Millisecond):
				peak = max(peak, resident(t))
			}
		}
	}()
	_, err := p.Inspect(t.Context(), many(9_900), "", polset.KindOPA)
	close(stop)
	wantFailure(t, err, polset.ClassLimit, "The policies need more than 128 MiB of memory, the limit that POLSET_WORKER_MEMORY sets.")
	if peak := <-most; peak > before+100<<20 {
		t.Errorf("this process grew from %d to %d MiB", before>>20, peak>>20)
	}
	p.wantCauses("memory")
	if _, err := p.Inspect(t.Context(), rego("deny := []"), "", polset.KindOPA); err != nil {
		t.Errorf("the next set: %v", err)
	}
}

func TestInspectTakesTooLong(t *testing.T) {
	t.Run("and can be stopped", func(t *testing.T) {
		p := newPool(t, func(c *worker.Config) { c.InspectTimeout, c.Grace = time.Nanosecond, time.Minute })
		_, err := p.Inspect(t.Context(), rego("deny := []"), "", polset.KindOPA)
		wantFailure(t, err, polset.ClassLimit, "The policies take longer than 1ns to compile, the limit that POLSET_VALIDATE_TIMEOUT sets.")
		p.wantCauses()
	})
	t.Run("and cannot be stopped", func(t *testing.T) {
		p := newPool(t, func(c *worker.Config) {
			c.InspectTimeout, c.Grace, c.Memory = 2*time.Second, 50*time.Millisecond, 8<<30
		})
		_, err := p.Inspect(t.Context(), many(5000), "", polset.KindOPA)
		wantFailure(t, err, polset.ClassLimit, "The policies take longer than 2s to compile, the limit that POLSET_VALIDATE_TIMEOUT sets.")
		p.wantCauses("time")
	})
	t.Run("because the files do not come", func(t *testing.T) {
		p := newPool(t, func(c *worker.Config) { c.InspectTimeout, c.Grace = 50*time.Millisecond, 50*time.Millisecond })
		g := newGate(rego("deny := []"), "a.rego")
		defer close(g.goOn)
		_, err := p.Inspect(t.Context(), g, "", polset.KindOPA)
		wantFailure(t, err, polset.ClassLimit, "POLSET_VALIDATE_TIMEOUT")
		p.wantCauses("time")
	})
}

func TestInspectInterrupted(t *testing.T) {
	p := newPool(t, func(c *worker.Config) { c.Grace = time.Minute })
	ctx, cancel := context.WithCancel(t.Context())
	g := newGate(rego("deny := []"), "a.rego")
	go func() {
		<-g.arrived
		cancel()
		close(g.goOn)
	}()
	if _, err := p.Inspect(ctx, g, "", polset.KindOPA); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := p.Inspect(ctx, g, "", polset.KindOPA); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	// It stopped when it was told, and goes on.
	if _, err := p.Inspect(t.Context(), rego("deny := []"), "", polset.KindOPA); err != nil {
		t.Error(err)
	}
	p.wantCauses()
	if n := len(p.pids()); n != 1 {
		t.Errorf("%d workers were started", n)
	}
}

// broken is a file system with a fault.
type broken struct {
	fs.FS
	name string
	err  error
}

func (b broken) Open(name string) (fs.File, error) {
	f, err := b.FS.Open(name)
	if name == b.name {
		if errors.Is(b.err, io.ErrUnexpectedEOF) {
			return brokenFile{f, b.err}, nil
		}
		return nil, b.err
	}
	return f, err
}

// brokenFile is a file that breaks off.
type brokenFile struct {
	fs.File
	err error
}

func (f brokenFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p[:min(len(p), 10)])
	if err != nil {
		err = f.err
	}
	return n, err
}

func TestInspectKeepsErrorsOfTheFiles(t *testing.T) {
	p := newPool(t, nil)
	storage := &polset.Failure{Class: polset.ClassStorage, Message: "The storage is away.", Retry: true}
	for name, fault := range map[string]error{
		"a plain one":     errors.New("a fault of the disk"),
		"a failure":       fmt.Errorf("read: %w", storage),
		"a broken end":    io.ErrUnexpectedEOF,
		"nothing allowed": &fs.PathError{Op: "open", Path: "a.rego", Err: fs.ErrPermission},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := broken{rego("deny := []"), "a.rego", fault}
			_, want := here(t.Context(), fsys, "", polset.KindOPA)
			_, err := p.Inspect(t.Context(), fsys, "", polset.KindOPA)
			if !errors.Is(err, fault) {
				t.Errorf("got %v, which is not %v", err, fault)
			}
			wantSame(t, want, err)
			if f := polset.FailureOf(err); !f.Retry {
				t.Errorf("a fault of the files is taken for the content's: %v", f)
			}
		})
	}
	p.wantCauses()
}

func TestAForeignKillIsNobodysFault(t *testing.T) {
	p := newPool(t, nil)
	t.Run("of an idle worker", func(t *testing.T) {
		kill(t, p.pids()[0], syscall.SIGKILL)
		if _, err := p.Inspect(t.Context(), rego("deny := []"), "", polset.KindOPA); err != nil {
			t.Error(err)
		}
	})
	t.Run("at work", func(t *testing.T) {
		g := newGate(rego("deny := []"), "a.rego")
		go func() {
			<-g.arrived
			kill(t, p.pids()[len(p.pids())-1], syscall.SIGKILL)
			close(g.goOn)
		}()
		if _, err := p.Inspect(t.Context(), g, "", polset.KindOPA); err != nil {
			t.Error(err)
		}
	})
	t.Run("again and again", func(t *testing.T) {
		g := newGate(rego("deny := []"), "a.rego")
		ctx, done := context.WithCancel(t.Context())
		var killing sync.WaitGroup
		killing.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-g.arrived:
					kill(t, p.pids()[len(p.pids())-1], syscall.SIGKILL)
				}
			}
		})
		_, err := p.Inspect(t.Context(), g, "", polset.KindOPA)
		wantFailure(t, err, polset.ClassInternal, "broke down, or was killed")
		close(g.goOn)
		done()
		killing.Wait()
	})
	for _, c := range p.causes() {
		if c != "foreign" {
			t.Errorf("a worker died of %s", c)
		}
	}
}

func TestAFaultOfTheWorkerIsNotTheContents(t *testing.T) {
	t.Run("it makes no sense", func(t *testing.T) {
		p := newPool(t, func(c *worker.Config) { c.Command = self(t, asBabble).Args })
		_, err := p.Inspect(t.Context(), rego("deny := []"), "", polset.KindOPA)
		wantFailure(t, err, polset.ClassInternal, "broke down")
		p.wantCauses("nonsense")
	})
	t.Run("it crashes", func(t *testing.T) {
		p := newPool(t, nil)
		g := newGate(rego("deny := []"), "a.rego")
		go func() {
			<-g.arrived
			kill(t, p.pids()[0], syscall.SIGQUIT) // the Go runtime's way to fall over
			close(g.goOn)
		}()
		_, err := p.Inspect(t.Context(), g, "", polset.KindOPA)
		wantFailure(t, err, polset.ClassInternal, "broke down")
		p.wantCauses("crash")
	})
}
