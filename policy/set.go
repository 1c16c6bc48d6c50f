package policy

import (
	"path"
	"slices"
	"strings"

	"github.com/polset/polset"
)

// A Set is a policy set as its configuration declares it. It holds nothing of
// the file system that it was read from and is not changed after Read.
type Set struct {
	Kind     polset.Kind
	Dir      string   // where the set lies in the repository, clean; "" at its root
	Config   string   // the configuration file, from the root of the repository
	Policies []Policy // in the order of their declaration, at least one
	Modules  []Module // what Sentinel policies may import; nil for OPA

	limits  Limits
	sources []source // the local files that the configuration names
	shared  []sum    // of the blocks of a Sentinel configuration that every policy runs with, sorted
}

// A Policy is one policy block.
type Policy struct {
	Name string
	// Query is the Rego query whose result decides; "" for Sentinel.
	Query string
	// Source is where a Sentinel policy lies, as it is written, or
	// ./NAME.sentinel where the configuration leaves it out; "" for OPA.
	Source string
	// EnforcementLevel is advisory or mandatory for OPA, and advisory,
	// soft-mandatory or hard-mandatory for Sentinel.
	EnforcementLevel string
	Description      string

	at     position // of the query, or of the source
	line   int      // of the block
	params string   // of a Sentinel policy, as written
}

// A Module is an import that a Sentinel configuration offers to its policies.
type Module struct {
	Name   string
	Kind   string // module, static or plugin
	Source string // as written; "" for a plugin that needs none
}

// position is a place in the set's configuration file; lines and columns
// count from 1.
type position struct{ line, column int }

// Summaries returns what the configuration alone says of the policies, in the
// order of their declaration: without Digest, which Inspect adds.
func (s *Set) Summaries() []polset.PolicySummary {
	summaries := make([]polset.PolicySummary, len(s.Policies))
	for i, p := range s.Policies {
		summaries[i] = polset.PolicySummary{
			Name:             p.Name,
			Query:            p.Query,
			EnforcementLevel: p.EnforcementLevel,
			Description:      p.Description,
			File:             s.Config,
			Line:             p.line,
		}
	}
	return summaries
}

// Outside returns the files that the configuration names by local sources
// outside Dir, but inside the repository: slash-separated paths from the root
// of the repository, clean, sorted, each once. They may not exist.
func (s *Set) Outside() []string {
	var outside []string
	for _, src := range s.sources {
		if !within(s.Dir, src.path) {
			outside = append(outside, src.path)
		}
	}
	slices.Sort(outside)
	return slices.Compact(outside)
}

// within reports whether the clean path name lies in dir.
func within(dir, name string) bool {
	return dir == "" || strings.HasPrefix(name, dir+"/")
}

// below returns how name, which lies in the set's directory, goes on there.
func (s *Set) below(name string) string { return strings.TrimPrefix(name, s.Dir+"/") }

// cleanDir returns dir in the form of Set.Dir.
func cleanDir(dir string) string {
	return strings.TrimPrefix(path.Clean("/"+dir), "/")
}

// inDir says where in the repository, or in the upload, dir is, for people.
func inDir(dir string) string {
	if dir == "" {
		return "the root directory"
	}
	return dir
}
