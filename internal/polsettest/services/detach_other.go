//go:build !linux

package main

import "syscall"

// detach does nothing: only Linux tells a child of its parent's death.
func detach(*syscall.SysProcAttr, syscall.Signal) {}
