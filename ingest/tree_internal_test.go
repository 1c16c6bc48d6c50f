package ingest

import (
	"testing"

	"github.com/polset/polset/archive"
)

// The id is git's own: git init --object-format=sha256, git add, git write-tree.
func TestTreeID(t *testing.T) {
	root := &archive.Node{Mode: archive.ModeDirectory}
	for name, text := range map[string]string{"policies.hcl": "# x\n", "b-1.rego": "", "a.rego": "package a\n"} {
		root.Place(name, &archive.Node{Mode: archive.ModeFile, Data: []byte(text)})
	}
	if got, want := treeID(root), "3d37c1ca3aadc0ac4178646800763d8b801678d3ea160a5e60488523c0afd6db"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
