package worker

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

// loop lets asked speak with served as two processes do.
func loop(s *served) asked {
	return asked{func(q question) (answer, []byte, error) {
		var pipe bytes.Buffer
		a, data := s.answer(q)
		if err := writeFrame(&pipe, a, data); err != nil {
			return answer{}, nil, err
		}
		var got answer
		data, err := readFrame(&pipe, &got, maxData)
		if err == nil && got.Fault != nil && got.Info == nil {
			err = &faultError{*got.Fault}
		}
		return got, data, err
	}}
}

func TestFiles(t *testing.T) {
	files := fstest.MapFS{
		"empty":         {},
		"dir/small":     {Data: []byte("small")},
		"dir/exact":     {Data: bytes.Repeat([]byte("0123456789abcdef"), filePart/16)},
		"dir/large":     {Data: bytes.Repeat([]byte("large "), filePart)},
		"dir/sub/ü.hcl": {Data: []byte("ü")},
	}
	s := &served{fsys: files}
	if err := fstest.TestFS(loop(s), "empty", "dir/small", "dir/exact", "dir/large", "dir/sub/ü.hcl"); err != nil {
		t.Error(err)
	}
	if len(s.open) != 0 {
		t.Errorf("%d files are left open", len(s.open))
	}
	for name, f := range files {
		if got, err := fs.ReadFile(loop(s), name); err != nil || !bytes.Equal(got, f.Data) {
			t.Errorf("%s has %d bytes, not %d: %v", name, len(got), len(f.Data), err)
		}
	}
	f, err := loop(s).Open("dir/large")
	if err != nil || len(s.open) != 1 {
		t.Fatalf("%d files are open, %v", len(s.open), err)
	}
	_ = f // which the worker forgets
	s.close()
	if len(s.open) != 0 {
		t.Error("a file is left open")
	}
}

func TestLinks(t *testing.T) {
	a := loop(&served{fsys: fstest.MapFS{
		"to":   {Data: []byte("x")},
		"link": {Data: []byte("to"), Mode: fs.ModeSymlink | 0o777},
	}})
	if to, err := fs.ReadLink(a, "link"); to != "to" || err != nil {
		t.Errorf("it leads to %q, %v", to, err)
	}
	if i, err := fs.Lstat(a, "link"); err != nil || i.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("it is %v, %v", i, err)
	}
	entries, err := fs.ReadDir(a, ".")
	if err != nil || len(entries) != 2 || entries[0].Type() != fs.ModeSymlink {
		t.Errorf("the directory has %v, %v", entries, err)
	}
}

func TestFaults(t *testing.T) {
	s := &served{fsys: fstest.MapFS{"a": {}}}
	for _, name := range []string{"b", "a/b"} {
		if _, err := loop(s).Open(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := loop(s).Open("../a"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if a, _ := s.answer(question{Op: fileRead, Handle: 7}); a.Fault == nil {
		t.Error("a file that nobody opened was read")
	}
	if a, _ := s.answer(question{Op: "rm", Name: "a"}); a.Fault == nil {
		t.Error("a question that makes no sense was answered")
	}
	for range 2 * maxFaults {
		s.answer(question{Op: fileOpen, Name: "b"})
	}
	if len(s.faults) > maxFaults {
		t.Errorf("%d errors are kept", len(s.faults))
	}
}

func TestFramesAreBounded(t *testing.T) {
	var pipe bytes.Buffer
	var size *frameSizeError
	if err := writeFrame(&pipe, "m", make([]byte, maxData+1)); !errors.As(err, &size) {
		t.Errorf("too many bytes: %v", err)
	}
	if err := writeFrame(&pipe, strings.Repeat("m", maxMessage), nil); !errors.As(err, &size) {
		t.Errorf("a message too long: %v", err)
	}
	if pipe.Len() > 0 {
		t.Error("a part of it was written")
	}
	if err := writeFrame(&pipe, "m", []byte("data")); err != nil {
		t.Fatal(err)
	}
	whole := pipe.Bytes()
	var m string
	if _, err := readFrame(bytes.NewReader(whole), &m, 3); !errors.As(err, &size) {
		t.Errorf("more bytes than are expected: %v", err)
	}
	for n := range whole {
		_, err := readFrame(bytes.NewReader(whole[:n]), &m, 4)
		if n == 0 && !errors.Is(err, io.EOF) || n > 0 && (err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF)) {
			t.Errorf("of %d bytes: %v", n, err)
		}
	}
	if _, err := readFrame(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}), &m, 4); !errors.As(err, &size) {
		t.Errorf("got %v", err)
	}
}

func TestLastWords(t *testing.T) {
	for words, want := range map[string]cause{
		"fatal error: runtime: out of memory\n\nruntime stack:":                                causeMemory,
		"fatal error: out of memory allocating heap arena metadata\n":                          causeMemory,
		"fatal error: runtime: cannot allocate memory\n":                                       causeMemory,
		"SIGSEGV: segmentation violation\nPC=0x43353d m=0 sigcode=1 addr=0x0\n":                causeMemory,
		"==1==ERROR: ThreadSanitizer failed to allocate 0x536000 (5464064) bytes":              causeMemory,
		"runtime: goroutine stack exceeds 268435456-byte limit\nfatal error: stack overf":      causeStack,
		"panic: runtime error: invalid memory address\n[signal SIGSEGV: segmentation":          causeCrash,
		"panic: fatal error: out of memory\n\nfatal error: out of memory":                      causeCrash,
		"fatal error: all goroutines are asleep - deadlock!":                                   causeCrash,
		"runtime: failed to create new OS thread (have 5 already; errno=11)":                   causeForeign,
		"runtime/cgo: pthread_create failed: Resource temporarily unavailable\nSIGABRT: abort": causeForeign,
		"SIGQUIT: quit": causeCrash,
		"":              causeCrash,
	} {
		if got := lastWords(words); got != want {
			t.Errorf("%q is %s, want %s", words, got, want)
		}
	}
}

func TestEnds(t *testing.T) {
	var e ends
	for range 3 * endBytes {
		_, _ = e.Write([]byte("abc"))
	}
	_, _ = e.Write([]byte("the end"))
	s := e.String()
	if len(s) > 2*endBytes+64 || !strings.HasPrefix(s, "abcabc") || !strings.HasSuffix(s, "the end") || !strings.Contains(s, " bytes]") {
		t.Errorf("kept %d bytes", len(s))
	}
}
