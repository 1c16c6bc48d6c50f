package archive_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"testing"

	stdgzip "compress/gzip"

	"github.com/polset/polset/archive"
)

// newGzipReader is the standard library's, which shares no code with Write.
func newGzipReader(stored []byte) (io.Reader, error) {
	return stdgzip.NewReader(bytes.NewReader(stored))
}

func smallFiles(n int) *tree {
	nodes := make([]*node, n)
	for i := range nodes {
		nodes[i] = file(fmt.Sprintf("policy-%03d.rego", i), fmt.Sprintf("package p%d\n\n%s", i, noise(600)))
	}
	return newTree(dir("policies", nodes...))
}

func BenchmarkWrite(b *testing.B) {
	fsys := smallFiles(40)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := archive.Write(b.Context(), io.Discard, fsys, archive.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

// What a Write allocates does not grow with the bytes that it archives.
func TestWriteStreams(t *testing.T) {
	fsys := newTree()
	for i := range 64 {
		fsys.root.children = append(fsys.root.children, &node{name: fmt.Sprint(i), mode: 0o644, size: 1 << 20})
	}
	var zeros fs.FS = zeroFS{fsys}
	write := func() {
		if _, err := archive.Write(t.Context(), io.Discard, zeros, archive.Limits{}); err != nil {
			t.Fatal(err)
		}
	}
	write() // fills the pools
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	write()
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 4<<20 {
		t.Errorf("archiving 64 MiB allocated %d bytes", got)
	}
}

// zeroFS gives files of zeros, which take no memory.
type zeroFS struct{ *tree }

func (z zeroFS) Open(path string) (fs.File, error) {
	n, err := z.find(path)
	if err != nil {
		return nil, err
	}
	return &zeroFile{node: n, left: n.size}, nil
}

type zeroFile struct {
	node *node
	left int64
}

func (f *zeroFile) Stat() (fs.FileInfo, error) { return nodeInfo{f.node}, nil }
func (f *zeroFile) Close() error               { return nil }
func (f *zeroFile) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), f.left)
	clear(p[:n])
	f.left -= n
	return int(n), nil
}
