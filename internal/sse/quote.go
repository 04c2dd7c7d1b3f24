package sse

import (
	"bytes"
	"encoding/json"
)

// Quote returns text as a JSON string. It escapes no HTML, so that curl shows <b> as <b>.
func Quote(text string) json.RawMessage {
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	_ = out.Encode(text) // a string into a buffer, so it cannot fail
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
