package main

import "syscall"

// detach makes a child end even when this program is killed.
func detach(attr *syscall.SysProcAttr, with syscall.Signal) { attr.Pdeathsig = with }
