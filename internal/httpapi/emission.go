package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/url"
	"strings"
	"unicode/utf8"

	"headcount/internal/sse"
)

// form is the content type of an HTML form.
const form = "application/x-www-form-urlencoded"

// emission is the content of a POST /emit.
type emission struct {
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data"`
	Room  *string         `json:"room"`
}

// parseEmission reads a form if the content type says so, and JSON otherwise. The result always has data and a room.
func parseEmission(contentType string, body []byte) (emission, error) {
	e, err := readEmission(contentType, body)
	if err != nil {
		return e, err
	}
	if len(e.Data) == 0 {
		e.Data = json.RawMessage("null")
	}
	if e.Room == nil {
		room := DefaultRoom
		e.Room = &room
	}
	if err := sse.CheckRoom(*e.Room); err != nil {
		return e, err
	}
	return e, sse.CheckName(e.Event)
}

func readEmission(contentType string, body []byte) (emission, error) {
	var e emission
	if !utf8.Valid(body) {
		return e, errors.New("body is not UTF-8; send JSON or a form in UTF-8")
	}
	// Some editors write a byte order mark at the start. "Implementations that parse JSON texts MAY ignore the presence
	// of a byte order mark": RFC 8259, section 8.1.
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	kind, _, _ := mime.ParseMediaType(contentType)
	// curl -d '{"event":…}' sends JSON as a form. No field of a form begins like that.
	if kind == form && !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		return parseForm(body)
	}
	in := json.NewDecoder(bytes.NewReader(body))
	// Otherwise the value of a misspelt name would be lost silently.
	in.DisallowUnknownFields()
	if err := in.Decode(&e); err != nil {
		return e, fmt.Errorf(`body is not {"event":"…","data":…,"room":"…"}: %w`, where(err, in))
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return e, fmt.Errorf("the body continues after the JSON object, at byte %d; send one object", in.InputOffset())
	}
	return e, checkFields(body)
}

// checkFields finds errors that the decoder ignores. These are a duplicate field, and half a surrogate pair in a name,
// which the decoder would turn into another name.
func checkFields(body []byte) error {
	in := json.NewDecoder(bytes.NewReader(body))
	if begin, _ := in.Token(); begin != json.Delim('{') {
		return nil
	}
	had := make(map[string]bool, 3)
	for in.More() {
		token, err := in.Token()
		if err != nil {
			return err
		}
		name := strings.ToLower(fmt.Sprint(token)) // the decoder ignores case
		if had[name] {
			return fmt.Errorf("%s appears a second time, at byte %d; send it once", name, in.InputOffset())
		}
		had[name] = true
		var raw json.RawMessage
		if err := in.Decode(&raw); err != nil {
			return err
		}
		if name != "data" && halfPair(raw) {
			return fmt.Errorf("%s contains half a surrogate pair, before byte %d; send whole characters", name, in.InputOffset())
		}
	}
	return nil
}

// halfPair reports whether a JSON string holds one half of a surrogate pair. UTF-8 cannot encode it, so it is decoded
// to U+FFFD.
func halfPair(raw []byte) bool {
	var text string
	_ = json.Unmarshal(raw, &text) // null becomes ""
	meant := bytes.Count(raw, []byte("\ufffd")) + bytes.Count(bytes.ToLower(raw), []byte(`\ufffd`))
	return strings.Count(text, "\ufffd") > meant
}

var errTooDeep = errors.New("it is nested more than 10,000 levels deep; send something flatter")

// tooDeep reports whether the decoder failed because of too much nesting. The decoder has no typed error for this.
func tooDeep(err error) bool {
	var syntax *json.SyntaxError
	return errors.As(err, &syntax) && strings.HasSuffix(syntax.Error(), "exceeded max depth")
}

// where adds the position in bytes to an error of the decoder.
func where(err error, in *json.Decoder) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case tooDeep(err):
		return errTooDeep
	case errors.As(err, &syntax):
		return fmt.Errorf("%w, at byte %d", err, syntax.Offset)
	case errors.As(err, &kind) && kind.Field == "":
		return fmt.Errorf("expected an object, got %s", kind.Value)
	case errors.As(err, &kind):
		return fmt.Errorf("%s must be a string, not %s, at byte %d", kind.Field, kind.Value, kind.Offset)
	case errors.Is(err, io.EOF):
		return errors.New("it is empty")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ends too early")
	}
	return fmt.Errorf("%w, at byte %d", err, in.InputOffset())
}

// parseForm reads the form that curl -d event=news -d data=hi sends. Data is JSON, or else a string.
func parseForm(body []byte) (emission, error) {
	// Read forms as browsers do. A semicolon is an ordinary character.
	q, err := url.ParseQuery(strings.ReplaceAll(string(body), ";", "%3B"))
	if err != nil {
		return emission{}, fmt.Errorf("malformed form: %w", err)
	}
	e := emission{Event: q.Get("event")}
	for name, values := range q {
		switch {
		case name != "event" && name != "data" && name != "room":
			return e, fmt.Errorf("unknown form field %q; the fields are event, data and room", name)
		case len(values) > 1:
			return e, fmt.Errorf("the form has %q %d times; send it once", name, len(values))
		case !utf8.ValidString(values[0]):
			return e, fmt.Errorf("form field %q is not UTF-8; send a form in UTF-8", name)
		}
	}
	if q.Has("room") {
		room := strings.Clone(q.Get("room")) // a substring would keep the whole body in memory
		e.Room = &room
	}
	if q.Has("data") {
		e.Data = json.RawMessage(q.Get("data"))
		var value json.RawMessage
		if err := json.Unmarshal(e.Data, &value); tooDeep(err) { // the text may still be JSON
			return e, fmt.Errorf(`form field "data": %w`, errTooDeep)
		} else if err != nil {
			e.Data = sse.Quote(q.Get("data"))
		}
	}
	return e, nil
}
