package source

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1" //nolint:gosec // git's own
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

// A testPack writes packs that git would not.
type testPack struct {
	entries []packedEntry
	count   int // what the header says
	cut     int // bytes missing at the end
}

type packedEntry struct {
	kind     plumbing.ObjectType
	declared int
	base     int    // of an offset delta: which entry
	ref      string // of a reference delta: the base's id
	content  []byte
}

func blobEntry(s string) packedEntry {
	return packedEntry{kind: plumbing.BlobObject, declared: len(s), content: []byte(s)}
}

func varint(n uint64) []byte { return binary.AppendUvarint(nil, n) }

// delta copies all of from and appends the rest of to.
func delta(from, to string) []byte {
	rest, ok := strings.CutPrefix(to, from)
	if !ok {
		rest = to
	}
	b := append(varint(uint64(len(from))), varint(uint64(len(to)))...)
	if ok && from != "" {
		b = append(b, 0x80|0x10|0x20|0x40, byte(len(from)), byte(len(from)>>8), byte(len(from)>>16))
	}
	for len(rest) > 0 {
		n := min(len(rest), 127)
		b = append(append(b, byte(n)), rest[:n]...)
		rest = rest[n:]
	}
	return b
}

func ofsDelta(base int, from, to string) packedEntry {
	d := delta(from, to)
	return packedEntry{kind: plumbing.OFSDeltaObject, declared: len(d), base: base, content: d}
}

func refDelta(from, to string) packedEntry {
	d := delta(from, to)
	return packedEntry{kind: plumbing.REFDeltaObject, declared: len(d), ref: id(from), content: d}
}

func id(blob string) string { return plumbing.ComputeHash(plumbing.BlobObject, []byte(blob)).String() }

func newPack(entries ...packedEntry) *testPack {
	return &testPack{entries: entries, count: len(entries)}
}

func (p *testPack) bytes() []byte {
	b := append([]byte("PACK\x00\x00\x00\x02"), 0, 0, 0, 0)
	binary.BigEndian.PutUint32(b[8:], uint32(p.count)) //nolint:gosec // a test's
	var offsets []int
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	for _, e := range p.entries {
		offsets = append(offsets, len(b))
		size := uint64(e.declared) //nolint:gosec // a test's
		c := byte(e.kind)<<4 | byte(size&15)
		for size >>= 4; size > 0; size >>= 7 {
			b = append(b, c|0x80)
			c = byte(size & 0x7f)
		}
		b = append(b, c)
		switch e.kind {
		case plumbing.OFSDeltaObject:
			n := offsets[len(offsets)-1] - offsets[e.base]
			out := []byte{byte(n & 0x7f)}
			for n >>= 7; n > 0; n >>= 7 {
				n--
				out = append([]byte{0x80 | byte(n&0x7f)}, out...)
			}
			b = append(b, out...)
		case plumbing.REFDeltaObject:
			h := plumbing.NewHash(e.ref)
			b = append(b, h[:]...)
		}
		z.Reset()
		w.Reset(&z)
		_, _ = w.Write(e.content)
		_ = w.Close()
		b = append(b, z.Bytes()...)
	}
	sum := sha1.Sum(b) //nolint:gosec // git's own
	b = append(b, sum[:]...)
	return b[:len(b)-p.cut]
}

func roomy() packLimits {
	return packLimits{objects: 10_000, kept: 64 << 20, file: 1 << 20, skipped: 8 << 20}
}

func TestReadPack(t *testing.T) {
	a, ab := strings.Repeat("a", 300), strings.Repeat("a", 300)+strings.Repeat("b", 300)
	abc := ab + "c"
	for _, test := range []struct {
		name string
		pack *testPack
	}{
		{"plain", newPack(blobEntry(a), blobEntry(ab), blobEntry(abc))},
		{"offset deltas", newPack(blobEntry(a), ofsDelta(0, a, ab), ofsDelta(1, ab, abc))},
		{"reference deltas", newPack(blobEntry(a), refDelta(a, ab), refDelta(ab, abc))},
		{"reference deltas before their bases", newPack(refDelta(ab, abc), refDelta(a, ab), blobEntry(a))},
	} {
		t.Run(test.name, func(t *testing.T) {
			found, oversize, err := readPack(bytes.NewReader(test.pack.bytes()), roomy())
			if err != nil || oversize != 0 {
				t.Fatal(oversize, err)
			}
			for _, s := range []string{a, ab, abc} {
				if data, ok := found.get(plumbing.NewHash(id(s)), plumbing.BlobObject); !ok || string(data) != s {
					t.Errorf("lost %.10q", s)
				}
			}
			if len(found) != 3 {
				t.Errorf("%d objects", len(found))
			}
		})
	}
}

func TestReadHostilePack(t *testing.T) {
	lie := func(e packedEntry, declared int) packedEntry {
		e.declared = declared
		return e
	}
	counting := func(n int, entries ...packedEntry) *testPack {
		p := newPack(entries...)
		p.count = n
		return p
	}
	raw := func(kind plumbing.ObjectType, content ...byte) packedEntry {
		return packedEntry{kind: kind, declared: len(content), content: content}
	}
	chain := func(n int) *testPack {
		entries, text := []packedEntry{blobEntry("x")}, "x"
		for i := range n {
			next := fmt.Sprint(text, i%10)
			if len(next) > 100 {
				next = fmt.Sprint("x", i)
			}
			entries = append(entries, ofsDelta(i, text, next))
			text = next
		}
		return newPack(entries...)
	}
	// Each copies its base hundreds of times: 8 of them would make 10^20 bytes.
	bomb := func() *testPack {
		entries, size := []packedEntry{blobEntry(strings.Repeat("x", 60_000))}, 60_000
		for i := range 8 {
			b := append(varint(uint64(size)), varint(uint64(size)*250)...)
			for range 250 {
				b = append(b, 0x80|0x10|0x20|0x40, byte(size), byte(size>>8), byte(size>>16))
			}
			entries = append(entries, packedEntry{kind: plumbing.OFSDeltaObject, declared: len(b), base: i, content: b})
			size *= 250
		}
		return newPack(entries...)
	}
	header := blobEntry("abc")
	for _, test := range []struct {
		name string
		pack *testPack
		want any // errPack, or a limit
	}{
		{"case 52 count is bogus", counting(math.MaxUint32, header), errPack},
		{"case 51 count is over the limit", counting(1<<29, header), limitObjects},
		{"case 52 count is too high", counting(2, header), errPack},
		{"case 52 count is too low", counting(1, header, header), errPack},
		{"case 52 count is 0 and there is more", counting(0, header), errPack},
		{"case 52 inflates to more than it says", newPack(lie(blobEntry(strings.Repeat("x", 5000)), 10)), errPack},
		{"case 52 inflates to less than it says", newPack(lie(blobEntry("x"), 5000)), errPack},
		{"case 52 skipped blob inflates to more than it says", newPack(lie(blobEntry(strings.Repeat("x", 3<<20)), 2<<20)), errPack},
		{"case 52 delta inflates to more than it says", newPack(header, lie(ofsDelta(0, "abc", "abcd"), 3)), errPack},
		{"case 52 chain of 4,095 deltas", chain(4095), nil},
		{"case 52 chain of 4,096 deltas", chain(4096), errPack},
		{"case 52 delta bomb", bomb(), nil}, // skipped, being too large for a file
		{"case 52 delta of a delta that is not there", newPack(refDelta("zzz", "zzzz")), errPack},
		{"case 52 two deltas of each other", newPack(refDelta("b1", "b2"), refDelta("b2", "b1")), errPack},
		{"case 52 delta of itself", newPack(packedEntry{kind: plumbing.OFSDeltaObject, declared: 5, base: 0, content: []byte("xxxxx")}), errPack},
		{"case 52 delta copies beyond its base", newPack(header, raw2(0, 3, 100, 0x80|0x10, 100)), errPack},
		{"case 52 delta names another size of its base", newPack(header, raw2(0, 4, 3, 3, 'a', 'b', 'c')), errPack},
		{"case 52 delta makes less than it says", newPack(header, raw2(0, 3, 100, 3, 'a', 'b', 'c')), errPack},
		{"case 52 delta makes more than it says", newPack(header, raw2(0, 3, 1, 3, 'a', 'b', 'c')), errPack},
		{"case 52 delta without sizes", newPack(header, packedEntry{kind: plumbing.OFSDeltaObject, declared: 0}), errPack},
		{"case 52 delta with an endless size", newPack(header, raw2v(0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)), errPack},
		{"case 52 object of an unknown type", newPack(raw(5, 'x')), errPack},
		{"case 52 tree that is too large", newPack(lie(packedEntry{kind: plumbing.TreeObject}, 9<<20)), limitMeta},
		{"case 50 more bytes than there is room for", newPack(blobEntry(strings.Repeat("a", 40_000)), blobEntry(strings.Repeat("b", 40_000))), nil},
		{"case 50 blob of a terabyte", newPack(lie(blobEntry("x"), 1<<40)), limitFile},
		{"case 55 truncated", &testPack{entries: []packedEntry{header}, count: 1, cut: 1}, errPack},
		{"case 55 empty", &testPack{cut: 32}, errPack},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := test.pack.bytes()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			found, _, err := readPack(bytes.NewReader(data), roomy())
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > 256<<20 {
				t.Errorf("%d MiB were allocated", got>>20)
			}
			var large *packTooLargeError
			switch want := test.want.(type) {
			case nil:
				if err != nil {
					t.Error(err)
				}
				return
			case packLimit:
				if !errors.As(err, &large) || large.limit != want {
					t.Errorf("got %v, want limit %s", err, want)
				}
			case error:
				if !errors.Is(err, want) {
					t.Errorf("got %v, want %v", err, want)
				}
			}
			if found != nil {
				t.Error("objects came back")
			}
		})
	}
	t.Run("case 50 room", func(t *testing.T) {
		limits := roomy()
		limits.kept = 70_000
		pack := newPack(blobEntry(strings.Repeat("a", 40_000)), ofsDelta(0, strings.Repeat("a", 40_000), strings.Repeat("a", 40_001)))
		var large *packTooLargeError
		if _, _, err := readPack(bytes.NewReader(pack.bytes()), limits); !errors.As(err, &large) || large.limit != limitKept {
			t.Errorf("got %v", err)
		}
	})
	t.Run("case 50 skipped bytes", func(t *testing.T) {
		limits := roomy()
		limits.skipped = 3 << 20
		pack := newPack(blobEntry(strings.Repeat("a", 2<<20)), blobEntry(strings.Repeat("b", 2<<20)))
		var large *packTooLargeError
		if _, _, err := readPack(bytes.NewReader(pack.bytes()), limits); !errors.As(err, &large) || large.limit != limitFile {
			t.Errorf("got %v", err)
		}
	})
}

// raw2 is an offset delta of hand-written sizes and commands.
func raw2(base int, from, to byte, commands ...byte) packedEntry {
	return raw2v(base, append([]byte{from, to}, commands...)...)
}

func raw2v(base int, content ...byte) packedEntry {
	return packedEntry{kind: plumbing.OFSDeltaObject, declared: len(content), base: base, content: content}
}
