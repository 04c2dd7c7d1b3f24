package web_test

import (
	"testing"
	"time"

	"headcount/internal/web"
)

// A stream over HTTP/2 lives on through silences that are longer than a write may take.
func TestSilenceOverHTTP2(t *testing.T) {
	inBubble(t, web.Options{Heartbeat: 2 * time.Minute, Token: "secret"}, func(t *testing.T, b *bubble) {
		b.overHTTP2()
		s := b.open("")
		if s.resp.ProtoMajor != 2 {
			t.Fatalf("got %s, want HTTP/2", s.resp.Proto)
		}
		time.Sleep(10 * time.Minute)
		b.do("POST", "/emit", `{"event":"news"}`, "Authorization", "Bearer secret")
		if err := s.ended(); err != nil {
			t.Errorf("the stream ended: %v", err)
		}
		if got := s.values("news"); len(got) != 1 {
			t.Errorf("got %d events, want 1", len(got))
		}
	})
}
