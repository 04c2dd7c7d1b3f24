package rig

import "syscall"

// dieWithParent makes a child end with the test process, also when that one is killed or times out.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
