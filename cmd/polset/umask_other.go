//go:build !unix

package main

// keepPrivate has nothing to do where access is inherited from the directory.
func keepPrivate() {}
