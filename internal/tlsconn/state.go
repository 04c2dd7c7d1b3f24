package tlsconn

import (
	"encoding/binary"
	"errors"
)

// stateLen is the length of a sealer's state without its rest. It has suite, sequence number, IV and key.
const stateLen = 2 + 8 + ivLen + 32

// Export returns the sealer as bytes, for the successor process, which continues with its connection. The bytes are as
// secret as the keys. Only one of the two processes may seal from now on. After Export, this process must not seal
// until it is certain that the other one never will.
func (s *Sealer) Export() []byte {
	b := make([]byte, 0, stateLen+len(s.Rest()))
	b = binary.BigEndian.AppendUint16(b, s.suite)
	b = binary.BigEndian.AppendUint64(b, s.seq)
	b = append(b, s.iv[:]...)
	b = append(b, s.key[:]...)
	return append(b, s.Rest()...)
}

// Import returns the sealer that was exported.
func Import(state []byte) (*Sealer, error) {
	if len(state) < stateLen {
		return nil, errors.New("import TLS keys: the state is too short")
	}
	s := &Sealer{suite: binary.BigEndian.Uint16(state), seq: binary.BigEndian.Uint64(state[2:])}
	if _, ok := suiteOf(s.suite); !ok {
		return nil, errors.New("import TLS keys: the cipher suite is unknown")
	}
	n := copy(s.iv[:], state[10:])
	copy(s.key[:], state[10+n:])
	s.Keep(state[stateLen:])
	return s, nil
}
