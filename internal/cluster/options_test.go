package cluster_test

import (
	"strings"
	"testing"
	"time"

	"headcount/internal/cluster"
	"headcount/internal/hub"
	"headcount/internal/presence"
)

func TestOptions(t *testing.T) {
	for _, row := range []struct {
		name, servers, prefix string
		want                  string // in the error, "" = none
	}{
		{"one", "nats://localhost:4222", "", ""},
		{"several", "nats://a:4222, tls://b:4222,c", "", ""},
		{"user and password", "nats://me:s3cret@localhost:4222", "", ""},
		{"token", "nats://s3cret@localhost:4222", "", ""},
		{"files", "tls://localhost?ca=ca.pem&cert=c.pem&key=k.pem&creds=me.creds", "", ""},
		{"prefix", "nats://localhost", "my-count_2", ""},
		{"no host", "nats://", "", "Options.Servers: address 1"},
		{"not a URL", "nats://a,nats://me:s3cret@%zz", "", "address 2"},
		{"other scheme", "http://me:s3cret@localhost", "", "begins with http"},
		{"other file", "nats://me:s3cret@localhost?password=x", "", "question mark"},
		{"question mark in a password", "nats://me?s3cret@localhost", "", "%XX"},
		{"cert without key", "tls://localhost?cert=c.pem", "", "cert and key"},
		{"prefix with a dot", "nats://localhost", "a.b", "Options.Prefix: "},
		{"prefix with a star", "nats://localhost", "*", "Options.Prefix: "},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := (&cluster.Options{Servers: row.servers, Prefix: row.prefix}).Check()
			switch {
			case row.want == "" && err != nil:
				t.Errorf("got error %v, want none", err)
			case row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)):
				t.Errorf("got error %v, want one with %q", err, row.want)
			case err != nil && strings.Contains(err.Error(), "s3cret"):
				t.Errorf("password in %q", err)
			}
		})
	}
}

// A node whose NATS cannot be reached starts, says why it is not ready, and lists itself.
func TestWithoutNATS(t *testing.T) {
	b, err := cluster.New(cluster.Options{Servers: "nats://me:s3cret@127.0.0.1:1"})
	if err != nil {
		t.Fatalf("got error %v, want none", err)
	}
	_, n, err := b.Join(hub.Options{}, presence.NewJournaled(time.Second))
	if err != nil {
		t.Fatalf("got error %v, want none", err)
	}
	if err := n.Ready(); err == nil || !strings.Contains(err.Error(), "NATS is away") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("Ready: got %v, want that NATS is away", err)
	}
	if _, _, err := n.Emit(t.Context(), "lobby", "n", []byte("1"), ""); err == nil {
		t.Error("Emit: got no error, want one")
	}
	if got := n.Nodes(); len(got) != 1 || got[0].Name != n.Tag() || !got[0].Self {
		t.Errorf("Nodes: got %v, want this one, %s", got, n.Tag())
	}
}
