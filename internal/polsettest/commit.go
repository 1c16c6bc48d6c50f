package polsettest

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"
)

// A CommitOption is an argument of Commit.
type CommitOption func(*commit)

type commit struct {
	message string
	parent  *string // nil: the branch's tip
	replace bool
	deleted []string
	exec    map[string]bool
	writes  []write
	packed  bool // keep what was imported in a pack
}

type write struct {
	mode, path string
	sha        string // of a submodule
	size       int64
	content    io.Reader
}

// Delete removes files or directories of the commit before.
func Delete(paths ...string) CommitOption {
	return func(c *commit) { c.deleted = append(c.deleted, paths...) }
}

// Replace begins with an empty tree instead of the tree of the commit before.
func Replace() CommitOption { return func(c *commit) { c.replace = true } }

// From makes the commit a child of another than the branch's tip, so that the
// branch's move is a forced push; From("") makes it an orphan.
func From(parent string) CommitOption { return func(c *commit) { c.parent = &parent } }

// Message sets the commit's message.
func Message(text string) CommitOption { return func(c *commit) { c.message = text } }

// Exec gives files of this commit the mode 100755.
func Exec(paths ...string) CommitOption {
	return func(c *commit) {
		for _, p := range paths {
			c.exec[p] = true
		}
	}
}

// Symlink adds a symbolic link, whose target may be any text.
func Symlink(path, target string) CommitOption {
	return func(c *commit) {
		c.writes = append(c.writes, write{"120000", path, "", int64(len(target)), strings.NewReader(target)})
	}
}

// Submodule adds a gitlink: the submodule at path stands at a commit. The
// file .gitmodules is left to the caller.
func Submodule(path, sha string) CommitOption {
	return func(c *commit) { c.writes = append(c.writes, write{"160000", path, sha, 0, nil}) }
}

// Stream adds a file of size bytes that are read as they are written, for
// files that are too large for memory.
func Stream(path string, size int64, content io.Reader) CommitOption {
	return func(c *commit) {
		c.packed = true // a pack is sent as it lies; loose objects would be compressed again
		c.writes = append(c.writes, write{"100644", path, "", size, content})
	}
}

// Zeros adds a file of size zero bytes, which takes about a thousandth of
// that on disk and on the wire.
func Zeros(path string, size int64) CommitOption { return Stream(path, size, zeros{}) }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// Commit lays files, by path, over the tree of the branch's tip and moves the
// branch to the new commit, whose id it returns. The branch may be new. Equal
// commits on equal parents have equal ids, in every run.
//
// Paths are those that git accepts; Tree is for those that it does not.
func (r *Repo) Commit(branch string, files map[string]string, options ...CommitOption) string {
	c := &commit{message: "Change policies\n", exec: map[string]bool{}}
	for _, option := range options {
		option(c)
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		content := files[path]
		c.writes = append(c.writes, write{"100644", path, "", int64(len(content)), strings.NewReader(content)})
	}
	r.moving.Lock()
	defer r.moving.Unlock()
	parent := ""
	if c.parent != nil {
		parent = *c.parent
	} else {
		parent = r.Head(branch)
	}
	args := []string{"fast-import", "--quiet", "--force", "--date-format=raw-permissive"}
	if c.packed {
		args = append([]string{"-c", "fastimport.unpackLimit=0"}, args...)
	}
	// The stream is written while git reads it.
	reader, writer := io.Pipe()
	go func() { _ = writer.CloseWithError(c.stream(writer, branch, parent)) }()
	out, err := r.git.run(r.dir, reader, args...)
	_ = reader.Close()
	if err != nil {
		r.git.fatal(fmt.Errorf("commit to %s: %w", r.Identifier, err))
		return ""
	}
	return string(bytes.TrimSpace(out))
}

// stream writes the commit in the format of git fast-import.
func (c *commit) stream(w io.Writer, branch, parent string) error {
	var head strings.Builder
	fmt.Fprintf(&head, "commit refs/heads/%s\nmark :1\n", branch)
	fmt.Fprintf(&head, "committer %s <%s> %s\n", AuthorName, AuthorEmail, gitDate)
	fmt.Fprintf(&head, "data %d\n%s\n", len(c.message), c.message)
	if parent != "" {
		fmt.Fprintf(&head, "from %s\n", parent)
	}
	if c.replace {
		head.WriteString("deleteall\n")
	}
	for _, path := range c.deleted {
		fmt.Fprintf(&head, "D %s\n", quote(path))
	}
	if _, err := io.WriteString(w, head.String()); err != nil {
		return err
	}
	for _, f := range c.writes {
		if f.content == nil {
			if _, err := fmt.Fprintf(w, "M %s %s %s\n", f.mode, f.sha, quote(f.path)); err != nil {
				return err
			}
			continue
		}
		if c.exec[f.path] && f.mode == "100644" {
			f.mode = "100755"
		}
		if _, err := fmt.Fprintf(w, "M %s inline %s\ndata %d\n", f.mode, quote(f.path), f.size); err != nil {
			return err
		}
		if _, err := io.CopyN(w, f.content, f.size); err != nil {
			return fmt.Errorf("read %s: %w", f.path, err)
		}
		if _, err := io.WriteString(w, "\n"); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, "get-mark :1\ndone\n")
	return err
}

// quote writes a path as fast-import reads it, whatever bytes it holds.
func quote(path string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(path) {
		switch c := path[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < 0x20 || c >= 0x7f:
			fmt.Fprintf(&b, "\\%03o", c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// CommitTxtar is Commit with the files of a txtar archive.
func (r *Repo) CommitTxtar(branch, archive string, options ...CommitOption) string {
	files := map[string]string{}
	for _, f := range txtar.Parse([]byte(archive)).Files {
		files[f.Name] = string(f.Data)
	}
	return r.Commit(branch, files, options...)
}

// Reset moves a branch, which may be new, to any commit; this is what a
// forced push does.
func (r *Repo) Reset(branch, commit string) { r.Git("update-ref", "refs/heads/"+branch, commit) }

// DeleteBranch removes a branch.
func (r *Repo) DeleteBranch(branch string) { r.Git("update-ref", "-d", "refs/heads/"+branch) }
