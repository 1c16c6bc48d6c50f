package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	slug "github.com/hashicorp/go-slug"
	"pgregory.net/rapid"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
)

// An item is one entry of an archive in the making.
type item struct {
	tar.Header
	data string
}

func reg(name, data string) item {
	return item{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))}, data}
}

func folder(name string) item {
	return item{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}}
}

func symlink(name, target string) item {
	return item{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}}
}

// tarOf is a tar as Go's own writer makes it.
func tarOf(t testing.TB, items ...item) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, i := range items {
		if err := w.WriteHeader(&i.Header); err != nil {
			t.Fatalf("%s: %v", i.Name, err)
		}
		if _, err := io.WriteString(w, i.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func gz(t testing.TB, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func pack(t testing.TB, items ...item) []byte {
	t.Helper()
	return gz(t, tarOf(t, items...))
}

// block is a header as no writer would make it, with its checksum.
func block(typeflag byte, name string, size int64, adjust ...func([]byte)) []byte {
	b := make([]byte, 512)
	copy(b, name)
	copy(b[100:], "0000644\x00")
	copy(b[108:], "0000000\x00")
	copy(b[116:], "0000000\x00")
	copy(b[124:], fmt.Sprintf("%011o\x00", size))
	copy(b[136:], "00000000000\x00")
	b[156] = typeflag
	copy(b[257:], "ustar\x0000")
	for _, f := range adjust {
		f(b)
	}
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// padded fills the last block of an entry's content.
func padded(data string) []byte {
	return append([]byte(data), make([]byte, (512-len(data)%512)%512)...)
}

// record is one PAX record.
func record(key, value string) string {
	n := len(key) + len(value) + 3
	for size := n + 1; ; size++ {
		if n+len(strconv.Itoa(size)) == size {
			return fmt.Sprintf("%d %s=%s\n", size, key, value)
		}
	}
}

// pax is an extended header (x), or a global one (g).
func pax(typeflag byte, records ...string) []byte {
	text := strings.Join(records, "")
	return append(block(typeflag, "PaxHeaders/x", int64(len(text))), padded(text)...)
}

func read(t testing.TB, stored []byte, limits archive.Limits) (fs.FS, error) {
	t.Helper()
	return archive.Read(t.Context(), bytes.NewReader(stored), limits)
}

func mustRead(t testing.TB, stored []byte) fs.FS {
	t.Helper()
	fsys, err := read(t, stored, archive.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return fsys
}

// contents is what a file system holds: files with their modes, and links.
func contents(t testing.TB, fsys fs.FS) map[string]string {
	t.Helper()
	held := map[string]string{}
	err := fs.WalkDir(fsys, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			target, err := fs.ReadLink(fsys, path)
			held[path] = "-> " + target
			return err
		}
		data, err := fs.ReadFile(fsys, path)
		held[path] = fmt.Sprintf("%o %s", info.Mode(), data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return held
}

func wantContents(t testing.TB, fsys fs.FS, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, contents(t, fsys)); diff != "" {
		t.Errorf("read differs (-want +got):\n%s", diff)
	}
}

// The official client's fixture and all that its packer can make.
func TestReadSlug(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("long-directory-name/", 8) + "ü.rego"
	for name, data := range map[string]string{
		"policies.hcl": "policy \"a\" {}", "lib/common.rego": "package common", long: "package long", ".terraformignore": "ignored/\n",
		"ignored/x.rego": "no", "run.sh": "#!/bin/sh",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, do := range []error{
		os.Chmod(filepath.Join(dir, "run.sh"), 0o700), os.Mkdir(filepath.Join(dir, "empty"), 0o700),
		os.Symlink("../policies.hcl", filepath.Join(dir, "lib/link.hcl")),
	} {
		if do != nil {
			t.Fatal(do)
		}
	}
	var packed bytes.Buffer
	if _, err := slug.Pack(dir, &packed, true); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"policies.hcl": "644 policy \"a\" {}", "lib/common.rego": "644 package common", long: "644 package long",
		".terraformignore": "644 ignored/\n", "run.sh": "755 #!/bin/sh", "lib/link.hcl": "-> ../policies.hcl",
	}
	wantContents(t, mustRead(t, packed.Bytes()), want)

	// What other programs make of the same directory is the same to polset.
	for label, args := range map[string][]string{
		"GNU tar with ./":         {"-czf", "-", "-C", dir, "."},
		"GNU tar in PAX":          {"--format=posix", "-czf", "-", "-C", dir, "."},
		"GNU tar in USTAR or GNU": {"--format=gnu", "--owner=somebody", "-czf", "-", "-C", dir, "."},
	} {
		t.Run(label, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), "tar", args...).Output()
			if err != nil {
				t.Fatal(err)
			}
			with := map[string]string{"ignored/x.rego": "644 no"}
			for name, is := range want {
				with[name] = is
			}
			wantContents(t, mustRead(t, out), with)
		})
	}
}

func TestReadNormalises(t *testing.T) {
	now := time.Now()
	t.Run("case 68 setuid, owners and times", func(t *testing.T) {
		plain := []item{reg("a", "a"), reg("b", "b")}
		odd := []item{folder("./"), reg("./b", "b"), reg(".//./a", "a")}
		for n := range odd {
			odd[n].Uid, odd[n].Gid, odd[n].Uname, odd[n].Gname = 1000, 1000, "mallory", "wheel"
			odd[n].ModTime, odd[n].AccessTime, odd[n].ChangeTime, odd[n].Format = now, now, now, tar.FormatPAX
			odd[n].PAXRecords = map[string]string{"SCHILY.xattr.user.x": "y"}
			if odd[n].Typeflag == tar.TypeReg {
				odd[n].Mode = 0o7644
			}
		}
		first, _ := write(t, mustRead(t, pack(t, plain...)))
		second, _ := write(t, mustRead(t, pack(t, odd...)))
		if first != second {
			t.Errorf("one tree, two archives: %+v and %+v", first, second)
		}
	})
	t.Run("case 72 no end", func(t *testing.T) {
		plain := tarOf(t, reg("a", "a"))
		wantContents(t, mustRead(t, gz(t, plain[:1024])), map[string]string{"a": "644 a"})
	})
	t.Run("case 72 a second tar after the end", func(t *testing.T) {
		both := append(tarOf(t, reg("a", "a")), tarOf(t, reg("evil", "evil"))...)
		fsys := mustRead(t, gz(t, both))
		wantContents(t, fsys, map[string]string{"a": "644 a"})
		repacked, _ := write(t, fsys)
		if alone, _ := write(t, mustRead(t, pack(t, reg("a", "a")))); repacked != alone {
			t.Error("what came after the end is in the archive")
		}
	})
	t.Run("a comment for all, as git archive writes it", func(t *testing.T) {
		plain := append(pax('g', record("comment", strings.Repeat("c", 40))), tarOf(t, reg("a", "a"))...)
		wantContents(t, mustRead(t, gz(t, plain)), map[string]string{"a": "644 a"})
	})
	t.Run("case 66 links that stay inside", func(t *testing.T) {
		fsys := mustRead(t, pack(t, symlink("a/up", "../b"), reg("b/f", "f"), symlink("gone", "a/none")))
		wantContents(t, fsys, map[string]string{"a/up": "-> ../b", "b/f": "644 f", "gone": "-> a/none"})
		if data, err := fs.ReadFile(fsys, "a/up/f"); err != nil || string(data) != "f" {
			t.Errorf("through the link: %q, %v", data, err)
		}
	})
	t.Run("case 48 device names of Windows", func(t *testing.T) {
		wantContents(t, mustRead(t, pack(t, reg("aux.rego", ""), reg("con.rego", ""))), map[string]string{"aux.rego": "644 ", "con.rego": "644 "})
	})
	t.Run("nothing", func(t *testing.T) {
		wantContents(t, mustRead(t, pack(t)), map[string]string{})
	})
}

func TestReadRefuses(t *testing.T) {
	many := func(n int, each func(int) item) (items []item) {
		for i := range n {
			items = append(items, each(i))
		}
		return items
	}
	raw := func(parts ...[]byte) []byte { return gz(t, append(slices.Concat(parts...), make([]byte, 1024)...)) }
	whole := pack(t, reg("policies.hcl", "x"), reg("a.rego", noise(3000)))
	deep := strings.Repeat("d/", archive.MaxDepth) + "f"
	hardlink := func(target string) item {
		return item{Header: tar.Header{Typeflag: tar.TypeLink, Name: "l", Linkname: target}}
	}
	special := func(typeflag byte) item { return item{Header: tar.Header{Typeflag: typeflag, Name: "dev"}} }

	for _, tc := range []struct {
		label  string
		stored []byte
		class  polset.Class
		parts  []string // of the sentence
	}{
		{"case 65 parent", pack(t, reg("../evil", "x")), polset.ClassContentInvalid, []string{`"../evil"`}},
		{"case 65 absolute", pack(t, reg("/etc/passwd", "x")), polset.ClassContentInvalid, []string{`"/etc/passwd"`, "absolute"}},
		{"case 65 through a directory", pack(t, reg("a/../../b", "x")), polset.ClassContentInvalid, []string{`"a/../../b"`}},
		{"case 65 stays inside by words", pack(t, reg("a/../b", "x")), polset.ClassContentInvalid, []string{`"a/../b"`}},
		{"case 65 a directory", pack(t, folder("../up/")), polset.ClassContentInvalid, []string{`"../up/"`}},
		{"case 65 a link", pack(t, symlink("../l", "x")), polset.ClassContentInvalid, []string{`"../l"`}},
		{"case 65 the root as a file", raw(block('0', ".", 0)), polset.ClassContentInvalid, []string{"root"}},
		{"case 65 a file that ends in a slash", raw(block('0', "f/", 0)), polset.ClassContentInvalid, []string{`"f/"`}},
		{"case 46 .git", pack(t, reg("sub/.git/config", "x")), polset.ClassContentInvalid, []string{`"sub/.git"`}},
		{"case 46 control characters", pack(t, reg("a\x01b", "x")), polset.ClassContentInvalid, []string{`"a\x01b"`}},
		{"case 47 backslash", pack(t, reg(`a\..\b`, "x")), polset.ClassContentInvalid, []string{"backslash"}},
		{"case 47 not UTF-8", raw(block('0', "a\xff", 0)), polset.ClassContentInvalid, []string{`"a\xff"`}},
		{"case 49 case", pack(t, reg("A.rego", "x"), reg("a.rego", "y")), polset.ClassContentInvalid, []string{"differ only", `"A.rego"`, `"a.rego"`}},

		{"case 66 symlink escapes", pack(t, symlink("l", "../x")), polset.ClassContentInvalid, []string{`"l"`, "leads out"}},
		{"case 66 absolute symlink", pack(t, symlink("l", "/etc/passwd")), polset.ClassContentInvalid, []string{`"l"`}},
		{"case 66 symlink escapes through another", pack(t, symlink("a/b/up", "../.."), symlink("l", "a/b/up/../x")), polset.ClassContentInvalid, []string{`"l"`, "through another"}},
		{"case 66 hardlink escapes", pack(t, hardlink("../../etc/passwd")), polset.ClassContentInvalid, []string{`"l"`, "hard link"}},
		{"case 66 hardlink inside", pack(t, reg("f", "x"), hardlink("f")), polset.ClassContentInvalid, []string{`"l"`, "hard link"}},
		{"case 66 a file below a symlink", pack(t, symlink("d", "e"), reg("d/f", "x")), polset.ClassContentInvalid, []string{`"d"`, "below"}},
		{"case 66 a symlink in the place of a directory", pack(t, reg("d/f", "x"), symlink("d", "e")), polset.ClassContentInvalid, []string{`"d"`, "twice"}},

		{"case 67 character device", pack(t, special(tar.TypeChar)), polset.ClassContentInvalid, []string{`"dev"`, "neither"}},
		{"case 67 block device", pack(t, special(tar.TypeBlock)), polset.ClassContentInvalid, []string{`"dev"`, "neither"}},
		{"case 67 FIFO", pack(t, special(tar.TypeFifo)), polset.ClassContentInvalid, []string{`"dev"`, "neither"}},
		{"case 67 contiguous file", raw(block('7', "dev", 0)), polset.ClassContentInvalid, []string{`"dev"`, "neither"}},
		{"case 67 an unknown type", raw(block('V', "dev", 0)), polset.ClassContentInvalid, []string{`"dev"`, "neither"}},

		{"case 69 bomb in a file", pack(t, reg("zeros", string(make([]byte, archive.DefaultFileBytes+1)))), polset.ClassLimit, []string{`"zeros"`, "POLSET_MAX_FILE_BYTES", "10485760"}},
		{"case 69 bomb of files", pack(t, many(11, func(i int) item { return reg(fmt.Sprint("z", i), string(make([]byte, archive.DefaultFileBytes))) })...), polset.ClassLimit, []string{`"z9"`, "POLSET_MAX_ARCHIVE_BYTES", "104857600"}},
		{"case 69 bomb after the end", gz(t, append(tarOf(t, reg("a", "a")), make([]byte, archive.DefaultBytes)...)), polset.ClassLimit, []string{"POLSET_MAX_ARCHIVE_BYTES"}},
		{"case 69 bomb of zeros", gz(t, make([]byte, archive.DefaultBytes+1)), polset.ClassLimit, []string{"POLSET_MAX_ARCHIVE_BYTES"}},
		{"case 69 too many files", pack(t, many(archive.DefaultFiles+1, func(i int) item { return reg(fmt.Sprint("f", i), "") })...), polset.ClassLimit, []string{"20000 files", `"f20000"`}},
		{"case 69 too many directories", pack(t, many(archive.DefaultFiles/2+1, func(i int) item { return folder(fmt.Sprintf("d%d/e/", i)) })...), polset.ClassLimit, []string{"20000 directories"}},
		{"case 69 too deep", pack(t, reg(deep, "")), polset.ClassLimit, []string{"1024"}},
		{"case 69 path too long", pack(t, reg(strings.Repeat(strings.Repeat("d", 200)+"/", 21)+"f", "")), polset.ClassLimit, []string{"4095"}},

		{"case 70 concatenated members", append(pack(t, reg("a", "a")), pack(t, reg("b", "b"))...), polset.ClassContentInvalid, []string{"several gzip members"}},
		{"case 70 a tar over two members", append(gz(t, tarOf(t, reg("a", "a"))[:700]), gz(t, tarOf(t, reg("a", "a"))[700:])...), polset.ClassContentInvalid, []string{"several gzip members"}},
		{"case 71 not gzip", []byte("PK\x03\x04 a zip"), polset.ClassContentInvalid, []string{"not a tar.gz"}},
		{"case 71 a plain tar", tarOf(t, reg("a", "a")), polset.ClassContentInvalid, []string{"not a tar.gz"}},
		{"case 71 empty", nil, polset.ClassContentInvalid, []string{"not a tar.gz"}},
		{"case 71 gzip of something else", gz(t, []byte(strings.Repeat("no tar ", 200))), polset.ClassContentInvalid, []string{"damaged"}},
		{"case 71 trailing junk", append(slices.Clone(whole), 'j'), polset.ClassContentInvalid, []string{"goes on after the end"}},
		{"case 71 trailing zeros", append(slices.Clone(whole), make([]byte, 100)...), polset.ClassContentInvalid, []string{"goes on after the end"}},
		{"case 71 truncated", whole[:len(whole)-1], polset.ClassContentInvalid, []string{"ends early"}},
		{"case 71 truncated in a file", whole[:len(whole)/2], polset.ClassContentInvalid, []string{"ends early", `"a.rego"`}},
		{"case 71 a flipped bit", flip(whole, len(whole)-6), polset.ClassContentInvalid, []string{"damaged"}},
		{"case 71 a file that is not there", raw(block('0', "liar", 5000)), polset.ClassContentInvalid, []string{"ends early", `"liar"`}},

		{"case 73 PAX path override", raw(pax('x', record("path", "evil.rego")), block('0', "good.rego", 0)), polset.ClassContentInvalid, []string{`"evil.rego"`, "PAX record", "path"}},
		{"case 73 PAX path override that escapes", raw(pax('x', record("path", "../"+strings.Repeat("e", 101))), block('0', "good.rego", 0)), polset.ClassContentInvalid, []string{`"../e`}},
		{"case 73 PAX linkpath override", raw(pax('x', record("linkpath", "b")), block('2', "l", 0, func(b []byte) { copy(b[157:], "a") })), polset.ClassContentInvalid, []string{`"l"`, "linkpath"}},
		{"case 73 PAX size override", raw(pax('x', record("size", "512")), block('0', "f", 0), make([]byte, 512)), polset.ClassContentInvalid, []string{`"f"`, "size"}},
		{"case 73 PAX path for all", raw(pax('g', record("path", strings.Repeat("e", 101))), block('0', "f", 0)), polset.ClassContentInvalid, []string{"PAX record"}},
		{"case 73 PAX record over 1 MiB", raw(pax('x', record("comment", strings.Repeat("c", 1<<20))), block('0', "f", 0)), polset.ClassContentInvalid, []string{"damaged"}},
		{"case 73 GNU long name over 1 MiB", raw(block('L', "././@LongLink", 1<<20+1), make([]byte, 1<<20+512), block('0', "f", 0)), polset.ClassContentInvalid, []string{"damaged"}},
		{"case 73 GNU long name that escapes", raw(block('L', "././@LongLink", 8), padded("../evil\x00"), block('0', "f", 0)), polset.ClassContentInvalid, []string{`"../evil"`}},

		{"case 74 GNU sparse", sparseFile(t), polset.ClassContentInvalid, []string{`"sparse"`, "--sparse"}},
		{
			"case 74 PAX sparse", raw(pax('x', record("GNU.sparse.major", "0"), record("GNU.sparse.minor", "1"), record("GNU.sparse.name", "sparse"),
				record("GNU.sparse.size", "8796093022208"), record("GNU.sparse.numblocks", "0"), record("GNU.sparse.map", "")), block('0', "sparse", 0)),
			polset.ClassContentInvalid,
			[]string{`"sparse"`, "--sparse"},
		},
		{"case 75 a file twice", pack(t, reg("f", "1"), reg("f", "2")), polset.ClassContentInvalid, []string{`"f"`, "twice"}},
		{"case 75 a file twice in two spellings", pack(t, reg("f", "1"), reg("./f", "2")), polset.ClassContentInvalid, []string{`"f"`, "twice"}},
		{"case 75 a file and a directory", pack(t, reg("f", "1"), folder("f/")), polset.ClassContentInvalid, []string{`"f"`, "twice"}},
		{"case 75 a directory and a file", pack(t, folder("f/"), reg("f", "1")), polset.ClassContentInvalid, []string{`"f"`, "twice"}},
		{"case 75 a directory twice", pack(t, folder("f/"), folder("f/")), polset.ClassContentInvalid, []string{`"f"`, "twice"}},
		{"case 75 a file below a file", pack(t, reg("f", "1"), reg("f/g", "2")), polset.ClassContentInvalid, []string{`"f"`, "below"}},
		{"case 75 a link twice", pack(t, symlink("l", "a"), symlink("l", "b")), polset.ClassContentInvalid, []string{`"l"`, "twice"}},
		{"no name", raw(block('0', "", 0)), polset.ClassContentInvalid, []string{"no name"}},
	} {
		t.Run(tc.label, func(t *testing.T) {
			_, err := read(t, tc.stored, archive.Limits{})
			wantFailure(t, err, tc.class, tc.parts...)
		})
	}
}

// A directory that was implied before it is listed is there once.
func TestReadDirectoriesInAnyOrder(t *testing.T) {
	wantContents(t, mustRead(t, pack(t, reg("d/f", "x"), folder("d/"), folder("d/e/"), reg("d/e/g", "y"))),
		map[string]string{"d/f": "644 x", "d/e/g": "644 y"})
}

// sparseFile is ten kilobytes that claim eight terabytes.
func sparseFile(t testing.TB) []byte {
	t.Helper()
	b := block('S', "sparse", 0, func(b []byte) {
		copy(b[257:], "ustar  \x00")
		copy(b[386:], "77777777777\x00"+"00000000000\x00") // a hole, and nothing after it
		b[483], b[484], b[485], b[486] = 0x80, 0, 0, 0     // base 256
		b[489] = 8                                         // × 2^40
	})
	return gz(t, append(b, make([]byte, 10<<10)...))
}

func flip(b []byte, at int) []byte {
	flipped := slices.Clone(b)
	flipped[at] ^= 1
	return flipped
}

func TestReadLimits(t *testing.T) {
	stored := pack(t, reg("a", "12345"), folder("d/"), symlink("d/l", "../a"))
	exact := archive.Limits{Bytes: 6 * 512, Files: 2, FileBytes: 5} // a and its content, d, l and the end
	if _, err := read(t, stored, exact); err != nil {
		t.Errorf("exactly the limits: %v", err)
	}
	for label, less := range map[string]func(*archive.Limits){
		"POLSET_MAX_ARCHIVE_BYTES": func(l *archive.Limits) { l.Bytes-- },
		"POLSET_MAX_ARCHIVE_FILES": func(l *archive.Limits) { l.Files-- },
		"POLSET_MAX_FILE_BYTES":    func(l *archive.Limits) { l.FileBytes-- },
	} {
		limits := exact
		less(&limits)
		_, err := read(t, stored, limits)
		wantFailure(t, err, polset.ClassLimit, label)
	}
}

// A disk that fails says nothing of the archive.
func TestReadTellsItsOwnErrors(t *testing.T) {
	stored := pack(t, reg("a", noise(100_000)))
	broken := errors.New("the disk is on fire")
	for cut := range 20 {
		n := len(stored) * cut / 20
		_, err := archive.Read(t.Context(), io.MultiReader(bytes.NewReader(stored[:n]), iotest.ErrReader(broken)), archive.Limits{})
		var f *polset.Failure
		if !errors.Is(err, broken) || errors.As(err, &f) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := archive.Read(ended, bytes.NewReader(stored), archive.Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
}

// Whatever Write wrote, Read gives back.
func TestReadWhatWriteWrote(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fsys, _ := drawTree(t)
		first, stored := mustWrite(t, fsys)
		back, err := archive.Read(t.Context(), bytes.NewReader(stored), archive.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		second, again := mustWrite(t, back)
		if first != second || !bytes.Equal(stored, again) {
			t.Errorf("written %+v, read and written again %+v", first, second)
		}
	})
}

// Whatever Read accepts, Write accepts, and it is the same on every way round.
func FuzzRead(f *testing.F) {
	for _, items := range [][]item{
		{},
		{reg("a", "a"), folder("d/"), symlink("d/l", "../a")},
		{reg(strings.Repeat("long/", 40)+"ü", "x")},
		{reg("../a", "")},
		{symlink("l", "m"), symlink("m", "l")},
		{reg("A", ""), reg("a", "")},
	} {
		f.Add(tarOf(f, items...))
	}
	f.Add(slices.Concat(pax('x', record("path", "evil")), block('0', "good", 0)))
	f.Add(slices.Concat(pax('g', record("comment", "c")), block('0', "good", 3), padded("abc")))
	f.Add(slices.Concat(block('L', "././@LongLink", 8), padded("longname"), block('S', "f", 0)))
	limits := archive.Limits{Bytes: 1 << 20, Files: 100, FileBytes: 1 << 16}
	f.Fuzz(func(t *testing.T, plain []byte) {
		fsys, err := archive.Read(t.Context(), bytes.NewReader(gz(t, plain)), limits)
		if err != nil {
			var failure *polset.Failure
			if !errors.As(err, &failure) {
				t.Fatalf("no failure: %v", err)
			}
			return
		}
		// The limit on bytes counts the headers of either.
		var out bytes.Buffer
		first, err := archive.Write(t.Context(), &out, fsys, archive.Limits{Bytes: 8 << 20, Files: 100, FileBytes: 1 << 16})
		if err != nil {
			t.Fatalf("read, and not written: %v", err)
		}
		back, err := archive.Read(t.Context(), &out, archive.Limits{})
		if err != nil {
			t.Fatalf("written, and not read: %v", err)
		}
		if second, err := archive.Write(t.Context(), io.Discard, back, archive.Limits{}); err != nil || first != second {
			t.Fatalf("%+v became %+v: %v", first, second, err)
		}
	})
}
