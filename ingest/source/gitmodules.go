package source

import (
	"bytes"
	"fmt"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/config"

	"github.com/polset/polset"
)

// maxGitmodules is how large the file .gitmodules may be.
const maxGitmodules = 64 << 10

// A module is one entry of a .gitmodules file.
type module struct {
	path   string // where the submodule lies, below its project's root
	url    string // as written
	branch string
}

// parseGitmodules reads a .gitmodules file into its entries by path. Names and
// paths are judged as git does it, those that are not used as well: git would
// not use the file either.
func parseGitmodules(data []byte) (modules map[string]module, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			modules, err = nil, invalidGitmodules("it cannot be parsed", fmt.Errorf("panic: %v", fault))
		}
	}()
	c := config.New()
	if err := config.NewDecoder(bytes.NewReader(data)).Decode(c); err != nil {
		return nil, invalidGitmodules("it cannot be parsed", err)
	}
	modules = map[string]module{}
	for _, section := range c.Sections {
		if !strings.EqualFold(section.Name, "submodule") {
			continue
		}
		for _, sub := range section.Subsections {
			m := module{}
			for _, o := range sub.Options {
				switch strings.ToLower(o.Key) {
				case "path":
					m.path = o.Value
				case "url":
					m.url = o.Value
				case "branch":
					m.branch = o.Value
				}
			}
			if m.path == "" {
				continue // git ignores it as well
			}
			switch {
			case !validModuleName(sub.Name):
				return nil, invalidGitmodules("the submodule name "+quote(sub.Name)+" is not allowed", nil)
			case !validModulePath(m.path):
				return nil, invalidGitmodules("the submodule path "+quote(m.path)+" is not allowed", nil)
			}
			m.path = strings.TrimSuffix(m.path, "/")
			if _, twice := modules[m.path]; twice {
				return nil, invalidGitmodules("two submodules have the path "+quote(m.path), nil)
			}
			modules[m.path] = m
		}
	}
	return modules, nil
}

func invalidGitmodules(why string, err error) error {
	f := polset.Fail(polset.ClassContentInvalid, "The file .gitmodules is refused: %s; correct it.", why)
	f.Err = err
	return f
}

// validModuleName is git's check_submodule_name: a name becomes a directory
// below .git/modules.
func validModuleName(name string) bool {
	if name == "" || strings.HasPrefix(name, "-") || hasControl(name) {
		return false
	}
	for _, part := range strings.FieldsFunc(name, func(c rune) bool { return c == '/' || c == '\\' }) {
		if part == ".." {
			return false
		}
	}
	return true
}

func validModulePath(p string) bool {
	trimmed := strings.TrimSuffix(p, "/")
	return trimmed != "" && trimmed == path.Clean(trimmed) && !strings.HasPrefix(p, "-") && !path.IsAbs(p) &&
		trimmed != "." && trimmed != ".." && !strings.HasPrefix(p, "../") && !strings.Contains(p, `\`) && !hasControl(p)
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 || c == 0x7f })
}
