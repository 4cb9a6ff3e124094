package checkpoint

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads JSON from a text that is known to be UTF-8. Strings are parts of the
// text where they have no escapes, so that reading allocates next to nothing.
type scanner struct {
	text string
	at   int
}

// space passes over white space.
func (s *scanner) space() {
	for s.at < len(s.text) && strings.IndexByte(" \t\r\n", s.text[s.at]) >= 0 {
		s.at++
	}
}

// next is the byte after white space, 0 at the end.
func (s *scanner) next() byte {
	if s.space(); s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

// want passes over one of the bytes of set, after white space, and returns it.
func (s *scanner) want(set, what string) (byte, error) {
	c := s.next()
	if c == 0 || strings.IndexByte(set, c) < 0 {
		return 0, corrupt("header: %q at %d where %s belongs", s.text[s.at:min(s.at+1, len(s.text))], s.at, what)
	}
	s.at++
	return c, nil
}

// object reads { key: value ... }, leaving each value to f.
func (s *scanner) object(f func(key string) error) error {
	if _, err := s.want("{", "an object"); err != nil {
		return err
	}
	if s.next() == '}' {
		s.at++
		return nil
	}
	for {
		if s.next() != '"' {
			_, err := s.want(`"`, "a name")
			return err
		}
		key, err := s.string()
		if err != nil {
			return err
		}
		if _, err := s.want(":", "a colon"); err != nil {
			return err
		}
		if err := f(key); err != nil {
			return err
		}
		if c, err := s.want(",}", "a comma or the end of an object"); err != nil || c == '}' {
			return err
		}
	}
}

// maxDigits are those of the largest size there is.
const maxDigits = 19

// sizes reads an array of non-negative integers into dst and says how many there are.
func (s *scanner) sizes(name string, dst []int64) (n int, err error) {
	if _, err := s.want("[", "an array"); err != nil {
		return 0, err
	}
	if s.next() == ']' {
		s.at++
		return 0, nil
	}
	for {
		if n == len(dst) {
			return 0, corrupt("tensor %q: more than %d numbers in an array", name, n)
		}
		s.space()
		start := s.at
		for s.at < len(s.text) && strings.IndexByte(",] \t\r\n", s.text[s.at]) < 0 {
			s.at++
		}
		digits := s.text[start:s.at]
		var v uint64
		var err error
		if len(digits) <= maxDigits { // an error of ParseUint holds a copy of what it was given
			v, err = strconv.ParseUint(digits, 10, 63)
		}
		if err != nil || len(digits) > maxDigits || len(digits) > 1 && digits[0] == '0' {
			return 0, corrupt("tensor %q: %.40q is not a size", name, digits)
		}
		dst[n] = int64(v)
		n++
		if c, err := s.want(",]", "a comma or the end of an array"); err != nil || c == ']' {
			return n, err
		}
	}
}

// string reads a string; the opening quote is next.
func (s *scanner) string() (string, error) {
	s.at++
	start := s.at
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return s.text[start : s.at-1], nil
		case c < ' ':
			return "", corrupt("header: a control character in a string")
		case c == '\\':
			return s.escaped(start)
		}
	}
	return "", corrupt("header: a string without an end")
}

// escaped goes on with a string that began at start where its first escape is.
func (s *scanner) escaped(start int) (string, error) {
	end := s.at
	for ; end < len(s.text) && s.text[end] != '"'; end++ {
		if s.text[end] == '\\' {
			end++
		}
	}
	var b strings.Builder
	raw := s.text[start:min(end, len(s.text))]
	b.Grow(max(0, len(raw)-3*strings.Count(raw, `\u`))) // \uXXXX is three bytes at most
	b.WriteString(s.text[start:s.at])
	for s.at < len(s.text) {
		c := s.text[s.at]
		s.at++
		switch {
		case c == '"':
			return b.String(), nil
		case c < ' ':
			return "", corrupt("header: a control character in a string")
		case c != '\\':
			b.WriteByte(c)
			continue
		}
		if s.at == len(s.text) {
			break
		}
		c = s.text[s.at]
		s.at++
		if c == 'u' {
			r, ok := s.hex4()
			if !ok {
				return "", corrupt("header: a broken \\u in a string")
			}
			if utf16.IsSurrogate(r) { // half of a pair, or alone and then U+FFFD
				back := s.at
				low := rune(-1)
				if strings.HasPrefix(s.text[s.at:], `\u`) {
					s.at += 2
					if low, ok = s.hex4(); !ok {
						return "", corrupt("header: a broken \\u in a string")
					}
				}
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					s.at = back
				}
			}
			b.WriteRune(r)
			continue
		}
		i := strings.IndexByte(`"\/bfnrt`, c)
		if i < 0 {
			return "", corrupt("header: the escape \\%c in a string", c)
		}
		b.WriteByte("\"\\/\b\f\n\r\t"[i])
	}
	return "", corrupt("header: a string without an end")
}

// hex4 reads four hex digits.
func (s *scanner) hex4() (rune, bool) {
	if len(s.text)-s.at < 4 {
		return 0, false
	}
	digits := s.text[s.at : s.at+4]
	v, err := strconv.ParseUint(digits, 16, 16)
	s.at += 4
	return rune(v), err == nil && !strings.ContainsAny(digits, "+_")
}
