package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A library is what the demo's repositories begin with, by path.
type library struct {
	policies map[string]string // acme/policies, without its submodule
	helpers  map[string]string // acme/policy-lib, the submodule
	// What the pushed commit brings.
	newPolicy      string
	newDeclaration string
}

// readLibrary reads testdata/demo.
func readLibrary(dir string) (*library, error) {
	l := &library{}
	var err error
	if l.policies, err = readTree(filepath.Join(dir, "policies")); err != nil {
		return nil, err
	}
	if l.helpers, err = readTree(filepath.Join(dir, "policy-lib")); err != nil {
		return nil, err
	}
	change, err := readTree(filepath.Join(dir, "change"))
	if err != nil {
		return nil, err
	}
	l.newPolicy, l.newDeclaration = change["elasticache_encryption.rego"], change["policies.hcl"]
	if l.newPolicy == "" || l.newDeclaration == "" {
		return nil, fmt.Errorf("read the policies: %s lacks the change to push", dir)
	}
	return l, nil
}

func readTree(dir string) (map[string]string, error) {
	files := map[string]string{}
	tree := os.DirFS(dir)
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(tree, name)
		files[name] = string(content)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the policies: %w", err)
	}
	return files, nil
}

// declared counts the policies that the set declares.
func (l *library) declared() int {
	return strings.Count("\n"+l.policies[policiesPath+"/policies.hcl"], "\npolicy \"")
}
