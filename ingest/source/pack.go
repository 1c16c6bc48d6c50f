package source

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// packLimits bound what one pack may unfold to.
type packLimits struct {
	objects int
	kept    int64 // bytes of all objects together
	file    int64 // bytes of one blob; a larger one is skipped
	skipped int64 // bytes of skipped blobs that may be inflated in passing
}

// maxMeta is how large one tree, commit or tag may be.
const maxMeta = 8 << 20

// maxDeltas is how long a chain of deltas may be: git's own ceiling.
const maxDeltas = 4095

// A packTooLargeError says which limit a pack exceeded.
type packTooLargeError struct{ limit packLimit }

type packLimit string

const (
	limitObjects packLimit = "objects"
	limitKept    packLimit = "bytes"
	limitFile    packLimit = "file"
	limitMeta    packLimit = "tree"
)

func (e *packTooLargeError) Error() string { return "the pack exceeds the limit of " + string(e.limit) }

var errPack = errors.New("malformed pack")

// A packReader reads one pack of a hostile server. go-git's scanner reads the
// headers and inflates; sizes are judged before anything is inflated, and each
// delta is resolved as soon as its base is there, so that a chain costs no
// recursion and no more than what it makes.
type packReader struct {
	limits   packLimits
	scanner  *packfile.Scanner
	found    objects
	byOffset map[int64]packEntry
	byHash   map[plumbing.Hash]packEntry
	waiting  map[plumbing.Hash][]waitingDelta // for a base that comes later
	oversize int                              // blobs that were skipped
}

type packEntry struct {
	object
	deltas  int  // how long its chain is
	skipped bool // it was, or depends on, a blob that is too large
}

type waitingDelta struct {
	offset int64
	data   []byte
}

// readPack reads a pack up to its checksum. It returns its objects, once the
// checksum has proved right, and how many blobs it skipped because they are
// too large.
func readPack(r io.Reader, limits packLimits) (found objects, oversize int, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			found, oversize, err = nil, 0, fmt.Errorf("%w: panic: %v", errPack, fault)
		}
	}()
	p := &packReader{
		limits: limits, scanner: packfile.NewScanner(r), found: objects{},
		byOffset: map[int64]packEntry{}, byHash: map[plumbing.Hash]packEntry{},
		waiting: map[plumbing.Hash][]waitingDelta{},
	}
	if err := p.read(); err != nil {
		var large *packTooLargeError
		if !errors.As(err, &large) {
			err = fmt.Errorf("%w: %w", errPack, err)
		}
		return nil, 0, err
	}
	return p.found, p.oversize, nil
}

// maxPackCount is more objects than any pack that git makes has: a greater
// number is no limit exceeded, but nonsense.
const maxPackCount = 1 << 30

func (p *packReader) read() error {
	_, count, err := p.scanner.Header()
	if err != nil {
		return fmt.Errorf("read header: %w", err)
	}
	if count > maxPackCount {
		return fmt.Errorf("the header claims %d objects", count)
	}
	if int64(count) > int64(p.limits.objects) {
		return &packTooLargeError{limitObjects}
	}
	for range count {
		if err := p.next(); err != nil {
			return err
		}
	}
	if _, err := p.scanner.Checksum(); err != nil {
		return fmt.Errorf("read checksum: %w", err)
	}
	if len(p.waiting) > 0 {
		if p.oversize == 0 {
			return errors.New("a delta's base is not in the pack")
		}
		p.oversize++ // the base is one of the blobs that were skipped
	}
	return nil
}

func (p *packReader) next() error {
	h, err := p.scanner.NextObjectHeader()
	if err != nil {
		return fmt.Errorf("read object header: %w", err)
	}
	switch h.Type {
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
		skip, err := p.admit(h.Type, h.Length)
		if err != nil {
			return err
		}
		if skip {
			return p.skip(h)
		}
		data, err := p.inflate(h.Length)
		if err != nil {
			return err
		}
		return p.add(h.Offset, packEntry{object: object{h.Type, data}})
	case plumbing.OFSDeltaObject, plumbing.REFDeltaObject:
		return p.delta(h)
	}
	return fmt.Errorf("object of type %d", h.Type)
}

// admit judges the size of an object before it is made. It reports whether it
// is to be skipped.
func (p *packReader) admit(kind plumbing.ObjectType, size int64) (skip bool, err error) {
	switch {
	case size < 0:
		return false, errors.New("negative size")
	case kind == plumbing.BlobObject && size > p.limits.file:
		return true, nil
	case kind != plumbing.BlobObject && size > maxMeta:
		return false, &packTooLargeError{limitMeta}
	}
	if p.limits.kept -= size; p.limits.kept < 0 {
		return false, &packTooLargeError{limitKept}
	}
	return false, nil
}

// skip inflates a blob that is too large, or a delta that can only make one,
// without keeping it.
func (p *packReader) skip(h *packfile.ObjectHeader) error {
	if p.limits.skipped -= h.Length; p.limits.skipped < 0 {
		return &packTooLargeError{limitFile}
	}
	n, _, err := p.scanner.NextObject(io.Discard)
	if err != nil {
		return fmt.Errorf("inflate object: %w", err)
	}
	if n != h.Length {
		return fmt.Errorf("object has %d bytes and says %d", n, h.Length)
	}
	p.oversize++
	p.byOffset[h.Offset] = packEntry{skipped: true}
	return nil
}

// inflate reads the content of the present object, whose size was admitted.
func (p *packReader) inflate(size int64) ([]byte, error) {
	b := bytes.NewBuffer(make([]byte, 0, min(size, 1<<20)))
	n, _, err := p.scanner.NextObject(b)
	if err != nil {
		return nil, fmt.Errorf("inflate object: %w", err)
	}
	if n != size {
		return nil, fmt.Errorf("object has %d bytes and says %d", n, size)
	}
	return b.Bytes(), nil
}

// add keeps an object and resolves the deltas that waited for it.
func (p *packReader) add(offset int64, e packEntry) error {
	id := plumbing.ComputeHash(e.kind, e.data)
	p.found[id] = e.object
	p.byOffset[offset] = e
	p.byHash[id] = e
	waiting := p.waiting[id]
	delete(p.waiting, id)
	for _, w := range waiting {
		if err := p.resolve(w.offset, e, w.data); err != nil {
			return err
		}
	}
	return nil
}

// maxDelta is how much longer than the largest file a delta may be: nothing
// that git makes is longer than what it stands for.
const maxDelta = 64 << 10

func (p *packReader) delta(h *packfile.ObjectHeader) error {
	var base packEntry
	var known bool
	if h.Type == plumbing.OFSDeltaObject {
		if base, known = p.byOffset[h.OffsetReference]; !known {
			return errors.New("a delta's base is not in the pack")
		}
	} else {
		base, known = p.byHash[h.Reference]
	}
	if h.Length > max(p.limits.file, maxMeta)+maxDelta {
		return p.skip(h)
	}
	if p.limits.kept -= h.Length; p.limits.kept < 0 {
		return &packTooLargeError{limitKept}
	}
	data, err := p.inflate(h.Length)
	if err != nil {
		return err
	}
	if !known {
		p.waiting[h.Reference] = append(p.waiting[h.Reference], waitingDelta{h.Offset, data})
		return nil
	}
	p.limits.kept += h.Length
	return p.resolve(h.Offset, base, data)
}

// resolve makes the object that a delta stands for.
func (p *packReader) resolve(offset int64, base packEntry, delta []byte) error {
	if base.skipped {
		p.oversize++
		p.byOffset[offset] = packEntry{skipped: true}
		return nil
	}
	if base.deltas >= maxDeltas {
		return fmt.Errorf("chain of more than %d deltas", maxDeltas)
	}
	_, n := binary.Uvarint(delta)
	if n <= 0 {
		return errors.New("delta without sizes")
	}
	size, m := binary.Uvarint(delta[n:])
	if m <= 0 || size > 1<<62 {
		return errors.New("delta without sizes")
	}
	skip, err := p.admit(base.kind, int64(size))
	if err != nil {
		return err
	}
	if skip {
		p.oversize++
		p.byOffset[offset] = packEntry{skipped: true}
		return nil
	}
	data, err := packfile.PatchDelta(base.data, delta)
	if err != nil {
		return fmt.Errorf("apply delta: %w", err)
	}
	if int64(len(data)) != int64(size) {
		return errors.New("delta makes another size than it says")
	}
	return p.add(offset, packEntry{object: object{base.kind, data}, deltas: base.deltas + 1})
}
