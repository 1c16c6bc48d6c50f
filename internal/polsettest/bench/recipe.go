package main

import (
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/polset/polset/internal/polsettest"
)

// policiesPath is where every repository keeps the policies that are fetched:
// policyFiles of them, and their declaration.
const (
	policiesPath = "policies/prod"
	policyFiles  = 40
)

// A recipe says what a repository is like. The same recipe makes the same
// commit on every machine.
type recipe struct {
	Name     string `json:"name"`
	Files    int    `json:"files"`
	Bytes    int64  `json:"bytes"`    // of all files together, about
	Binaries int    `json:"binaries"` // files of binaryBytes that cannot be compressed
	Commits  int    `json:"commits"`  // small changes of the policies after the first commit
}

// edition names the directory that keeps the repositories: whoever changes
// what a recipe makes changes it too.
const edition = "2"

const binaryBytes = 20_000_000

var (
	small  = recipe{Name: "S", Files: 60, Bytes: 120_000}
	medium = recipe{Name: "M", Files: 10_000, Bytes: 150_000_000, Binaries: 2}
	large  = recipe{Name: "L", Files: 60_000, Bytes: 600_000_000, Binaries: 16}
	pushed = recipe{Name: "pushed", Files: 60, Bytes: 120_000, Commits: 1_100}
)

func (r recipe) describe() string {
	size := fmt.Sprintf("%d MB", r.Bytes/1e6)
	if r.Bytes < 1e6 {
		size = fmt.Sprintf("%d kB", r.Bytes/1e3)
	}
	return fmt.Sprintf("%s files, %s", bytesOf(float64(r.Files)), size)
}

// rootFiles lie at the top of each repository, as they do in real ones.
var rootFiles = map[string]string{
	".gitignore":         ".terraform/\n*.tfstate\n*.tfplan\n",
	"CODEOWNERS":         "* @acme/platform\n/policies/ @acme/security\n",
	"LICENSE":            "Apache License\nVersion 2.0, January 2004\n",
	"Makefile":           "plan:\n\tterraform plan -out=tfplan\n",
	"README.md":          "# Infrastructure\n\nModules, and the policies that guard them.\n",
	"policies/README.md": "# Policies\n\nOne directory for each environment.\n",
}

// content is everything of the first commit.
func (r recipe) content() (files map[string]string, streams []polsettest.CommitOption) {
	files = policies()
	for name, text := range rootFiles {
		files[name] = text
	}
	for i := range r.Binaries {
		streams = append(streams, polsettest.Stream(
			fmt.Sprintf("assets/images/base-%02d.img", i), binaryBytes, random("binary", i)))
	}
	texts := r.Files - len(files) - r.Binaries
	size := (r.Bytes - int64(r.Binaries)*binaryBytes) / int64(texts)
	for i := range texts {
		module, file := i/filesInModule, i%filesInModule
		streams = append(streams, polsettest.Stream(
			fmt.Sprintf("modules/team-%03d/module-%04d/part-%02d.tf", module/modulesOfTeam, module, file), size,
			&lazily{make: func() []byte { return moduleText(module, file, int(size)) }}))
	}
	return files, streams
}

const (
	filesInModule = 20
	modulesOfTeam = 40
)

// random is an endless source that is the same every time.
func random(kind string, n int) *rand.ChaCha8 {
	var seed [32]byte
	copy(seed[:], fmt.Sprintf("%s %d", kind, n))
	return rand.NewChaCha8(seed)
}

// moduleText is a file of exactly size bytes. The files of one module are
// alike, as they are in real repositories, and so can be packed well.
func moduleText(module, file, size int) []byte {
	const ownLine = 12 // every twelfth line is the file's own
	shared, own := rand.New(random("module", module)), rand.New(random("file", module*filesInModule+file))
	text := fmt.Appendf(make([]byte, 0, size+128), "# module %d, part %d\n", module, file)
	for line := 0; len(text) < size; line++ {
		value := shared.Uint64()
		if line%ownLine == 0 {
			value = own.Uint64()
		}
		text = fmt.Appendf(text, "  setting_%03d = { enabled = true, value = \"%016x\" }\n", line, value)
	}
	text[size-1] = '\n'
	return text[:size]
}

// lazily makes its content at the first read and lets go of it after the last,
// so that a repository never lies in memory.
type lazily struct {
	make func() []byte
	left []byte
	done bool
}

func (l *lazily) Read(p []byte) (int, error) {
	if !l.done {
		l.left, l.done = l.make(), true
	}
	if len(l.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, l.left)
	if l.left = l.left[n:]; len(l.left) == 0 {
		l.left = nil
	}
	return n, nil
}
