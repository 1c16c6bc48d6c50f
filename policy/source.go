package policy

import (
	"errors"
	"path"
	"strings"
	"unicode"
)

// A source is a local file that the configuration names.
type source struct {
	path   string // from the root of the repository, clean
	what   string // policy "x"
	at     position
	binary bool   // a plugin, which is no text
	policy string // whose alone it is; "" where every policy may use it
}

// resolve returns where in the repository the source lies that a
// configuration in dir names, or "" where it is remote.
//
// Local sources begin with ./ or ../, says HCP Terraform's documentation
// (https://developer.hashicorp.com/terraform/cloud-docs/policy-enforcement/manage-policy-sets/sentinel-vcs);
// the Sentinel runtime takes a bare x.sentinel too. Remote ones are URLs in
// the forms of https://developer.hashicorp.com/sentinel/docs/configuration/remote-sources,
// with or without their scheme.
func resolve(dir, src string) (string, error) {
	switch {
	case src == "":
		return "", errors.New("is empty")
	case strings.ContainsFunc(src, func(r rune) bool { return r == '\\' || unicode.IsControl(r) || r == unicode.ReplacementChar }):
		return "", errors.New("contains a character that no source may hold; separate directories with /")
	}
	if scheme, ok := scheme(src); ok {
		if strings.EqualFold(scheme, "file") {
			return "", errors.New("names a file of the machine that runs the policy; write the path from the configuration file, such as ./x.sentinel")
		}
		return "", nil
	}
	switch {
	case path.IsAbs(src), strings.HasPrefix(src, "~"):
		return "", errors.New("is an absolute path; write the path from the configuration file, such as ./x.sentinel")
	case bareHost(src):
		return "", nil
	}
	name := path.Join(dir, src)
	switch {
	case name == ".." || strings.HasPrefix(name, "../"):
		return "", errors.New("climbs out of the repository")
	case name == "." || strings.HasSuffix(src, "/") || path.Base(src) == ".." || path.Base(src) == ".":
		return "", errors.New("names a directory; name a file")
	}
	return name, nil
}

// scheme returns the scheme of a URL (https://…), a forced protocol
// (git::…) or the ssh of git@host:path.
func scheme(src string) (string, bool) {
	if i := strings.IndexByte(src, ':'); i > 0 {
		head, rest := src[:i], src[i:]
		switch {
		case strings.HasPrefix(rest, "::"), strings.HasPrefix(rest, "://"):
			return head, !strings.Contains(head, "/")
		case strings.Contains(head, "@"):
			return "ssh", !strings.Contains(head, "/")
		}
	}
	return "", false
}

// bareHost reports whether src is a URL that lacks its scheme, such as
// raw.githubusercontent.com/…: its first part ends like a host's name.
func bareHost(src string) bool {
	host, rest, ok := strings.Cut(src, "/")
	if !ok || rest == "" || strings.HasPrefix(host, ".") {
		return false
	}
	i := strings.LastIndexByte(host, '.')
	if i < 0 || len(host)-i-1 < 2 {
		return false
	}
	return !strings.ContainsFunc(host[i+1:], func(r rune) bool { return !unicode.IsLetter(r) })
}
