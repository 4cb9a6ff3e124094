package labeling

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// The fast way through a line: one pass that accepts a subset of what parseSlowly
// accepts, and gives the same object. What it does not accept is left to parseSlowly,
// which knows the reason. FuzzScan holds the two against each other.

const maxFastKeys = 32 // keys of one object, compared with each other

type scanner struct {
	text []byte
	at   int
}

// scanObject gives the fields of one JSON object; they point into text.
func scanObject(text []byte) (object, bool) {
	if !utf8.Valid(text) {
		return nil, false
	}
	s := scanner{text: text}
	s.space()
	o := object{}
	if !s.object(0, o) {
		return nil, false
	}
	s.space()
	return o, s.at == len(text)
}

func (s *scanner) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

func (s *scanner) take(c byte) bool {
	if s.at < len(s.text) && s.text[s.at] == c {
		s.at++
		return true
	}
	return false
}

// object passes over an object at the given depth; its fields go into o, if there is one.
func (s *scanner) object(depth int, o object) bool {
	if depth > maxDepth || !s.take('{') {
		return false
	}
	s.space()
	if s.take('}') {
		return true
	}
	var room [8][]byte
	keys := room[:0]
	for {
		s.space()
		start := s.at
		if !s.string() {
			return false
		}
		key := s.text[start+1 : s.at-1]
		if bytes.IndexByte(key, '\\') >= 0 || len(keys) == maxFastKeys {
			return false
		}
		for _, k := range keys {
			if bytes.Equal(k, key) {
				return false
			}
		}
		keys = append(keys, key)
		s.space()
		if !s.take(':') {
			return false
		}
		s.space()
		start = s.at
		if !s.value(depth + 1) {
			return false
		}
		if o != nil {
			o[string(key)] = json.RawMessage(s.text[start:s.at:s.at])
		}
		s.space()
		if s.take('}') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

func (s *scanner) array(depth int) bool {
	if depth > maxDepth || !s.take('[') {
		return false
	}
	s.space()
	if s.take(']') {
		return true
	}
	for {
		s.space()
		if !s.value(depth + 1) {
			return false
		}
		s.space()
		if s.take(']') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

func (s *scanner) value(depth int) bool {
	if s.at == len(s.text) || depth > maxDepth {
		return false
	}
	switch s.text[s.at] {
	case '"':
		return s.string()
	case '{':
		return s.object(depth, nil)
	case '[':
		return s.array(depth)
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	return s.number()
}

func (s *scanner) word(w string) bool {
	if !bytes.HasPrefix(s.text[s.at:], []byte(w)) {
		return false
	}
	s.at += len(w)
	return true
}

func (s *scanner) number() bool {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return false
	}
	if s.take('.') && !s.digits() {
		return false
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		return s.digits()
	}
	return true
}

func (s *scanner) digits() bool {
	start := s.at
	for s.at < len(s.text) && '0' <= s.text[s.at] && s.text[s.at] <= '9' {
		s.at++
	}
	return s.at > start
}

func (s *scanner) string() bool {
	if !s.take('"') {
		return false
	}
	for s.at < len(s.text) {
		c := s.text[s.at]
		s.at++
		switch {
		case c == '"':
			return true
		case c < ' ':
			return false
		case c != '\\':
			continue
		}
		if s.at == len(s.text) {
			return false
		}
		c = s.text[s.at]
		s.at++
		switch c {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		case 'u':
			if r, ok := hex4(s.text[s.at:]); !ok || r == 0 || r >= 0xd800 && r < 0xe000 {
				return false
			}
			s.at += 4
		default:
			return false
		}
	}
	return false
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	v, err := strconv.ParseUint(string(b[:4]), 16, 16)
	return rune(v), err == nil
}

// unquote is the text of a JSON string that a parse has found well formed; false for
// what is left to the JSON package (surrogate pairs).
func unquote(raw []byte) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	raw = raw[1 : len(raw)-1]
	i := bytes.IndexByte(raw, '\\')
	if i < 0 {
		return string(raw), true
	}
	out := make([]byte, 0, len(raw))
	for i >= 0 {
		out = append(out, raw[:i]...)
		c := raw[i+1]
		raw = raw[i+2:]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, ok := hex4(raw)
			if !ok || r >= 0xd800 && r < 0xe000 {
				return "", false
			}
			out, raw, c = utf8.AppendRune(out, r), raw[4:], 0
		}
		if c != 0 {
			out = append(out, c)
		}
		i = bytes.IndexByte(raw, '\\')
	}
	return string(append(out, raw...)), true
}
