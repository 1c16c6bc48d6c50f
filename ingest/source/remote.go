package source

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/polset/polset"
)

const publicGitHub = "https://github.com"

// A remote is one repository's address, and who may ask there.
type remote struct {
	url        *url.URL // as dialed, without .git's services and without a trailing slash
	shown      string   // as people know it, without credentials
	credential *credential
	// owner, if it is not empty, is the only one whose repositories may see
	// the token: a submodule's redirect must not carry it elsewhere.
	owner string
	base  string // the path in front of the owner, "" or "/git"
}

var segment = regexp.MustCompile(`^[A-Za-z0-9_.~-]+$`)

func validSegment(s string) bool {
	return segment.MatchString(s) && s != "." && s != ".."
}

// remote finds the repository of a remote.
func (g *Git) remote(r polset.Remote) (*remote, error) {
	owner, name, ok := strings.Cut(r.Identifier, "/")
	if !ok || !validSegment(owner) || !validSegment(name) || strings.Contains(name, "~") || strings.Contains(owner, "~") {
		return nil, polset.Fail(polset.ClassURLForbidden,
			"The repository identifier %s is not of the form owner/name.", quote(r.Identifier))
	}
	written, err := parseBase(r.HTTPURL)
	if err != nil {
		return nil, polset.Fail(polset.ClassURLForbidden,
			"polset does not dial %s: %v.", quote(redact(r.HTTPURL)), err)
	}
	base, ok := g.dial(written)
	if !ok {
		return nil, polset.Fail(polset.ClassURLForbidden,
			"polset does not dial %s, because only the operator's own POLSET_GITHUB_URL may be plain http; use https.", quote(redact(r.HTTPURL)))
	}
	prefix := base.Path
	base.Path += "/" + owner + "/" + name + ".git"
	written.Path += "/" + owner + "/" + name
	credential, err := g.credential(r, written.String())
	if err != nil {
		return nil, err
	}
	return &remote{url: base, shown: written.String(), credential: credential, base: prefix}, nil
}

// dial says where a URL is really dialed: the operator's GitHub in the place
// of https://github.com. It reports whether the URL's scheme is allowed there.
func (g *Git) dial(u *url.URL) (*url.URL, bool) {
	dialed := *u
	if originOf(u) == publicGitHub {
		dialed = *g.github
		dialed.Path = g.github.Path + u.Path
		dialed.RawPath = ""
	}
	return &dialed, dialed.Scheme == "https" || originOf(&dialed) == originOf(g.github)
}

// parseBase parses the address of a git host.
func parseBase(raw string) (*url.URL, error) {
	u, err := parseURL(raw)
	if err != nil {
		return nil, err
	}
	for _, s := range strings.Split(strings.Trim(u.Path, "/"), "/") {
		if s != "" && !validSegment(s) {
			return nil, errors.New("its path holds more than letters, digits, hyphens, dots and underscores")
		}
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

// parseURL parses an absolute http or https URL that names a host and a path
// and nothing else. Its errors complete the sentence "polset does not dial it:
// …" and never quote credentials.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("it is not a URL")
	}
	u.Scheme = strings.ToLower(u.Scheme)
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("only https URLs are allowed")
	case u.User != nil:
		return nil, errors.New("a URL must not hold a user name or password")
	case u.Opaque != "" || u.Hostname() == "":
		return nil, errors.New("it names no host")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(raw, "#"):
		return nil, errors.New("a URL must not hold a query or a fragment")
	case strings.HasSuffix(u.Hostname(), "."):
		return nil, errors.New("its host name ends with a dot")
	case oddNumber(u.Hostname()):
		return nil, errors.New("its host is a number that is not an address in the usual form")
	}
	if p := u.Port(); p != "" || strings.HasSuffix(u.Host, ":") {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return nil, errors.New("its port is not a number from 1 to 65535")
		}
	}
	return u, nil
}

// oddNumber reports whether a resolver may take host for an IPv4 address that
// is not written as four decimal numbers: 0x7f000001, 127.1, 017700000001.
func oddNumber(host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return false
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	if last == "" {
		return false
	}
	_, err := strconv.ParseUint(last, 0, 64)
	return err == nil || strings.Trim(last, "0123456789") == ""
}

// originOf returns scheme, host and port in a form that can be compared.
func originOf(u *url.URL) string {
	scheme, host, port := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.Port()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port == "" || scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		return scheme + "://" + host
	}
	return scheme + "://" + host + ":" + port
}

// identifierOf returns owner/name as it is written after base, "" where the
// path is of another form.
func identifierOf(u *url.URL, base string) string {
	path, ok := strings.CutPrefix(strings.TrimSuffix(u.Path, ".git"), base+"/")
	if owner, name, two := strings.Cut(path, "/"); !ok || !two || owner == "" || name == "" || strings.Contains(name, "/") {
		return ""
	}
	return path
}

// ownerOf returns the first segment of the path after base, in lower case.
func ownerOf(u *url.URL, base string) string {
	path, ok := strings.CutPrefix(u.Path, base+"/")
	if !ok {
		return ""
	}
	owner, _, _ := strings.Cut(path, "/")
	return strings.ToLower(owner)
}

// quote returns s for a sentence: as it is if it is plain, otherwise in quotes
// with whatever is not printable escaped. It never returns more than 256 bytes.
func quote(s string) string {
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "…"
	}
	if q := strconv.QuoteToGraphic(s); q != `"`+s+`"` || s == "" || strings.Contains(s, " ") {
		if len(q) > 256 {
			return strings.ToValidUTF8(q[:250], "") + `…"`
		}
		return q
	}
	return s
}

// redact removes what may be a credential from a URL of any form.
func redact(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		// scp's form: user:password@host:path is no valid one, but people try.
		if at := strings.LastIndexByte(raw, '@'); at >= 0 && strings.Contains(raw[:at], ":") {
			return raw[at+1:]
		}
		return raw
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority, path := rest[:end], rest[end:]
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		authority = authority[at+1:]
	}
	path, _, _ = strings.Cut(path, "?") // a query may hold a token
	return fmt.Sprintf("%s://%s%s", scheme, authority, path)
}
