package docs

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"headcount/test/rig"
)

// Every block of the documents is run as it stands, by what it says it is:
//
//	console   commands behind "$ ", each with the lines that it prints; numbers and ids may be others
//	sh        commands that end well
//	text      nothing to run, such as a log line
//	LANG FILE a file of a recipe or of a program, which the tests named in ownTests build and run
//
// What stands below a line <!-- not run: REASON --> is not run. Each section has a network of its own, in which a
// server with the token "secret" runs at localhost:8080, unless the section starts one. What a section has set or
// started stays until its end. Each document has a copy of the repository.
func TestCommands(t *testing.T) {
	for _, file := range documents(t) {
		t.Run(strings.ReplaceAll(file, "/", "∕"), func(t *testing.T) {
			var section []block
			repository := copyRepository(t)
			for _, b := range readBlocks(t, file) {
				if len(section) > 0 && section[0].section != b.section {
					runSection(t, repository, file, section)
					section = nil
				}
				switch {
				case b.problem != "":
					t.Errorf("%s:%d: %s\n%s", file, b.line, b.problem, b.text)
				case (b.kind == "console" || b.kind == "sh") && b.reason == "":
					section = append(section, b)
				}
			}
			runSection(t, repository, file, section)
		})
	}
}

// ownTests are documents whose blocks are read by other tests.
var ownTests = map[string]string{
	"README.md":         "TestPageOfReadme",
	"docs/recipes.md":   "test/recipes",
	"docs/embedding.md": "TestEmbedding",
	"docs/proxies.md":   "test/proxies",
}

// documents returns the documents, by their paths in the repository.
func documents(t *testing.T) []string {
	t.Helper()
	files := strings.Fields(run(t, rig.Root(), "git", "ls-files", "*.md", ":!CHANGELOG.md", ":!docs/decisions", ":!docs/benchmarks", ":!test"))
	if !slices.Contains(files, "README.md") {
		t.Fatalf("found the documents %v, and no README.md", files)
	}
	return files
}

// block is a piece of code in a document.
type block struct {
	kind, file string
	text       string
	line       int
	section    int    // the line of its heading
	reason     string // why it is not run
	problem    string // what is wrong with it
}

var (
	notRun  = regexp.MustCompile(`^<!-- not run: (.+) -->$`)
	command = regexp.MustCompile(`(?m)^\s*(\$ |(curl|go run|go test|task|npm|docker) )`)
)

// readBlocks returns the blocks of a document.
func readBlocks(t *testing.T, file string) (blocks []block) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(rig.Root(), file))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	section := 0
	for i := 0; i < len(lines); i++ {
		b := block{line: i + 1, section: section}
		switch {
		case strings.HasPrefix(lines[i], "```"):
			b.kind, b.file, _ = strings.Cut(strings.TrimPrefix(lines[i], "```"), " ")
			first := i + 1
			for i++; i < len(lines) && lines[i] != "```"; i++ {
			}
			b.text = strings.Join(lines[first:min(i, len(lines))], "\n")
		case strings.HasPrefix(lines[i], "    ") && (i == 0 || lines[i-1] == ""):
			first := i
			for ; i < len(lines) && (lines[i] == "" || strings.HasPrefix(lines[i], "    ")); i++ {
			}
			b.kind, b.text = "indented", strings.Join(lines[first:i], "\n")
			i--
		default:
			if strings.HasPrefix(lines[i], "##") {
				section = i + 1
			}
			continue
		}
		for above := b.line - 2; above >= 0 && above >= b.line-3; above-- {
			if found := notRun.FindStringSubmatch(lines[above]); found != nil {
				b.reason = found[1]
			}
		}
		b.problem = problem(file, b)
		blocks = append(blocks, b)
	}
	return blocks
}

// problem returns why nobody would run a block that should be run, "" if all is well.
func problem(file string, b block) string {
	switch {
	case b.reason != "", b.kind == "console", b.kind == "sh":
		return ""
	case b.file != "" && ownTests[file] != "", file == "docs/proxies.md" && b.kind != "indented":
		return ""
	case b.kind == "text" || b.kind == "indented":
		if command.MatchString(b.text) {
			return "commands are in a block that is not run; begin it with ```console or ```sh, or put <!-- not run: REASON --> above it"
		}
		return ""
	}
	return "a block of the kind " + b.kind + " is run by no test; put <!-- not run: REASON --> above it"
}

// network is where the commands of a section run.
type network struct {
	holder *exec.Cmd
	dir    string // of the repository
	state  string // a script that sets what was set before
	bin    string // where the command task is
}

// newNetwork makes a network namespace with nothing but a loopback interface.
func newNetwork(t *testing.T, repository string) network {
	t.Helper()
	n := network{dir: repository, state: filepath.Join(t.TempDir(), "state"), bin: installTask(t)}
	if err := os.WriteFile(n.state, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n.holder = exec.Command(rig.Need(t, "unshare", "apt-get install util-linux"), "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity")
	n.holder.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out rig.Buffer
	n.holder.Stdout, n.holder.Stderr = &out, &out
	if err := n.holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = n.holder.Process.Kill()
		_ = n.holder.Wait()
	})
	rig.Wait(t, 10*time.Second, "a network namespace (this takes root)", func() bool { return out.String() == "up\n" })
	return n
}

// installTask returns the directory of the command task, in the version that README.md names.
func installTask(t *testing.T) string {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(rig.Root(), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`github\.com/go-task/task/v3/cmd/task@v[0-9.]+`).FindString(string(readme))
	dir := filepath.Join(os.TempDir(), "headcount-test-"+filepath.Base(version))
	if _, err := os.Stat(filepath.Join(dir, "task")); err != nil {
		run(t, rig.Root(), "env", "GOBIN="+dir, "go", "install", version)
	}
	return dir
}

// start starts a command in the network.
func (n network) start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{done: make(chan struct{})}
	p.cmd = exec.Command("nsenter", append([]string{"--net=/proc/" + itoa(n.holder.Process.Pid) + "/ns/net"}, args...)...)
	p.cmd.Dir = n.dir
	// As task build builds, so that no copy of the repository has to be compiled again.
	p.cmd.Env = append(rig.Environ(), "GOFLAGS=-trimpath", "CGO_ENABLED=0", "GOPROXY=off", "GONOSUMDB=*", "BASH_ENV="+n.state, "PATH="+n.bin+":"+os.Getenv("PATH"))
	p.cmd.Env = slices.DeleteFunc(p.cmd.Env, func(variable string) bool { return strings.HasPrefix(variable, "HEADCOUNT_ADMIN=") })
	p.cmd.Stdout, p.cmd.Stderr = &lines{out: &p.out}, &lines{out: &p.out}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.stop)
	return p
}

// process is a command that runs.
type process struct {
	cmd  *exec.Cmd
	out  rig.Buffer
	done chan struct{} // closed when it has ended
	err  error         // read it after done
}

// lines passes whole lines on: curl writes its progress between those of others.
type lines struct {
	out  *rig.Buffer
	rest []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	if end := bytes.LastIndexByte(l.rest, '\n') + 1; end > 0 {
		_, _ = l.out.Write(l.rest[:end])
		l.rest = l.rest[end:]
	}
	return len(p), nil
}

// stop ends it and all that it has started.
func (p *process) stop() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

const commandTime = 2 * time.Minute // "go run" may have to build

var (
	startsServer = regexp.MustCompile(`go run \./server|task (serve|dev|feed|cluster)`)
	assignment   = regexp.MustCompile(`^([A-Za-z_]\w*)=(?:\$\(.*\)|\S)*$`)
	function     = regexp.MustCompile(`^\w+\(\) \{.*\}$`)
)

// runSection runs the blocks of a section.
func runSection(t *testing.T, repository, file string, section []block) {
	t.Helper()
	if len(section) == 0 {
		return
	}
	n := newNetwork(t, repository)
	if !slices.ContainsFunc(section, func(b block) bool { return startsServer.MatchString(b.text) }) {
		server := n.start(t, rig.Build(t, "server"), "-token", "secret")
		defer server.stop()
		rig.Wait(t, 20*time.Second, "a server for "+file, func() bool { return strings.Contains(server.out.String(), "listening addr=[::]:8080") })
	}
	for _, b := range section {
		for _, c := range commandsOf(b) {
			t.Logf("%s:%d: %s", file, b.line, c.command)
			p := n.start(t, "bash", "-c", n.keeping(t, c.command))
			defer p.stop() // one that goes on does so for the commands below it
			if !p.prints(c.output) {
				t.Errorf("%s:%d: %s\nprinted\n%.2000s\nwant\n%s", file, b.line, c.command, p.out.String(), strings.Join(c.output, "\n"))
			} else if len(c.output) == 0 && p.err != nil {
				t.Errorf("%s:%d: %s: %v\n%s", file, b.line, c.command, p.err, p.out.String())
			}
		}
	}
}

// keeping returns a command that keeps what it sets for those below it.
func (n network) keeping(t *testing.T, command string) string {
	t.Helper()
	if found := assignment.FindStringSubmatch(command); found != nil {
		return command + "\ndeclare -p " + found[1] + " >>" + n.state
	}
	if function.MatchString(command) {
		return "cat >>" + n.state + " <<'END'\n" + command + "\nEND"
	}
	return command
}

// prints waits until the lines were printed, with others before and between them or not; without lines until the end.
func (p *process) prints(lines []string) bool {
	for end := time.Now().Add(commandTime); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		last := p.ended()
		if len(lines) == 0 && last || len(lines) > 0 && printed(p.out.String(), lines) {
			return true
		}
		if last {
			return false
		}
	}
	return false
}

func printed(output string, lines []string) bool {
	for line := range strings.Lines(output) {
		if len(lines) > 0 && like(lines[0]).MatchString(strings.TrimRight(line, "\r\n")) {
			lines = lines[1:]
		}
	}
	return len(lines) == 0
}

var changing = regexp.MustCompile(`…|[0-9a-z]+(\\\.[0-9a-z]+){2,}|[0-9]+`)

// like matches a line as it may be another time: with other numbers and ids, and anything for "…".
func like(line string) *regexp.Regexp {
	pattern := changing.ReplaceAllStringFunc(regexp.QuoteMeta(line), func(part string) string {
		switch {
		case part == "…":
			return `.*`
		case strings.Contains(part, "."):
			return `[0-9a-z.]+`
		}
		return `[0-9]+`
	})
	return regexp.MustCompile(`^` + pattern + `$`)
}

// printing is a command and what it prints.
type printing struct {
	command string
	output  []string
}

func commandsOf(b block) (all []printing) {
	for _, line := range strings.Split(b.text, "\n") {
		text, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case b.kind == "console" && isCommand:
			all = append(all, printing{command: text})
		case b.kind == "console" && len(all) > 0:
			if line != "" { // where the block has room to breathe
				all[len(all)-1].output = append(all[len(all)-1].output, line)
			}
		case b.kind == "sh":
			if len(all) > 0 { // one script: a line may set what the next one needs
				all[0].command += "\n" + line
			} else {
				all = append(all, printing{command: "set -e\n" + line})
			}
		}
	}
	return all
}
