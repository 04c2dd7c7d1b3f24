package main

import (
	"context"
	"fmt"
)

const token = "benchmark-token"

func headcountPeer() peer {
	return peer{
		name:     "headcount",
		about:    "this project",
		prepare:  prepareHeadcount,
		env:      []string{"HEADCOUNT_TOKEN=" + token, "HEADCOUNT_ADMIN="},
		path:     "/events",
		idlePath: "/events?id=benchmark-{i}",
		counts:   always,
		publish: publish{path: "/emit", token: token, wrap: func(data []byte) []byte {
			return fmt.Appendf(nil, `{"event":"news","data":%s}`, data)
		}},
	}
}

func prepareHeadcount(ctx context.Context, dir string) ([]string, error) {
	command, err := buildGo(ctx, dir, "headcount", "..", "./server")
	if err != nil {
		return nil, err
	}
	return []string{command[0], "-addr", "127.0.0.1:PORT"}, nil
}
