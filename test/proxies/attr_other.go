//go:build !linux

package proxies

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }
