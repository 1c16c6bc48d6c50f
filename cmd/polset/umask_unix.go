//go:build unix

package main

import "syscall"

// keepPrivate makes every file that polset creates its user's alone: the
// database and the archives are nobody else's business.
func keepPrivate() { syscall.Umask(0o077) }
