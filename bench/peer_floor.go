package main

import (
	"context"
	"path/filepath"
)

func prepareFloor(ctx context.Context, dir string) ([]string, error) {
	if err := need("gcc", "apt-get install gcc libc6-dev"); err != nil {
		return nil, err
	}
	program := filepath.Join(dir, "floor")
	if err := run(ctx, "floor", "gcc", "-O2", "-Wall", "-o", program, "floor.c"); err != nil {
		return nil, err
	}
	return []string{program, "PORT"}, nil
}
