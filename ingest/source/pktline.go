package source

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// The framing of git's protocols: gitprotocol-common(5), "pkt-line Format".

type pktKind int

const (
	pktData pktKind = iota
	pktFlush
	pktDelim
	pktResponseEnd
)

// maxPkt is how long a pkt-line may be, its length included (LARGE_PACKET_MAX).
const maxPkt = 65520

var errPkt = errors.New("malformed pkt-line")

// appendPkt appends one line with its newline.
func appendPkt(b []byte, line string) []byte {
	return fmt.Appendf(b, "%04x%s\n", len(line)+5, line)
}

func appendFlush(b []byte) []byte { return append(b, "0000"...) }
func appendDelim(b []byte) []byte { return append(b, "0001"...) }

// A pktReader reads pkt-lines. A stream that ends between two lines is io.EOF,
// one that ends within a line io.ErrUnexpectedEOF.
type pktReader struct{ r *bufio.Reader }

func newPktReader(r io.Reader) *pktReader {
	return &pktReader{bufio.NewReaderSize(r, maxPkt)}
}

// next returns the next line with its newline, if it has one. The bytes are
// good until the next call.
func (p *pktReader) next() (pktKind, []byte, error) {
	head, err := p.r.Peek(4)
	if err != nil {
		if len(head) > 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	n, err := strconv.ParseUint(string(head), 16, 16)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: length %q", errPkt, head)
	}
	if _, err := p.r.Discard(4); err != nil {
		return 0, nil, err
	}
	switch {
	case n <= 2:
		return [...]pktKind{pktFlush, pktDelim, pktResponseEnd}[n], nil, nil
	case n < 4 || n > maxPkt:
		return 0, nil, fmt.Errorf("%w: length %d", errPkt, n)
	}
	data, err := p.r.Peek(int(n) - 4)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	if _, err := p.r.Discard(len(data)); err != nil {
		return 0, nil, err
	}
	return pktData, data, nil
}

// maxProgress bounds what a server may say beside the pack.
const maxProgress = 64 << 10

var errProgress = errors.New("endless progress messages")

// A sideband reads the pack out of side-band-64k, up to the flush that ends
// it. What the server says of its progress is dropped, its fatal message is a
// *remoteError. Any error stays.
type sideband struct {
	pkts     *pktReader
	rest     []byte
	progress int
	err      error
}

func (s *sideband) Read(p []byte) (int, error) {
	for len(s.rest) == 0 && s.err == nil {
		s.err = s.fill()
	}
	if len(s.rest) == 0 {
		return 0, s.err
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *sideband) fill() error {
	kind, data, err := s.pkts.next()
	switch {
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	case err != nil:
		return err
	case kind == pktFlush || kind == pktResponseEnd:
		return io.EOF
	case kind != pktData || len(data) == 0:
		return fmt.Errorf("%w: no side-band", errPkt)
	}
	switch data[0] {
	case 1:
		s.rest = data[1:]
	case 2:
		// A line costs at least its frame, so that empty ones end as well.
		if s.progress += len(data) + 4; s.progress > maxProgress {
			return errProgress
		}
	case 3:
		return &remoteError{text: excerpt(data[1:]), inPack: true}
	default:
		return fmt.Errorf("%w: side-band %d", errPkt, data[0])
	}
	return nil
}
