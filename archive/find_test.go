package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	slug "github.com/hashicorp/go-slug"
	"pgregory.net/rapid"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
)

const plan = "tfplan.json"

func find(t testing.TB, stored []byte, most int64, limits archive.Limits) ([]byte, error) {
	t.Helper()
	return archive.Find(t.Context(), bytes.NewReader(stored), plan, most, limits)
}

func TestFind(t *testing.T) {
	odd := reg("./"+plan, "{}")
	odd.Mode, odd.Uname, odd.PAXRecords = 0o7755, "mallory", map[string]string{"SCHILY.xattr.user.x": "y"}
	for label, stored := range map[string][]byte{
		"alone":                   pack(t, reg(plan, "{}")),
		"at the end":              pack(t, reg("main.tf", noise(70_000)), folder("modules/"), reg("modules/a.tf", "a"), reg(plan, "{}")),
		"with ./":                 pack(t, folder("./"), odd),
		"with slashes too many":   pack(t, reg(".//./"+plan, "{}")),
		"another below":           pack(t, reg(plan, "{}"), reg("modules/"+plan, "evil")),
		"in other letters beside": pack(t, reg("TFPLAN.json", "evil"), reg(plan, "{}")),
		"case 72 no end":          gz(t, tarOf(t, reg(plan, "{}"))[:1024]),
		"case 72 a second tar":    gz(t, append(tarOf(t, reg(plan, "{}")), tarOf(t, reg(plan, "evil"))...)),
		// Nobody unpacks a configuration: the rest of it is its own affair.
		"case 46 beside a repository": pack(t, reg(".git/config", "x"), reg(plan, "{}")),
		"case 47 beside odd names":    pack(t, reg("a\\b\x01", "x"), reg("A.tf", ""), reg("a.tf", ""), reg("a.tf", ""), reg(plan, "{}")),
		"case 66 beside links out":    pack(t, symlink("l", "/etc/passwd"), symlink("m", "../../x"), reg(plan, "{}")),
		"case 66 beside a hard link": pack(t, reg("f", "x"), item{Header: tar.Header{Typeflag: tar.TypeLink, Name: "l", Linkname: "f"}},
			reg(plan, "{}")),
		"beside a large file": pack(t, reg("zeros", string(make([]byte, archive.DefaultFileBytes+1))), reg(plan, "{}")),
	} {
		t.Run(label, func(t *testing.T) {
			if got, err := find(t, stored, 2, archive.Limits{}); err != nil || string(got) != "{}" {
				t.Errorf("found %q, %v", got, err)
			}
		})
	}
	for label, stored := range map[string][]byte{
		"nothing":          pack(t),
		"others":           pack(t, reg("main.tf", "x"), reg("modules/"+plan, "{}")),
		"in other letters": pack(t, reg("TFPLAN.json", "{}")),
		"a longer name":    pack(t, reg(plan+"x", "{}")),
	} {
		t.Run("not there: "+label, func(t *testing.T) {
			if got, err := find(t, stored, 2, archive.Limits{}); !errors.Is(err, fs.ErrNotExist) || got != nil {
				t.Errorf("found %q, %v", got, err)
			}
		})
	}
}

// What clients make of a directory.
func TestFindInWhatClientsPack(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string]string{plan: `{"format_version":"1.2"}`, "main.tf": "", ".git/config": "x"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var packed bytes.Buffer
	if _, err := slug.Pack(dir, &packed, true); err != nil {
		t.Fatal(err)
	}
	archives := map[string][]byte{"the official client": packed.Bytes()}
	for label, args := range map[string][]string{
		"GNU tar with ./": {"-czf", "-", "-C", dir, "."}, "GNU tar in PAX": {"--format=posix", "-czf", "-", "-C", dir, plan, "main.tf"},
	} {
		out, err := exec.CommandContext(t.Context(), "tar", args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		archives[label] = out
	}
	for label, stored := range archives {
		if got, err := find(t, stored, 100, archive.Limits{}); err != nil || string(got) != `{"format_version":"1.2"}` {
			t.Errorf("%s: found %q, %v", label, got, err)
		}
	}
}

func TestFindRefuses(t *testing.T) {
	raw := func(parts ...[]byte) []byte { return gz(t, append(slices.Concat(parts...), make([]byte, 1024)...)) }
	whole := pack(t, reg(plan, "{}"), reg("main.tf", noise(3000)))
	typed := func(typeflag byte, name string) item {
		return item{Header: tar.Header{Typeflag: typeflag, Name: name, Linkname: "main.tf"}}
	}
	const most = 16 << 20
	many := make([]item, 0, archive.DefaultFiles+1)
	for i := range archive.DefaultFiles + 1 {
		many = append(many, reg(fmt.Sprint("f", i), ""))
	}
	for _, tc := range []struct {
		label  string
		stored []byte
		class  polset.Class
		parts  []string // of the sentence
	}{
		{"case 65 parent", pack(t, reg("../"+plan, "x")), polset.ClassContentInvalid, []string{`"../tfplan.json"`}},
		{"case 65 absolute", pack(t, reg("/"+plan, "x")), polset.ClassContentInvalid, []string{`"/tfplan.json"`, "absolute"}},
		{"case 65 through a directory", pack(t, reg(plan, "{}"), reg("a/../"+plan, "x")), polset.ClassContentInvalid, []string{`"a/../tfplan.json"`}},
		{"case 66 a symlink", pack(t, typed(tar.TypeSymlink, plan)), polset.ClassContentInvalid, []string{`"tfplan.json"`, "link"}},
		{"case 66 a hard link", pack(t, reg("main.tf", "x"), typed(tar.TypeLink, plan)), polset.ClassContentInvalid, []string{`"tfplan.json"`, "link"}},
		{"a directory", pack(t, folder(plan+"/")), polset.ClassContentInvalid, []string{`"tfplan.json"`, "directory"}},
		{"case 67 a device", pack(t, reg(plan, "{}"), typed(tar.TypeChar, "dev")), polset.ClassContentInvalid, []string{`"dev"`}},
		{"case 69 bomb of zeros", gz(t, make([]byte, most+1)), polset.ClassLimit, []string{"POLSET_MAX_ARCHIVE_BYTES"}},
		{"case 69 bomb beside", pack(t, reg(plan, "{}"), reg("zeros", string(make([]byte, most)))), polset.ClassLimit, []string{"POLSET_MAX_ARCHIVE_BYTES"}},
		{"case 69 bomb after the end", gz(t, append(tarOf(t, reg(plan, "{}")), make([]byte, most)...)), polset.ClassLimit, []string{"POLSET_MAX_ARCHIVE_BYTES"}},
		{"case 69 too many files", pack(t, append(many, reg(plan, "{}"))...), polset.ClassLimit, []string{"20000 files"}},
		{"case 70 concatenated members", append(pack(t, reg(plan, "{}")), pack(t, reg(plan, "evil"))...), polset.ClassContentInvalid, []string{"several gzip members"}},
		{"case 71 not gzip", []byte("PK\x03\x04 a zip"), polset.ClassContentInvalid, []string{"not a tar.gz"}},
		{"case 71 empty", nil, polset.ClassContentInvalid, []string{"not a tar.gz"}},
		{"case 71 trailing junk", append(slices.Clone(whole), 'j'), polset.ClassContentInvalid, []string{"goes on after the end"}},
		{"case 71 truncated", whole[:len(whole)-1], polset.ClassContentInvalid, []string{"ends early"}},
		{"case 71 a flipped bit", flip(whole, len(whole)-6), polset.ClassContentInvalid, []string{"damaged"}},
		{"case 71 a file that is not there", raw(block('0', plan, 5000)), polset.ClassContentInvalid, []string{"ends early", `"tfplan.json"`}},
		{"case 73 PAX path override", raw(pax('x', record("path", plan)), block('0', "main.tf", 0)), polset.ClassContentInvalid, []string{"PAX record"}},
		{"case 73 PAX path for all", raw(pax('g', record("path", plan)), block('0', "main.tf", 0)), polset.ClassContentInvalid, []string{"PAX record"}},
		{"case 73 PAX size override", raw(pax('x', record("size", "2")), block('0', plan, 0), padded("{}")), polset.ClassContentInvalid, []string{"size"}},
		{"case 73 GNU long name", raw(block('L', "././@LongLink", 15), padded("../tfplan.json\x00"), block('0', plan, 0)), polset.ClassContentInvalid, []string{`"../tfplan.json"`}},
		{"case 74 GNU sparse", sparseFile(t), polset.ClassContentInvalid, []string{`"sparse"`, "--sparse"}},
		{"case 75 twice", pack(t, reg(plan, "{}"), reg("main.tf", ""), reg(plan, "evil")), polset.ClassContentInvalid, []string{`"tfplan.json"`, "twice"}},
		{"case 75 twice in two spellings", pack(t, reg(plan, "{}"), reg("./"+plan, "{}")), polset.ClassContentInvalid, []string{`"tfplan.json"`, "twice"}},
		{"case 75 a file and a link", pack(t, reg(plan, "{}"), typed(tar.TypeSymlink, plan)), polset.ClassContentInvalid, []string{`"tfplan.json"`, "twice"}},
		{"case 75 a file below", pack(t, reg(plan, "{}"), reg(plan+"/x", "")), polset.ClassContentInvalid, []string{`"tfplan.json"`, "below"}},
	} {
		t.Run(tc.label, func(t *testing.T) {
			got, err := find(t, tc.stored, 5000, archive.Limits{Bytes: most})
			if got != nil {
				t.Errorf("found %q all the same", got)
			}
			wantFailure(t, err, tc.class, tc.parts...)
		})
	}
}

func TestFindLimits(t *testing.T) {
	stored := pack(t, reg(plan, "12345"), folder("d/"), symlink("d/l", "../a"))
	exact := archive.Limits{Bytes: 6 * 512, Files: 2, FileBytes: 1}
	if got, err := find(t, stored, 5, exact); err != nil || string(got) != "12345" {
		t.Errorf("exactly the limits: %q, %v", got, err)
	}
	var large *archive.TooLargeError
	if _, err := find(t, stored, 4, exact); !errors.As(err, &large) || *large != (archive.TooLargeError{Path: plan, Size: 5, Most: 4}) {
		t.Errorf("a byte too many: %v", err)
	}
	for label, less := range map[string]func(*archive.Limits){
		"POLSET_MAX_ARCHIVE_BYTES": func(l *archive.Limits) { l.Bytes-- },
		"POLSET_MAX_ARCHIVE_FILES": func(l *archive.Limits) { l.Files-- },
	} {
		limits := exact
		less(&limits)
		_, err := find(t, stored, 5, limits)
		wantFailure(t, err, polset.ClassLimit, label)
	}

	t.Run("case 69 what is declared and not there costs nothing", func(t *testing.T) {
		claims := gz(t, append(block('0', plan, 1<<32), make([]byte, 1024)...))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := find(t, claims, 1<<40, archive.Limits{})
		runtime.ReadMemStats(&after)
		wantFailure(t, err, polset.ClassLimit, "POLSET_MAX_ARCHIVE_BYTES")
		if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
			t.Errorf("%d bytes were allocated", used)
		}
	})
}

// A disk that fails says nothing of the archive.
func TestFindTellsItsOwnErrors(t *testing.T) {
	stored := pack(t, reg(plan, "{}"), reg("a", noise(100_000)))
	broken := errors.New("the disk is on fire")
	for cut := range 20 {
		n := len(stored) * cut / 20
		_, err := archive.Find(t.Context(), io.MultiReader(bytes.NewReader(stored[:n]), iotest.ErrReader(broken)), plan, 2, archive.Limits{})
		var f *polset.Failure
		if !errors.Is(err, broken) || errors.As(err, &f) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := archive.Find(ended, bytes.NewReader(stored), plan, 2, archive.Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
}

// Find and Read are of one mind on what an archive holds.
func TestFindWhatReadReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fsys, _ := drawTree(t)
		_, stored := mustWrite(t, fsys)
		err := fs.WalkDir(fsys, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			want, err := fs.ReadFile(fsys, path)
			if err != nil {
				return err
			}
			got, err := archive.Find(t.Context(), bytes.NewReader(stored), path, int64(len(want)), archive.Limits{})
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%q holds %q, not %q: %v", path, got, want, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// Whatever Read accepts, Find finds the same in it.
func FuzzFind(f *testing.F) {
	for _, items := range [][]item{
		{reg(plan, "{}")},
		{reg("./"+plan, "{}"), symlink("l", plan)},
		{folder(plan + "/")},
		{reg(strings.Repeat("long/", 40)+plan, "x"), reg(plan, "y")},
		{reg("../"+plan, "")},
	} {
		f.Add(tarOf(f, items...))
	}
	f.Add(slices.Concat(pax('x', record("path", plan)), block('0', "good", 0)))
	f.Add(slices.Concat(pax('g', record("comment", "c")), block('0', plan, 3), padded("abc")))
	f.Add(slices.Concat(block('L', "././@LongLink", 12), padded(plan+"\x00"), block('0', "f", 0)))
	limits := archive.Limits{Bytes: 1 << 20, Files: 100, FileBytes: 1 << 16}
	f.Fuzz(func(t *testing.T, plain []byte) {
		stored := gz(t, plain)
		got, err := find(t, stored, 1<<16, limits)
		var failure *polset.Failure
		var large *archive.TooLargeError
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.As(err, &failure) && !errors.As(err, &large) {
			t.Fatalf("no failure: %v", err)
		}
		fsys, refused := archive.Read(t.Context(), bytes.NewReader(stored), limits)
		if refused != nil {
			return // it asks for more
		}
		if failure != nil || large != nil {
			if info, err := fs.Lstat(fsys, plan); err == nil && !info.Mode().IsRegular() {
				return
			}
			t.Fatalf("read, and nothing found: %v", err)
		}
		want, missing := fs.ReadFile(fsys, plan)
		if (missing == nil) != (err == nil) || !bytes.Equal(got, want) {
			t.Fatalf("found %q, %v; read %q, %v", got, err, want, missing)
		}
	})
}
