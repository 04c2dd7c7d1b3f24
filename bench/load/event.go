package load

import "bytes"

// An event is what the generator understands of an event that arrived.
type event struct {
	kind  kind
	value int64 // count: the number; gap: how many are missing, -1 when the server does not know; measured: its number
	sent  int64 // measured: when it was sent
}

type kind byte

const (
	other kind = iota
	measured
	count
	gap
)

// parseEvent understands one block of Server-Sent Events, without the empty line at its end. "event:" may stand before
// or after "data:". Not understood, because no server here sends it: data of several lines.
func parseEvent(block []byte) event {
	var name, data []byte
	for len(block) > 0 {
		line := block
		if end := bytes.IndexByte(block, '\n'); end >= 0 {
			line, block = block[:end], block[end+1:]
		} else {
			block = nil
		}
		if value, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			data = value
		} else if value, ok := bytes.CutPrefix(line, []byte("event:")); ok {
			name = bytes.TrimSpace(value)
		}
	}
	if data == nil {
		return event{}
	}
	switch string(name) {
	case "user count":
		value, ok := number(bytes.TrimLeft(data, " "))
		if !ok {
			return event{}
		}
		return event{kind: count, value: value}
	case "io:gap":
		value, ok := numberAfter(data, `"missed":`)
		if !ok {
			value = -1
		}
		return event{kind: gap, value: value}
	}
	return parseMeasured(data)
}

// parsePacket understands a Socket.IO packet: 42["user count",3].
func parsePacket(text []byte) event {
	rest, ok := bytes.CutPrefix(text, []byte("42["))
	if !ok {
		return event{}
	}
	if rest, ok := bytes.CutPrefix(rest, []byte(`"user count",`)); ok {
		value, ok := number(rest)
		if !ok {
			return event{}
		}
		return event{kind: count, value: value}
	}
	return parseMeasured(rest)
}

func parseMeasured(data []byte) event {
	sent, ok := numberAfter(data, `"t":`)
	if !ok {
		return event{}
	}
	n, ok := numberAfter(data, `"n":`)
	if !ok {
		return event{}
	}
	return event{kind: measured, value: n, sent: sent}
}

func numberAfter(data []byte, key string) (int64, bool) {
	at := bytes.Index(data, []byte(key))
	if at < 0 {
		return 0, false
	}
	return number(data[at+len(key):])
}

// number reads the decimal digits that b begins with.
func number(b []byte) (int64, bool) {
	var value int64
	i := 0
	for ; i < len(b) && i < 18 && '0' <= b[i] && b[i] <= '9'; i++ {
		value = value*10 + int64(b[i]-'0')
	}
	return value, i > 0
}
