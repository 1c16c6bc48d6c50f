package archive

import (
	"strings"
	"unicode/utf8"

	"github.com/polset/polset"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// maxName is how many bytes a name may have: NAME_MAX of every file system in
// use.
const maxName = 255

// CheckName judges one path component, as it is found in a git tree or in an
// archive. It refuses, with a *polset.Failure of class content-invalid that
// quotes the name, whatever could leave its directory, pass for a repository's
// .git directory, or be unpacked as another name on Linux, macOS or Windows.
//
// Windows' device names (aux.rego, con.rego) are accepted, and so is a colon
// that does not form a drive (C:x) or a stream of .git: both are ordinary in
// repositories that never meet Windows, and neither leads out of the archive.
func CheckName(name string) error {
	return checkPath(name, name)
}

// checkPath judges name, the last component of path, and fails in the name of
// path.
func checkPath(path, name string) error {
	fault := nameFault(name)
	if fault == "" {
		return nil
	}
	return polset.Fail(polset.ClassContentInvalid, "The name %s is refused: %s. Rename or remove it.", quote(path), fault)
}

// nameFault says what is wrong with a path component, "" if nothing is.
func nameFault(name string) string {
	switch {
	case name == "":
		return "it is empty"
	case len(name) > maxName:
		return "it has more than 255 bytes"
	case !utf8.ValidString(name):
		return "it is not valid UTF-8"
	}
	for _, r := range name {
		switch {
		case r < 0x20, r >= 0x7f && r <= 0x9f:
			return "it holds a control character"
		case r == '/':
			return "it holds a slash"
		case r == '\\':
			return "it holds a backslash, which Windows reads as a slash"
		}
	}
	if len(name) >= 2 && name[1] == ':' && isLetter(name[0]) {
		return "it begins with a drive letter and a colon, which Windows reads as another place"
	}
	switch bare := strings.ToLower(dropIgnorable(name)); {
	case strings.Trim(bare, ". ") == "":
		return "it holds only dots and spaces, which file systems read as this or the parent directory"
	case isDotGit(bare):
		return "file systems read it as .git, which would be a repository of its own"
	}
	return ""
}

// isDotGit reports whether NTFS would open .git by this lower-case name: as
// itself, by its 8.3 name git~1, with trailing dots and spaces, or through one
// of its streams. The rule is is_ntfs_dotgit of git's path.c.
func isDotGit(name string) bool {
	rest, ok := strings.CutPrefix(name, ".git")
	if !ok {
		rest, ok = strings.CutPrefix(name, "git~1")
	}
	if !ok {
		return false
	}
	rest = strings.TrimLeft(rest, ". ")
	return rest == "" || rest[0] == ':'
}

// dropIgnorable removes the code points that HFS+ ignores when it compares
// names. The list is that of next_hfs_char in git's utf8.c.
func dropIgnorable(name string) string {
	if isASCII(name) {
		return name
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 0x200c && r <= 0x200f, // joiners and direction marks
			r >= 0x202a && r <= 0x202e, // embeddings and overrides
			r >= 0x206a && r <= 0x206f, // deprecated format characters
			r == 0xfeff:                // byte order mark
			return -1
		}
		return r
	}, name)
}

// fold maps names that some file system takes for the same to the same string:
// without regard to case, to Unicode's composed and decomposed forms, and to
// what HFS+ ignores. It is the canonical caseless match of Unicode (D145).
func fold(name string) string {
	if isASCII(name) {
		return strings.ToLower(name)
	}
	return norm.NFD.String(cases.Fold().String(norm.NFD.String(dropIgnorable(name))))
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
