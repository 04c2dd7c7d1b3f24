package proxies

import "syscall"

// attributes make a proxy end with the test process, also when that one is killed. Not
// by SIGKILL: most proxies would leave their workers behind.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }
