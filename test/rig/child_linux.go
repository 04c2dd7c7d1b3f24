package rig

import "syscall"

// dieWithParent makes a child end with the test process, even if that is killed or times out.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
