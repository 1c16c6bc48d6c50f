package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/polset/polset"
)

// The configuration files
// (https://developer.hashicorp.com/terraform/cloud-docs/policy-enforcement/manage-policy-sets).
const (
	opaConfigHCL   = "policies.hcl"
	opaConfigJSON  = "policies.json"
	sentinelConfig = "sentinel.hcl"
)

// Read parses the configuration of the policy set that lies at dir in fsys,
// which is rooted at the repository ("" and "." are its root). It opens the
// configuration file only.
//
// Where the content is at fault, the error is a *polset.Failure of class
// policy-invalid, no-policies, lfs-unsupported or limit, whose cause is an
// *Invalid (except where there is no configuration file at all). Any other
// error is one of reading fsys, or of an unknown kind.
func (l Limits) Read(fsys fs.FS, dir string, kind polset.Kind) (*Set, error) {
	l = l.withDefaults()
	dir = cleanDir(dir)
	var names []string
	switch kind {
	case polset.KindOPA:
		names = []string{opaConfigHCL, opaConfigJSON}
	case polset.KindSentinel:
		names = []string{sentinelConfig}
	default:
		return nil, fmt.Errorf("read policy set: unknown kind %q", kind)
	}

	file, src, err := l.config(fsys, dir, names)
	if err != nil {
		return nil, err
	}
	s := &Set{Kind: kind, Dir: dir, Config: file, limits: l}
	var p problems
	err = guard(file, func() error {
		if kind == polset.KindOPA {
			return s.decodeOPA(src, &p)
		}
		return s.decodeSentinel(src, &p)
	})
	if err != nil {
		return nil, err
	}
	if err := p.failure(); err != nil {
		return nil, err
	}
	if len(s.Policies) == 0 {
		return nil, failAt(polset.ClassNoPolicies, file, wholeFile, "this file declares no policy; add a policy block")
	}
	return s, nil
}

// config finds the one configuration file among names and reads it.
func (l Limits) config(fsys fs.FS, dir string, names []string) (file string, src []byte, err error) {
	var target string
	for _, name := range names {
		name = path.Join(dir, name)
		at, info, err := lookup(fsys, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, errEscapes), errors.Is(err, errLoop):
			return "", nil, failAt(polset.ClassPolicyInvalid, name, wholeFile, "this file %v", err)
		case err != nil:
			return "", nil, fmt.Errorf("look for %s: %w", name, err)
		case !info.Mode().IsRegular():
			return "", nil, failAt(polset.ClassPolicyInvalid, name, wholeFile, "this is not a regular file")
		case file != "":
			return "", nil, failAt(polset.ClassPolicyInvalid, name, wholeFile,
				"there is a %s beside this file, and only one of them can be the configuration; remove the other", path.Base(file))
		}
		file, target = name, at
	}
	if file == "" {
		return "", nil, polset.Fail(polset.ClassNoPolicies, "There is no %s in %s.%s",
			strings.Join(names, " or "), oneLine(inDir(dir)), otherKind(fsys, dir, names))
	}
	src, err = read(fsys, target, file, "a configuration file", l.ConfigBytes)
	return file, src, err
}

// otherKind is the hint for a set whose kind is not that of its files.
func otherKind(fsys fs.FS, dir string, names []string) string {
	other, kind := opaConfigHCL, polset.KindOPA
	if names[0] == opaConfigHCL {
		other, kind = sentinelConfig, polset.KindSentinel
	}
	if _, _, err := lookup(fsys, path.Join(dir, other)); err != nil {
		if dir == "" { // which is where an upload has it
			return " Add one there, or, where the policies lie elsewhere in a repository, set policies-path."
		}
		return " Add one, or correct policies-path."
	}
	return fmt.Sprintf(" There is a %s, though: is the kind of this policy set %s?", other, kind)
}
