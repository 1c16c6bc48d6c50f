package webhook

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxRef is the longest ref in bytes. GitHub's own limit is lower.
const maxRef = 1024

// checkRef admits full refs (refs/…/…) by git's rules
// (https://git-scm.com/docs/git-check-ref-format), and is stricter in three
// ways: the name below refs/heads/ must do as an argument too (no leading
// hyphen, not HEAD), it must be UTF-8, and it may hold no characters that
// deceive who reads it.
func checkRef(ref string) error {
	if len(ref) > maxRef {
		return fmt.Errorf("is longer than %d bytes", maxRef)
	}
	kind, name, ok := strings.Cut(strings.TrimPrefix(ref, "refs/"), "/")
	if !strings.HasPrefix(ref, "refs/") || !ok || kind == "" || name == "" {
		return errors.New("must be a full ref such as refs/heads/main")
	}
	if !utf8.ValidString(ref) {
		return errors.New("must be UTF-8")
	}
	for _, r := range ref {
		switch {
		case r == utf8.RuneError:
			return errors.New("must be UTF-8") // the decoder put it in place of broken bytes
		case unicode.IsControl(r), unicode.In(r, unicode.Zl, unicode.Zp):
			return errors.New("must not contain control characters")
		case unicode.Is(unicode.Bidi_Control, r):
			return errors.New("must not contain bidirectional control characters")
		case strings.ContainsRune(" ~^:?*[\\", r):
			return fmt.Errorf("must not contain %q", r)
		}
	}
	switch {
	case strings.Contains(ref, ".."):
		return errors.New(`must not contain ".."`)
	case strings.Contains(ref, "@{"):
		return errors.New(`must not contain "@{"`)
	case strings.HasSuffix(ref, "."):
		return errors.New("must not end with a dot")
	}
	for part := range strings.SplitSeq(ref, "/") {
		switch {
		case part == "":
			return errors.New("must not contain empty parts")
		case strings.HasPrefix(part, "."):
			return errors.New("must not contain a part that begins with a dot")
		case strings.HasSuffix(part, ".lock"):
			return errors.New(`must not contain a part that ends with ".lock"`)
		}
	}
	if strings.HasPrefix(name, "-") {
		return errors.New("must not name a branch that begins with a hyphen")
	}
	if kind == "heads" && name == "HEAD" {
		return errors.New("must not name a branch HEAD")
	}
	return nil
}
