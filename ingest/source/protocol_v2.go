package source

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/polset/polset"
)

// git's protocol, version 2, as gitprotocol-v2(5) has it. The capabilities are
// not asked for first: GitHub's are known, and a server that has others says
// so, or says nothing, and is asked then (plan.go).

const (
	uploadPack       = "git-upload-pack"
	uploadPackResult = "application/x-git-upload-pack-result"
)

// An upload is what is wanted of a server.
type upload struct {
	wants  []plumbing.Hash
	depth  int    // of history, 0 where no commit is wanted
	filter string // "" for everything that the wants reach
	commit bool   // commits are wanted, and nothing of what they hold
	limits packLimits
}

func command(name string) []byte {
	b := appendPkt(nil, "command="+name)
	b = appendPkt(b, "agent=polset")
	b = appendPkt(b, "object-format=sha1")
	return appendDelim(b)
}

// fetchV2 obtains a pack by protocol 2.
func (r *repository) fetchV2(ctx context.Context, u upload) error {
	b := command("fetch")
	b = appendPkt(b, "no-progress")
	b = appendPkt(b, "ofs-delta")
	for _, id := range u.wants {
		b = appendPkt(b, "want "+id.String())
	}
	if u.depth > 0 {
		b = appendPkt(b, "deepen "+strconv.Itoa(u.depth))
	}
	if u.filter != "" {
		b = appendPkt(b, "filter "+u.filter)
	}
	b = appendPkt(b, "done")
	a, err := r.ask(ctx, question{
		service: uploadPack, body: appendFlush(b), v2: true,
		accept: uploadPackResult, limit: r.git.limits.PackBytes,
	})
	if err != nil {
		return err
	}
	defer a.close()
	pkts := newPktReader(a)
	return r.streamFailure(a.ctx, r.packAfter(pkts, u.limits, func() (bool, error) {
		kind, line, err := pkts.next()
		return kind == pktData && string(bytes.TrimSpace(line)) == "packfile", protocolError(line, err)
	}))
}

// packAfter skips lines until found says that the pack comes next, and reads
// it.
func (r *repository) packAfter(pkts *pktReader, limits packLimits, found func() (bool, error)) error {
	for first := true; ; first = false {
		here, err := found()
		if first && errors.Is(err, io.EOF) {
			return &refusal{failure: r.corrupt("sent an empty answer", nil)}
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		if here {
			break
		}
	}
	band := &sideband{pkts: pkts}
	received, oversize, err := readPack(band, limits)
	if err == nil {
		// Only a server that does not know when to stop sends more.
		_, err = io.CopyN(io.Discard, band, 1)
		if err == nil {
			return r.corrupt("sent more than the pack", nil)
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
	} else if band.err != nil && !errors.Is(band.err, io.EOF) {
		err = band.err // the cause, which zlib's reader does not wrap
	}
	var large *packTooLargeError
	switch {
	case errors.As(err, &large):
		return err
	case errors.Is(err, errPack):
		return r.corrupt("sent a broken pack", err)
	case err != nil:
		return err
	}
	for id, o := range received {
		r.objects[id] = o
	}
	r.oversize += oversize
	return nil
}

// protocolError returns what an ERR line says, or err.
func protocolError(line []byte, err error) error {
	if text, ok := bytes.CutPrefix(line, []byte("ERR ")); err == nil && ok {
		return &remoteError{text: excerpt(text)}
	}
	return err
}

// lsRefsV2 asks where refs below the prefixes point. visit may end it.
func (r *repository) lsRefsV2(ctx context.Context, prefixes []string, visit func(ref) error) error {
	b := command("ls-refs")
	b = appendPkt(b, "symrefs")
	for _, p := range prefixes {
		b = appendPkt(b, "ref-prefix "+p)
	}
	a, err := r.ask(ctx, question{
		service: uploadPack, body: appendFlush(b), v2: true,
		accept: uploadPackResult, limit: r.refBytes(),
	})
	if err != nil {
		return err
	}
	pkts := newPktReader(a)
	for n := 0; ; n++ {
		kind, line, err := pkts.next()
		if n == 0 && errors.Is(err, io.EOF) {
			a.abandon()
			return &refusal{failure: r.corrupt("sent an empty answer", nil)}
		}
		if err = protocolError(line, err); err == nil && kind != pktData {
			a.close()
			return nil
		}
		var seen ref
		if err == nil {
			seen, err = parseRef(string(bytes.TrimSuffix(line, []byte("\n"))))
		}
		if err == nil {
			err = r.checkRefs(n)
		}
		if err == nil {
			err = visit(seen)
		}
		if errors.Is(err, errEnough) {
			a.abandon()
			return nil
		}
		if err != nil {
			err = r.streamFailure(a.ctx, err)
			a.abandon()
			return err
		}
	}
}

// errEnough ends a listing of refs early.
var errEnough = errors.New("enough refs")

// A ref is one line of what a repository lists.
type ref struct {
	name, target string
	id           string
}

func parseRef(line string) (ref, error) {
	fields := strings.Split(line, " ")
	if len(fields) < 2 || !isObjectID(fields[0]) && fields[0] != "unborn" {
		return ref{}, errPkt
	}
	seen := ref{name: fields[1], id: fields[0]}
	for _, f := range fields[2:] {
		if target, ok := strings.CutPrefix(f, "symref-target:"); ok {
			seen.target = target
		}
	}
	return seen, nil
}

func (r *repository) checkRefs(n int) error {
	if limit := r.git.limits.Refs; n >= limit {
		return polset.Fail(polset.ClassLimit, "The git server of %s lists more than %d branches and tags, the limit.", r.remote.shown, limit)
	}
	return nil
}

// refBytes bounds an answer that lists refs, whose names are rarely long.
func (r *repository) refBytes() int64 { return 64<<10 + int64(r.git.limits.Refs)*128 }
