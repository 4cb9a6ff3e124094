package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
)

const maxDepth = 32 // of nested JSON

// readJSON reads the request's body into v, a pointer to a struct with json tags; an empty body is allowed where
// optional. Unknown keys, keys in another case, and all that checkJSON refuses are errors.
func readJSON(c *gin.Context, v any, optional bool) error {
	body, err := readBody(c)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) == 0 && optional {
		return nil
	}
	keys, err := checkJSON(body)
	if err != nil {
		return err
	}
	known := jsonNames(reflect.TypeOf(v).Elem())
	for _, k := range keys {
		if !known[k] {
			return bad("/"+k, "is not a known field")
		}
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return bad("/"+strings.ReplaceAll(wrong.Field, ".", "/"), fmt.Sprintf("has the wrong type: %s", wrong.Value))
		}
		return bad("", "body is not the JSON object that is wanted")
	}
	return nil
}

// readBody reads the whole body, which must say that it is JSON.
func readBody(c *gin.Context) ([]byte, error) {
	body, err := io.ReadAll(c.Request.Body)
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return nil, err
		}
		return nil, bad("", "body could not be read")
	}
	kind, _, _ := strings.Cut(c.GetHeader("Content-Type"), ";")
	if len(body) > 0 && !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		return nil, &problem{Status: http.StatusUnsupportedMediaType, Title: "Content-Type must be application/json"}
	}
	return body, nil
}

// checkJSON refuses what encoding/json would let through or repair: invalid UTF-8, NUL, lone surrogates, more than
// maxDepth levels, duplicate keys (whatever their case), trailing data, and anything but one object. It returns the
// object's keys.
func checkJSON(body []byte) ([]string, error) {
	if i := invalidUTF8(body); i >= 0 {
		return nil, bad("", fmt.Sprintf("body is not valid UTF-8 at byte %d", i))
	}
	if err := checkEscapes(body); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	type level struct {
		object bool
		key    bool // the next string is a key
		seen   map[string]bool
	}
	var stack []level
	var top []string
	for first := true; first || len(stack) > 0; first = false {
		tok, err := dec.Token()
		if err != nil {
			return nil, bad("", fmt.Sprintf("body is not valid JSON near byte %d", dec.InputOffset()))
		}
		if first && tok != json.Delim('{') {
			return nil, bad("", "body must be a JSON object")
		}
		var in *level
		if len(stack) > 0 {
			in = &stack[len(stack)-1]
		}
		switch t := tok.(type) {
		case json.Delim:
			if t == '}' || t == ']' {
				stack = stack[:len(stack)-1]
				if len(stack) > 0 {
					stack[len(stack)-1].key = stack[len(stack)-1].object
				}
				continue
			}
			if len(stack) == maxDepth {
				return nil, bad("", fmt.Sprintf("body is nested deeper than %d levels", maxDepth))
			}
			stack = append(stack, level{object: t == '{', key: t == '{', seen: map[string]bool{}})
		case string:
			if in.object && in.key {
				if in.seen[strings.ToLower(t)] {
					return nil, bad("", fmt.Sprintf("key %q occurs twice", t))
				}
				in.seen[strings.ToLower(t)] = true
				in.key = false
				if len(stack) == 1 {
					top = append(top, t)
				}
				continue
			}
			in.key = in.object
		default:
			in.key = in.object
		}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, bad("", "data follows the JSON object")
	}
	return top, nil
}

func invalidUTF8(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// checkEscapes looks at \u escapes, which in JSON stand in strings only.
func checkEscapes(b []byte) error {
	unit := func(i int) (rune, bool) { // of \uXXXX at i
		if i+6 > len(b) || b[i] != '\\' || b[i+1] != 'u' {
			return 0, false
		}
		n, err := strconv.ParseUint(string(b[i+2:i+6]), 16, 32)
		return rune(n), err == nil
	}
	for i := 0; i < len(b); i++ {
		if b[i] == 0 {
			return bad("", fmt.Sprintf("NUL at byte %d", i))
		}
		if b[i] != '\\' {
			continue
		}
		r, ok := unit(i)
		if !ok {
			i++ // the escaped character; bad escapes are the parser's to refuse
			continue
		}
		switch {
		case r == 0:
			return bad("", fmt.Sprintf("NUL at byte %d", i))
		case r >= 0xd800 && r < 0xdc00:
			low, ok := unit(i + 6)
			if !ok || low < 0xdc00 || low > 0xdfff {
				return bad("", fmt.Sprintf("lone surrogate at byte %d", i))
			}
			i += 6
		case r >= 0xdc00 && r <= 0xdfff:
			return bad("", fmt.Sprintf("lone surrogate at byte %d", i))
		}
		i += 5
	}
	return nil
}

// jsonNames lists the names of a struct's json tags.
func jsonNames(t reflect.Type) map[string]bool {
	out := map[string]bool{}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		out[name] = true
	}
	return out
}

// parseForm reads a posted form of either encoding. Without it, a form that is too large looks like an empty one.
func parseForm(c *gin.Context) error {
	err := c.Request.ParseForm()
	if err == nil {
		if err = c.Request.ParseMultipartForm(maxBodyPage); errors.Is(err, http.ErrNotMultipart) {
			err = nil
		}
	}
	var large *http.MaxBytesError
	if err == nil || errors.As(err, &large) {
		return err
	}
	return bad("", "the form could not be read")
}

// formValue is a field of a posted form: valid UTF-8 without NUL, at most max bytes.
func formValue(c *gin.Context, name string, max int) (string, error) {
	v := c.PostForm(name)
	switch {
	case len(v) > max:
		return "", bad(name, fmt.Sprintf("must be at most %d bytes", max))
	case !utf8.ValidString(v) || strings.ContainsRune(v, 0):
		return "", bad(name, "must be valid UTF-8 without NUL")
	}
	return v, nil
}

// textParam is a query or path parameter, checked the same way.
func textParam(v string) (string, error) {
	if len(v) > 500 || !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
		return "", bad("", "parameter must be valid UTF-8 without NUL, at most 500 bytes")
	}
	return v, nil
}
