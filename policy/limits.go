package policy

import (
	"fmt"
	"io/fs"

	"github.com/polset/polset"
)

// Limits bounds what a policy set may cost. A zero field means its default.
// Whatever exceeds a limit fails with polset.ClassLimit.
type Limits struct {
	// ConfigBytes is the largest configuration file. The default is 1 MiB.
	ConfigBytes int64
	// FileBytes is the largest policy or module. The default is 10 MiB.
	FileBytes int64
	// RegoBytes is the size of all .rego files of a set together, which
	// decides how much memory and time their compilation takes: about 180
	// times their size, and a second or two for each MiB. The default is 4 MiB.
	RegoBytes int64
	// DataBytes is the size of all data files of a set together, with what YAML
	// aliases in them stand for. In memory they take up to 50 times that. The
	// default is 10 MiB.
	DataBytes int64
}

const (
	defaultConfigBytes = 1 << 20
	defaultFileBytes   = 10 << 20
	defaultRegoBytes   = 4 << 20
	defaultDataBytes   = 10 << 20

	// maxConfigNesting is how deep a configuration may nest. HCL's parser
	// recurses without a bound of its own, and Go cannot recover from a stack
	// that overflows.
	maxConfigNesting = 1000
	// maxConfigOperators is how many operators a configuration may hold
	// outside strings: HCL's parser recurses for each of a chain.
	maxConfigOperators = 10_000
	// What follows bounds what OPA's compiler takes more than linear time for.
	// It cannot be interrupted within a stage, so these keep a stage to
	// minutes where it would otherwise take hours; policies that people write
	// are far from them. The times are of OPA 1.22.

	// maxRegoNesting is how deep a Rego expression may nest, brackets and
	// chained operators together (1,000 nested every blocks: 12 s). OPA's own
	// bound, 100,000, is on its parser only; its compiler may overflow the stack.
	maxRegoNesting = 200
	// maxRegoElse is how many else branches a file may hold, each of which
	// OPA nests inside the one before (10,000: 7 s).
	maxRegoElse = 1000
	// maxRegoBody is how many expressions a body may hold (2,000: 0.6 s).
	maxRegoBody = 1000
	// maxRegoTemplates is how many expressions the template strings of a file
	// may hold (4,000 in one rule: 13 s).
	maxRegoTemplates = 1000
	// maxRegoRules is how many rules a set may hold (4,000, each of which
	// depends on the next: 7 s).
	maxRegoRules = 10_000
	// maxRegoFiles is how many .rego files a set may hold (4,000 in one
	// package: 7 s).
	maxRegoFiles = 2000
	// maxRegoPath is how many parts the path of a package or an import may
	// have, and maxRegoPathBytes how long they may be together. OPA holds all
	// parts for each reference (90 parts, 100,000 references: 470 MiB), and
	// quotes them in each error (1,500 errors over 1 MiB: 2.2 GiB).
	maxRegoPath      = 32
	maxRegoPathBytes = 2048

	// maxDataFiles is how many data files a set may hold; each takes a bit in
	// what is known of every other file.
	maxDataFiles = 2000
	// maxPath is how long the path of a .rego or data file may be, in bytes,
	// from the set's directory on: what systems can unpack.
	maxPath = 4095
)

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		value *int64
		def   int64
	}{
		{&l.ConfigBytes, defaultConfigBytes},
		{&l.FileBytes, defaultFileBytes},
		{&l.RegoBytes, defaultRegoBytes},
		{&l.DataBytes, defaultDataBytes},
	} {
		if *f.value <= 0 {
			*f.value = f.def
		}
	}
	return l
}

// Read is Limits{}.Read: it reads a configuration under the default limits.
func Read(fsys fs.FS, dir string, kind polset.Kind) (*Set, error) {
	return Limits{}.Read(fsys, dir, kind)
}

// tooLarge is the failure of a file of more than limit bytes.
func tooLarge(file, what string, limit int64) error {
	return failAt(polset.ClassLimit, file, wholeFile,
		"this file is larger than %s, the limit for %s; make it smaller or split it", size(limit), what)
}

// size writes n for people.
func size(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	default:
		return fmt.Sprintf("%d bytes", n)
	}
}
