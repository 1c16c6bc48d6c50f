package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"strings"
	"sync"
)

// A certificate is read from files, and again when they change, so that a
// renewal needs no restart.
type certificate struct {
	certFile, keyFile string

	mu     sync.Mutex
	loaded *tls.Certificate
	state  string // of the files when they were loaded
}

// tlsConfig returns the server's configuration, or nil without certificate.
func tlsConfig(certFile, keyFile string) (*tls.Config, error) {
	if certFile == "" {
		return nil, nil
	}
	c := &certificate{certFile: certFile, keyFile: keyFile}
	if _, err := c.get(nil); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}, nil
}

// get serves the last good pair while new files are incomplete.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	state, err := stateOf(c.certFile, c.keyFile)
	if err == nil && c.loaded != nil && state == c.state {
		return c.loaded, nil
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(c.certFile, c.keyFile)
	}
	if err != nil {
		if c.loaded != nil {
			return c.loaded, nil
		}
		return nil, fmt.Errorf("read POLSET_TLS_CERT and POLSET_TLS_KEY: %w", err)
	}
	c.loaded, c.state = &pair, state
	return c.loaded, nil
}

// stateOf changes when one of the files does, also to an older one: what a
// renewal brings may have been made before what it replaces.
func stateOf(files ...string) (string, error) {
	var state strings.Builder
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&state, "%d %d\n", info.ModTime().UnixNano(), info.Size())
	}
	return state.String(), nil
}
