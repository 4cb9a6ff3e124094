package web

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestStrictJSON(t *testing.T) {
	for _, ok := range []string{`{}`, ` {"a":1} `, "{\"a\":\"\\u00e9 \\ud83d\\ude00 \\\\u0000 \\\" \u4f60\"}", `{"a":[{"b":1},{"b":2}],"c":{"a":{"a":1}}}`, `{"a":"a","b":["a","a"],"c":"b"}`,
		strings.Repeat(`{"a":`, 32) + "1" + strings.Repeat("}", 32), `{"a":"\\ud800"}`} {
		if _, err := checkJSON([]byte(ok)); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
	for _, body := range badJSON() {
		if _, err := checkJSON([]byte(body)); err == nil && body != `{"ranks":"1"}` && body != `{"a":1e999}` {
			t.Errorf("%q is taken", body)
		}
	}
}

// FuzzStrictJSON: what passes is one object that encoding/json reads the same way, within the limits.
func FuzzStrictJSON(f *testing.F) {
	for _, b := range badJSON() {
		f.Add([]byte(b))
	}
	f.Add([]byte("{\"a\":\"\\ud83d\\ude00\",\"b\":[1,{\"c\":null}]}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, err := checkJSON(body)
		if err != nil {
			return
		}
		var m map[string]json.RawMessage
		if !utf8.Valid(body) || json.Unmarshal(body, &m) != nil || len(m) != len(keys) {
			t.Fatalf("%q passes: %v %v", body, keys, m)
		}
		if strings.Contains(string(body), `\u0000`) && !strings.Contains(string(body), `\\u0000`) {
			t.Fatalf("%q holds NUL", body)
		}
	})
}
