package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/polset/polset"
)

// git's protocol, version 0, as gitprotocol-http(5) and gitprotocol-pack(5)
// have it.

const uploadPackAdvertisement = "application/x-git-upload-pack-advertisement"

// An advertisement is what a server says of itself.
type advertisement struct {
	version int
	filter  bool
	anySHA1 bool   // any object may be wanted, as far as the server tells
	symref  string // what HEAD points at
}

// advertise asks for the server's capabilities: of protocol 2 if v2, which a
// server may ignore. A server that speaks protocol 0 lists its refs as well.
func (r *repository) advertise(ctx context.Context, v2 bool, visit func(ref) error) (advertisement, error) {
	a, err := r.ask(ctx, question{
		service: "info/refs", query: "service=" + uploadPack, v2: v2,
		accept: uploadPackAdvertisement, limit: r.refBytes(),
	})
	if err != nil {
		return advertisement{}, err
	}
	ad, err := r.readAdvertisement(newPktReader(a), visit)
	err = r.streamFailure(a.ctx, err)
	if err != nil {
		a.abandon()
		return advertisement{}, err
	}
	a.close()
	return ad, nil
}

func (r *repository) readAdvertisement(pkts *pktReader, visit func(ref) error) (advertisement, error) {
	ad := advertisement{}
	for n, flushes, began := 0, 0, false; ; {
		kind, line, err := pkts.next()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err = protocolError(line, err); err != nil {
			return ad, err
		}
		if kind != pktData {
			// The first flush follows "# service"; a second one says that an
			// old server has nothing to list.
			if flushes++; !began && flushes < 2 {
				continue
			}
			return ad, nil
		}
		text := strings.TrimSuffix(string(line), "\n")
		switch {
		case !began && strings.HasPrefix(text, "# service="):
			continue
		case !began && text == "version 2":
			ad.version = 2
		case !began && text == "version 1":
			continue
		case ad.version == 2:
			if name, value, _ := strings.Cut(text, "="); name == "fetch" {
				ad.filter = slices.Contains(strings.Fields(value), "filter")
			}
			if err := r.checkFormat(text); err != nil {
				return ad, err
			}
		default:
			names, caps, _ := strings.Cut(text, "\x00")
			if !began {
				if err := r.readCapabilities(&ad, caps); err != nil {
					return ad, err
				}
			}
			if err := r.advertised(ad, names, n, visit); err != nil {
				return ad, err
			}
		}
		began = true
		if n++; n > r.git.limits.Refs {
			return ad, r.checkRefs(n)
		}
	}
}

func (r *repository) advertised(ad advertisement, line string, n int, visit func(ref) error) error {
	if strings.HasSuffix(line, " capabilities^{}") || strings.HasPrefix(line, "shallow ") || strings.HasSuffix(line, "^{}") {
		return nil
	}
	if err := r.checkRefs(n); err != nil {
		return err
	}
	seen, err := parseRef(line)
	if err != nil {
		return err
	}
	if seen.name == "HEAD" {
		seen.target = ad.symref
	}
	return visit(seen)
}

func (r *repository) readCapabilities(ad *advertisement, caps string) error {
	list := strings.Fields(caps)
	for _, c := range list {
		if target, ok := strings.CutPrefix(c, "symref=HEAD:"); ok {
			ad.symref = target
		}
		if err := r.checkFormat(c); err != nil {
			return err
		}
	}
	ad.filter = slices.Contains(list, "filter")
	ad.anySHA1 = slices.Contains(list, "allow-tip-sha1-in-want") && slices.Contains(list, "allow-reachable-sha1-in-want")
	return nil
}

// checkFormat refuses repositories of git's newer hash.
func (r *repository) checkFormat(capability string) error {
	format, ok := strings.CutPrefix(capability, "object-format=")
	if !ok || format == "sha1" {
		return nil
	}
	return polset.Fail(polset.ClassContentInvalid,
		"The repository %s names its objects by %s; polset reads repositories with SHA-1 object ids only.", r.remote.shown, quote(format))
}

// fetchV0 obtains a pack by protocol 0.
func (r *repository) fetchV0(ctx context.Context, u upload) error {
	caps := " side-band-64k ofs-delta no-progress shallow agent=polset"
	if u.filter != "" {
		caps += " filter"
	}
	var b []byte
	for _, id := range u.wants {
		b = appendPkt(b, "want "+id.String()+caps)
		caps = ""
	}
	if u.depth > 0 {
		b = appendPkt(b, "deepen "+strconv.Itoa(u.depth))
	}
	if u.filter != "" {
		b = appendPkt(b, "filter "+u.filter)
	}
	b = appendPkt(appendFlush(b), "done")
	a, err := r.ask(ctx, question{
		service: uploadPack, body: b,
		accept: uploadPackResult, limit: r.git.limits.PackBytes,
	})
	if err != nil {
		return err
	}
	defer a.close()
	pkts := newPktReader(a)
	return r.streamFailure(a.ctx, r.packAfter(pkts, u.limits, func() (bool, error) {
		kind, line, err := pkts.next()
		if err = protocolError(line, err); err != nil {
			return false, err
		}
		switch word, _, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" ")); {
		case kind == pktFlush, string(word) == "shallow", string(word) == "unshallow":
			return false, nil
		case string(word) == "NAK", string(word) == "ACK":
			return true, nil
		}
		return false, fmt.Errorf("%w: neither shallow, ACK nor NAK", errPkt)
	}))
}

// A tip is where the refs of a protocol 0 server stand.
type tip struct {
	id     string // of the ref that was hinted at, or HEAD
	isRef  bool   // a ref points at the commit itself
	exists bool   // there are refs at all
}

// tip finds out whether a commit may be wanted by a server that gives tips
// only, and which tip to deepen otherwise.
func (r *repository) tip(ctx context.Context) (tip, error) {
	var t tip
	var head string
	_, err := r.advertise(ctx, false, func(seen ref) error {
		t.exists = true
		t.isRef = t.isRef || seen.id == r.commit.String()
		switch {
		case seen.name == "HEAD":
			head = seen.id
		case r.branch != "" && seen.name == refOf(r.branch):
			t.id = seen.id
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return tip{}, err
	}
	if t.id == "" {
		t.id = head
	}
	return t, nil
}

// refOf returns the full name of a ref that OnBranch hints at.
func refOf(hint string) string {
	if strings.HasPrefix(hint, "refs/") {
		return hint
	}
	return "refs/heads/" + hint
}
