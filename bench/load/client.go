package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// A Client is the other end of a generator's pipes.
type Client struct {
	command *exec.Cmd
	in      *json.Encoder
	close   func() error
	out     *bufio.Reader
}

// Start runs this very program again with the one argument that makes it a generator, see [Argument].
func Start(ctx context.Context) (*Client, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start generator: %w", err)
	}
	command := exec.CommandContext(ctx, self, Argument)
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start generator: %w", err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start generator: %w", err)
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start generator: %w", err)
	}
	return &Client{command: command, in: json.NewEncoder(in), close: in.Close, out: bufio.NewReader(out)}, nil
}

// Argument, as the only argument, makes the program a generator.
const Argument = "generator"

// PID is the generator's process.
func (c *Client) PID() int { return c.command.Process.Pid }

// Do has one command carried out.
func (c *Client) Do(command Command) (Reply, error) {
	answer := c.Begin(command)
	return answer()
}

// Begin sends a command; the function it returns waits for the answer.
func (c *Client) Begin(command Command) func() (Reply, error) {
	err := c.in.Encode(command)
	return func() (Reply, error) {
		if err != nil {
			return Reply{}, fmt.Errorf("%s: %w", command.Do, err)
		}
		line, err := c.out.ReadBytes('\n')
		if err != nil {
			return Reply{}, fmt.Errorf("%s: read answer of the generator: %w", command.Do, err)
		}
		var r Reply
		if err := json.Unmarshal(line, &r); err != nil {
			return Reply{}, fmt.Errorf("%s: read answer of the generator: %w", command.Do, err)
		}
		if r.Error != "" {
			return r, errors.New(r.Error)
		}
		return r, nil
	}
}

// Open opens n streams and waits until they are open.
func (c *Client) Open(n int, want int64, limit time.Duration) (Reply, error) {
	return c.Do(Command{Do: "open", N: int64(n), Window: Window, Want: want, For: limit})
}

// Window is how many streams may be on their way at a time: fewer than the shortest accept queue among the servers
// (511, nginx and Node), because beyond it the kernel drops the request to connect and repeats it a second later.
const Window = 400

// Stop ends the generator and with it all its streams.
func (c *Client) Stop() error {
	if err := c.close(); err != nil {
		return fmt.Errorf("stop generator: %w", err)
	}
	if err := c.command.Wait(); err != nil {
		return fmt.Errorf("stop generator: %w", err)
	}
	return nil
}
