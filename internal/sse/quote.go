package sse

import (
	"bytes"
	"encoding/json"
)

// Quote returns text as a JSON string that curl shows as it was sent: <b> stays <b>.
func Quote(text string) json.RawMessage {
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	_ = out.Encode(text) // a string into a buffer: cannot go wrong
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
