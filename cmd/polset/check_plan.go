package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// An openedPlan is an opened plan.
type openedPlan struct {
	*os.File

	name    string // as it was given
	size    int64
	spooled bool // the file is polset's own
}

// Close closes the plan, and leaves no copy of it.
func (p *openedPlan) Close() error {
	err := p.File.Close()
	if p.spooled {
		err = errors.Join(err, os.Remove(p.Name()))
	}
	return err
}

// openPlan opens the plan. Standard input has no size: it is spooled first.
func openPlan(ctx context.Context, name string) (*openedPlan, error) {
	if name != "-" {
		f, err := os.Open(name) //nolint:gosec // it is the user's own
		if err != nil {
			return nil, fmt.Errorf("read the plan: %w", err)
		}
		info, err := f.Stat()
		switch {
		case err != nil:
			err = fmt.Errorf("read the plan: %w", err)
		case info.IsDir():
			err = fmt.Errorf("read the plan: %s is a directory", name)
		case info.Mode().IsRegular():
			return &openedPlan{File: f, name: name, size: info.Size()}, nil
		default: // a pipe, such as that of <(…)
			return spoolPlan(ctx, f, name)
		}
		return nil, errors.Join(err, f.Close())
	}
	return spoolPlan(ctx, os.Stdin, "standard input")
}

// spoolPlan makes a file of what can be read only once.
func spoolPlan(ctx context.Context, from *os.File, name string) (*openedPlan, error) {
	to, err := spoolFile()
	if err != nil {
		return nil, errors.Join(err, from.Close())
	}
	p := &openedPlan{File: to, name: name, spooled: true}
	copied := make(chan error, 1)
	go func() {
		var err error
		p.size, err = io.Copy(to, from)
		copied <- errors.Join(err, from.Close())
	}()
	select {
	case err = <-copied:
	case <-ctx.Done(): // what is read may never end, or begin
		err = context.Cause(ctx)
	}
	if err == nil {
		_, err = to.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the plan from %s: %w", name, err), p.Close())
	}
	return p, nil
}

// spoolFile makes a file for a plan, which holds secrets, in the directory for
// temporary files.
func spoolFile() (*os.File, error) {
	f, err := os.CreateTemp("", "polset-check-")
	if err != nil {
		return nil, fmt.Errorf("make a temporary file: %w", err)
	}
	return f, nil
}

// read returns the plan, which has to be one.
func (p *openedPlan) read(ctx context.Context) ([]byte, error) {
	var out bytes.Buffer
	out.Grow(int(p.size) + bytes.MinRead)
	var scan planScanner
	if _, err := io.Copy(&out, io.TeeReader(contextReader{ctx, p}, &scan)); err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	return out.Bytes(), scan.judge(p.name)
}

// pack makes the upload of a configuration version: a tar.gz that holds the
// plan, which is judged on its way.
func (p *openedPlan) pack(ctx context.Context, to io.Writer) error {
	gz := gzip.NewWriter(to)
	w := tar.NewWriter(gz)
	var scan planScanner
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: planFile, Size: p.size, Mode: 0o644}); err != nil {
		return fmt.Errorf("pack the plan: %w", err)
	}
	n, err := io.Copy(w, io.TeeReader(contextReader{ctx, p}, &scan))
	switch {
	case errors.Is(err, tar.ErrWriteTooLong), err == nil && n < p.size:
		return fmt.Errorf("%s changed while it was read: %w", p.name, errNoPlan)
	case err != nil:
		return fmt.Errorf("pack the plan: %w", err)
	}
	if err := scan.judge(p.name); err != nil {
		return err
	}
	if err := errors.Join(w.Close(), gz.Close()); err != nil {
		return fmt.Errorf("pack the plan: %w", err)
	}
	return nil
}

// errNoPlan says what to do.
var errNoPlan = errors.New("run terraform show -json tfplan > plan.json, and check that")

// A planScanner looks at a plan as it passes, whatever its size: whether it is
// one JSON object, and which keys that has. Whether all of it is sound JSON is
// for whoever reads it to say.
type planScanner struct {
	begin    []byte // the first bytes
	started  bool   // there was something other than white space
	object   bool   // which opened an object
	depth    int
	ended    bool // the object did
	trailing bool // and something follows
	quoted   bool
	escaped  bool
	wantKey  bool   // the next string at the top is a key
	key      []byte // which is being read
	keys     map[string]bool
}

// Write implements io.Writer. It never fails.
func (s *planScanner) Write(b []byte) (int, error) {
	if room := 8 - len(s.begin); room > 0 {
		s.begin = append(s.begin, b[:min(room, len(b))]...)
	}
	for _, c := range b {
		s.next(c)
	}
	return len(b), nil
}

func (s *planScanner) next(c byte) {
	switch {
	case s.quoted:
		s.inString(c)
	case c == ' ', c == '\t', c == '\n', c == '\r':
	case !s.started && (c == '\xef' || c == '\xbb' || c == '\xbf'): // a mark, which some editors write
	case s.ended:
		s.trailing = true
	case !s.started:
		s.started, s.object = true, c == '{'
		s.depth, s.wantKey = 1, true
	case c == '"':
		s.quoted = true
		s.key = s.key[:0]
	case c == '{', c == '[':
		s.depth++
	case c == '}', c == ']':
		s.depth--
		s.ended = s.depth == 0
	case c == ',':
		s.wantKey = s.wantKey || s.depth == 1
	}
}

func (s *planScanner) inString(c byte) {
	switch {
	case s.escaped:
		s.escaped = false
	case c == '\\':
		s.escaped = true
	case c == '"':
		s.quoted = false
		if s.depth == 1 && s.wantKey {
			if s.keys == nil {
				s.keys = map[string]bool{}
			}
			s.keys[string(s.key)] = true
			s.wantKey = false
		}
		return
	}
	if s.depth == 1 && s.wantKey && len(s.key) < 64 {
		s.key = append(s.key, c)
	}
}

// judge says what is wrong with what was read, for people.
func (s *planScanner) judge(name string) error {
	no := func(why string) error { return fmt.Errorf("%s %s: %w", name, why, errNoPlan) }
	switch {
	case !s.started:
		return no("is empty")
	case bytes.HasPrefix(s.begin, []byte("PK\x03\x04")):
		return no("is no JSON plan, but the binary that terraform plan -out writes")
	case bytes.HasPrefix(s.begin, []byte("\x1f\x8b")):
		return no("is no JSON plan, but compressed")
	case bytes.HasPrefix(s.begin, []byte("\xff\xfe")):
		return no("is in UTF-16, as older PowerShells redirect, and not in UTF-8")
	case !s.object:
		return no("is no JSON plan")
	case s.keys["@level"] || s.keys["@message"]:
		return no("is no JSON plan, but the log of terraform plan -json")
	case !s.ended:
		return no("ends in the middle of the JSON")
	case s.trailing:
		return no("is no JSON plan: something follows its object")
	case s.keys["resource_changes"], s.keys["planned_values"], s.keys["configuration"]:
		return nil
	case s.keys["values"], s.keys["lineage"]:
		return no("is no JSON plan, but a state")
	}
	// Most policies would find nothing to deny in it.
	return no("is no JSON plan: it has none of planned_values, resource_changes and configuration")
}

// A contextReader reads until its context is done.
type contextReader struct {
	ctx  context.Context
	from io.Reader
}

// Read implements io.Reader.
func (r contextReader) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.from.Read(b)
}
