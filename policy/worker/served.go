package worker

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// filePart is how much of a file goes with one answer. Most policies are one.
const filePart = 256 << 10

// maxOpen is how many files a worker may have open; package policy has one.
const maxOpen = 16

// served are the files of one order, as a worker may ask for them.
type served struct {
	fsys   fs.FS
	open   map[int]fs.File
	last   int
	faults []error // that it was told of, by their numbers
}

// answer answers a question; data is the part of a file that goes with it.
func (s *served) answer(q question) (a answer, data []byte) {
	var err error
	switch q.Op {
	case fileOpen:
		a, data, err = s.openFile(q.Name)
	case fileRead:
		if f, ok := s.open[q.Handle]; ok {
			data, a.End, err = part(f, filePart)
		} else {
			err = fs.ErrClosed
		}
	case fileClose:
		if f, ok := s.open[q.Handle]; ok {
			delete(s.open, q.Handle)
			err = f.Close()
		}
	case fileList:
		var entries []fs.DirEntry
		entries, err = fs.ReadDir(s.fsys, q.Name)
		for _, e := range entries {
			a.Entries = append(a.Entries, fileInfo{Base: e.Name(), Bits: e.Type()})
		}
	case fileStat:
		a.Info, err = described(fs.Stat(s.fsys, q.Name))
	case fileLstat:
		a.Info, err = described(fs.Lstat(s.fsys, q.Name))
	case fileLink:
		a.Link, err = fs.ReadLink(s.fsys, q.Name)
	default:
		err = fmt.Errorf("unknown question %q", q.Op)
	}
	if err != nil {
		return answer{Fault: s.fault(err)}, nil
	}
	return a, data
}

func described(i fs.FileInfo, err error) (*fileInfo, error) {
	if err != nil {
		return nil, err
	}
	return infoOf(i), nil
}

// openFile opens a file and reads its first part. It stays open where there is
// more.
func (s *served) openFile(name string) (a answer, data []byte, err error) {
	f, err := s.fsys.Open(name)
	if err != nil {
		return a, nil, err
	}
	keep := false
	defer func() {
		if !keep {
			err = errors.Join(err, f.Close())
		}
	}()
	i, err := f.Stat()
	if err != nil {
		return a, nil, err
	}
	a.Info = infoOf(i)
	if i.IsDir() {
		return a, nil, nil
	}
	if data, a.End, err = part(f, i.Size()+1); err != nil {
		a.Fault = s.fault(err) // of the reading, which comes later
		return a, nil, nil
	}
	if a.End {
		return a, data, nil
	}
	if len(s.open) == maxOpen {
		return a, nil, fmt.Errorf("open %s: more than %d files are open", name, maxOpen)
	}
	s.last++
	if s.open == nil {
		s.open = map[int]fs.File{}
	}
	s.open[s.last], a.Handle, keep = f, s.last, true
	return a, data, nil
}

// part reads the next part of a file, of up to most bytes, and says whether it
// is the last. Only io.EOF is an end: what breaks off must not pass for whole.
func part(f fs.File, most int64) (data []byte, end bool, err error) {
	data = make([]byte, min(max(most, 512), filePart))
	n := 0
	for n < len(data) && err == nil {
		var m int
		m, err = f.Read(data[n:])
		n += m
	}
	if errors.Is(err, io.EOF) {
		return data[:n], true, nil
	}
	return data[:n], false, err
}

// maxFaults is how many errors are kept. A worker gives up at the first that it
// does not expect.
const maxFaults = 1000

// fault tells a worker of an error. The text leaves the server's process, but not
// the host.
func (s *served) fault(err error) *fault {
	if len(s.faults) < maxFaults {
		s.faults = append(s.faults, err)
	}
	return &fault{
		Number: len(s.faults), Text: head(err.Error(), maxTrouble),
		Missing: errors.Is(err, fs.ErrNotExist), Forbidden: errors.Is(err, fs.ErrPermission), Invalid: errors.Is(err, fs.ErrInvalid),
	}
}

// close closes what a worker left open.
func (s *served) close() {
	for _, f := range s.open {
		_ = f.Close() // it was read only
	}
	s.open = nil
}
