package worker

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
)

// An ask sends a question to the server and waits for the answer.
type ask func(question) (answer, []byte, error)

// asked is the file system that the server holds, as it looks in a worker.
type asked struct{ ask ask }

// Open implements fs.FS.
func (a asked) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	got, data, err := a.ask(question{Op: fileOpen, Name: name})
	if err != nil {
		return nil, err
	}
	if got.Info == nil {
		return nil, errNonsense
	}
	f := &askedFile{files: a, name: name, info: *got.Info, handle: got.Handle, end: got.End, part: bytes.NewReader(data)}
	if got.Fault != nil {
		f.err = &faultError{*got.Fault}
	}
	return f, nil
}

// ReadDir implements fs.ReadDirFS.
func (a asked) ReadDir(name string) ([]fs.DirEntry, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrInvalid}
	}
	got, _, err := a.ask(question{Op: fileList, Name: name})
	if err != nil {
		return nil, err
	}
	entries := make([]fs.DirEntry, len(got.Entries))
	for i, e := range got.Entries {
		entries[i] = askedEntry{e, a, path.Join(name, e.Base)}
	}
	return entries, nil
}

// Stat implements fs.StatFS.
func (a asked) Stat(name string) (fs.FileInfo, error) { return a.describe(fileStat, name) }

// Lstat implements fs.ReadLinkFS.
func (a asked) Lstat(name string) (fs.FileInfo, error) { return a.describe(fileLstat, name) }

func (a asked) describe(op fileOp, name string) (fs.FileInfo, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: string(op), Path: name, Err: fs.ErrInvalid}
	}
	got, _, err := a.ask(question{Op: op, Name: name})
	if err != nil {
		return nil, err
	}
	if got.Info == nil {
		return nil, errNonsense
	}
	return *got.Info, nil
}

// ReadLink implements fs.ReadLinkFS.
func (a asked) ReadLink(name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	got, _, err := a.ask(question{Op: fileLink, Name: name})
	return got.Link, err
}

// An askedEntry is an entry of a directory.
type askedEntry struct {
	fileInfo
	files asked
	name  string
}

// Type implements fs.DirEntry.
func (e askedEntry) Type() fs.FileMode { return e.Bits.Type() }

// Info implements fs.DirEntry.
func (e askedEntry) Info() (fs.FileInfo, error) { return e.files.Lstat(e.name) }

// An askedFile is a file that is open. It holds one part of it.
type askedFile struct {
	files   asked
	name    string
	info    fileInfo
	handle  int // 0: the part is all, or the file a directory
	end     bool
	err     error // of reading it
	part    *bytes.Reader
	entries []fs.DirEntry // of a directory, which are left
	listed  bool
}

// Stat implements fs.File.
func (f *askedFile) Stat() (fs.FileInfo, error) { return f.info, nil }

// Read implements fs.File.
func (f *askedFile) Read(p []byte) (int, error) {
	if f.info.IsDir() {
		return 0, &fs.PathError{Op: "read", Path: f.name, Err: errors.New("is a directory")}
	}
	if f.err != nil {
		return 0, f.err
	}
	if f.part.Len() == 0 && !f.end {
		got, data, err := f.files.ask(question{Op: fileRead, Handle: f.handle})
		if err != nil {
			return 0, err
		}
		if len(data) == 0 && !got.End {
			return 0, io.ErrNoProgress
		}
		f.part.Reset(data)
		f.end = got.End
	}
	return f.part.Read(p)
}

// ReadDir implements fs.ReadDirFile.
func (f *askedFile) ReadDir(n int) (entries []fs.DirEntry, err error) {
	if !f.info.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: f.name, Err: errors.New("is no directory")}
	}
	if !f.listed {
		if f.entries, err = f.files.ReadDir(f.name); err != nil {
			return nil, err
		}
		f.listed = true
	}
	if n <= 0 {
		entries, f.entries = f.entries, nil
		return entries, nil
	}
	if len(f.entries) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(f.entries))
	entries, f.entries = f.entries[:n], f.entries[n:]
	return entries, nil
}

// Close implements fs.File.
func (f *askedFile) Close() error {
	if f.handle == 0 {
		return nil
	}
	_, _, err := f.files.ask(question{Op: fileClose, Handle: f.handle})
	f.handle = 0
	return err
}

// A faultError is an error of the server's file system, as it looks in a worker.
type faultError struct{ fault }

func (e *faultError) Error() string { return e.Text }

// Is implements the interface of errors.Is for what package policy expects of a
// file system.
func (e *faultError) Is(target error) bool {
	return e.Missing && target == fs.ErrNotExist || //nolint:errorlint // that is what Is is for
		e.Forbidden && target == fs.ErrPermission || //nolint:errorlint // likewise
		e.Invalid && target == fs.ErrInvalid //nolint:errorlint // likewise
}

var errNonsense = errors.New("the server's answer makes no sense")
