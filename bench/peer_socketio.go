package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

func prepareSocketIO(ctx context.Context, dir string) ([]string, error) {
	for _, what := range []string{"node", "npm"} {
		if err := need(what, "apt-get install nodejs npm"); err != nil {
			return nil, err
		}
	}
	dir = filepath.Join(dir, "socketio")
	if err := os.CopyFS(dir, os.DirFS("peers/socketio")); err != nil {
		return nil, fmt.Errorf("copy program: %w", err)
	}
	if err := run(ctx, dir, "npm", "ci", "--no-audit", "--no-fund"); err != nil {
		return nil, err
	}
	return []string{"node", filepath.Join(dir, "server.js"), "PORT"}, nil
}
