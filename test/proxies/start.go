package proxies

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"headcount/test/rig"
)

const (
	startTime = 30 * time.Second
	stopTime  = 10 * time.Second
)

// Running is a proxy at work.
type Running struct {
	Proxy
	URL string   // where a client finds headcount, through the proxy
	Via *url.URL // what a client is to use as its proxy, nil unless Forward

	t    testing.TB
	dir  string
	logs rig.Buffer
}

// Start runs the proxy in front of the server at origin (HOST:PORT), which must run,
// and waits until it serves. It is stopped when the test ends; if the test has failed,
// what it wrote is shown.
func (p Proxy) Start(t testing.TB, origin string) *Running {
	t.Helper()
	dir, err := os.MkdirTemp("", "proxy-") // a short path: it has sockets
	if err == nil {
		err = os.Chmod(dir, 0o777) // some change to a user of their own
	}
	if err != nil {
		t.Fatalf("make directory: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	addr, second := rig.FreeAddr(t), rig.FreeAddr(t)
	place := strings.NewReplacer("8080", port(origin), "8000", port(addr), "8001", port(second), "/run/proxy", dir)

	r := &Running{Proxy: p, t: t, dir: dir, URL: "http://" + addr}
	switch {
	case p.Forward:
		r.URL, r.Via = "http://"+origin, &url.URL{Scheme: "http", Host: addr}
	case p.TLS:
		r.URL = "https://" + addr
		certify(t, dir)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s wrote:\n%s", p.Name, r.written(dir))
		}
	})
	for _, prog := range p.run(p.File) {
		r.launch(prog, dir, place)
	}
	client := &http.Client{Transport: r.Transport(), Timeout: 2 * time.Second}
	rig.Wait(t, startTime, p.Name+" to serve", func() bool {
		answer, err := client.Get(r.URL + "/healthz")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	client.CloseIdleConnections()
	return r
}

// launch starts one process.
func (r *Running) launch(prog program, dir string, place *strings.Replacer) {
	r.t.Helper()
	for name, file := range prog.files {
		content, err := os.ReadFile(here("testdata", file))
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), []byte(place.Replace(string(content))), 0o644)
		}
		if err != nil {
			r.t.Fatalf("write configuration: %v", err)
		}
	}
	var bin string
	if prog.command == "" {
		bin = buildGoProxy(r.t, dir)
	} else {
		bin = need(r.t, prog.command)
	}
	cmd := exec.Command(bin)
	for _, arg := range prog.args {
		cmd.Args = append(cmd.Args, place.Replace(arg))
	}
	cmd.Env = os.Environ()
	for _, kv := range prog.env {
		cmd.Env = append(cmd.Env, place.Replace(kv))
	}
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = &r.logs, &r.logs
	cmd.SysProcAttr = attributes()
	cmd.WaitDelay = time.Second // its children may hold the pipes
	if err := cmd.Start(); err != nil {
		r.t.Fatalf("start %s: %v", bin, err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(done)
	}()
	r.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(stopTime):
			_ = cmd.Process.Kill()
			<-done
			r.t.Errorf("%s still ran %v after SIGTERM", bin, stopTime)
		}
	})
	if prog.ready != "" {
		what := place.Replace(prog.ready)
		rig.Wait(r.t, startTime, prog.command+" at "+what, func() bool { return answers(what) })
	}
}

// answers says whether somebody listens at a socket, or at an address.
func answers(where string) bool {
	network := "tcp"
	if strings.HasPrefix(where, "/") {
		network = "unix"
	}
	conn, err := net.Dial(network, where)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// Transport is how a client that knows of the proxy gets to it.
func (r *Running) Transport() *http.Transport {
	t := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // certify's own
		ForceAttemptHTTP2: r.TLS,
	}
	if r.Forward {
		t.Proxy = http.ProxyURL(r.Via)
	}
	return t
}

// written is what the processes printed and logged.
func (r *Running) written(dir string) string {
	all := r.logs.String()
	logs, _ := filepath.Glob(filepath.Join(dir, "*log*"))
	for _, name := range logs {
		content, _ := os.ReadFile(name)
		all += fmt.Sprintf("%s:\n%s", filepath.Base(name), content)
	}
	return all
}

// need returns the path of a program, which need not be on everybody's PATH, and fails
// the test, with what to install, when it is missing.
func need(t testing.TB, command string) string {
	t.Helper()
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, command)); err == nil {
			return path
		}
	}
	list, err := os.ReadFile(here("packages.txt"))
	if err != nil {
		t.Fatalf("read packages: %v", err)
	}
	install := "apt-get install"
	for line := range strings.Lines(string(list)) {
		if program, pkg, _ := strings.Cut(strings.TrimSpace(line), " "); program == command {
			install += " " + pkg
		}
	}
	return rig.Need(t, command, install)
}

func buildGoProxy(t testing.TB, dir string) string {
	t.Helper()
	bin := filepath.Join(dir, "goproxy")
	build := exec.Command("go", "build", "-o", bin, "./goproxy")
	build.Dir = here()
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build goproxy: %v\n%s", err, out)
	}
	return bin
}

// here is a path in the directory of this package.
func here(elem ...string) string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(append([]string{filepath.Dir(file)}, elem...)...)
}

func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// certify writes a certificate for 127.0.0.1 that nobody trusts.
func certify(t testing.TB, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: cert},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
