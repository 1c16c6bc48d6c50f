package source

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestPktLine(t *testing.T) {
	b := appendPkt(nil, "command=fetch")
	b = appendFlush(appendDelim(b))
	if got := string(b); got != "0012command=fetch\n00010000" {
		t.Errorf("wrote %q", got)
	}
	for _, test := range []struct {
		in   string
		kind pktKind
		data string
		err  error
	}{
		{"0006a\n", pktData, "a\n", nil},
		{"0004", pktData, "", nil},
		{"0000", pktFlush, "", nil},
		{"0001", pktDelim, "", nil},
		{"0002", pktResponseEnd, "", nil},
		{"", 0, "", io.EOF},
		{"00", 0, "", io.ErrUnexpectedEOF},
		{"0009ab", 0, "", io.ErrUnexpectedEOF},
		{"0003", 0, "", errPkt},
		{"xyz0", 0, "", errPkt},
		{"+001", 0, "", errPkt},
		{"fff1" + strings.Repeat("x", 70000), 0, "", errPkt},
		{"fff0" + strings.Repeat("x", 70000), pktData, strings.Repeat("x", 65516), nil},
	} {
		kind, data, err := newPktReader(strings.NewReader(test.in)).next()
		if kind != test.kind || string(data) != test.data || !errors.Is(err, test.err) {
			t.Errorf("%.20q: %d, %d bytes, %v", test.in, kind, len(data), err)
		}
	}
}

func TestSideband(t *testing.T) {
	pkt := func(s string) string { return string(appendPkt(nil, s)) }
	for _, test := range []struct {
		name, in, want string
		err            error
	}{
		{"ordinary", pkt("\x01ab") + pkt("\x02progress") + "0005\x01" + pkt("\x01cd") + "0000", "ab\ncd\n", nil},
		{"cut between packets", pkt("\x01ab"), "ab\n", io.ErrUnexpectedEOF},
		{"cut within a packet", pkt("\x01ab") + "0020\x01", "ab\n", io.ErrUnexpectedEOF},
		{"unknown band", pkt("\x04ab"), "", errPkt},
		{"empty packet", "0004", "", errPkt},
		{"case 53 endless progress", strings.Repeat(pkt("\x02"), 70_000), "", errProgress},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := io.ReadAll(&sideband{pkts: newPktReader(strings.NewReader(test.in))})
			if string(got) != test.want || !errors.Is(err, test.err) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	var said *remoteError
	_, err := io.ReadAll(&sideband{pkts: newPktReader(strings.NewReader(pkt("\x03fatal:  " + strings.Repeat("x", 999))))})
	if !errors.As(err, &said) || !said.inPack || len(said.text) > 300 {
		t.Errorf("fatal message: %v", err)
	}
}

func FuzzPack(f *testing.F) {
	f.Add([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x00"))
	f.Add(newPack(blobEntry("hello"), ofsDelta(0, "hello", "hello world")).bytes())
	f.Add(newPack(blobEntry("hello"), refDelta("hello", "hello world")).bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		found, _, err := readPack(bytes.NewReader(in), packLimits{objects: 100, kept: 1 << 16, file: 1 << 14, skipped: 1 << 16})
		if err != nil && found != nil {
			t.Error("a broken pack gave objects")
		}
	})
}
