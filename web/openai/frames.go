package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// Frame is v as one data-only server-sent event.
func Frame(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append(append([]byte("data: "), b...), '\n', '\n'), nil
}

// Done is the frame that ends a stream.
var Done = []byte("data: [DONE]\n\n")

// ErrorFrame is an error after the first byte of a stream.
func ErrorFrame(e *Error) []byte {
	return append(append([]byte("data: "), e.Body()...), '\n', '\n')
}

// Frames writes the events of one stream, which differ in their choices only: what is the same in all of them is encoded once. The
// bytes are those of Frame.
type Frames struct{ head, tail []byte }

// NewFrames makes the events of a stream from one without choices: v's field of that name is an empty list, not null.
func NewFrames(v any) (*Frames, error) {
	frame, err := Frame(v)
	if err != nil {
		return nil, err
	}
	const list = `"choices":[` // a text that holds this has its quotes escaped
	at := bytes.Index(frame, []byte(list+"]"))
	if at < 0 {
		return nil, fmt.Errorf("openai: %T has no empty list of choices", v)
	}
	return &Frames{frame[:at+len(list)], frame[at+len(list):]}, nil
}

// Append adds an event with one choice to b.
func (f *Frames) Append(b []byte, choice any) ([]byte, error) {
	x, err := json.Marshal(choice)
	if err != nil {
		return b, err
	}
	b = append(b, f.head...)
	b = append(b, x...)
	return append(b, f.tail...), nil
}

// AppendText adds the event of a CompletionChoice that has a text only.
func (f *Frames) AppendText(b []byte, index int, text string) []byte {
	return f.appendPlain(b, index, `,"text":`, text, `,"logprobs":null,"finish_reason":null}`)
}

// AppendDelta adds the event of a DeltaChoice that has a content only.
func (f *Frames) AppendDelta(b []byte, index int, content string) []byte {
	return f.appendPlain(b, index, `,"delta":{"content":`, content, `},"logprobs":null,"finish_reason":null}`)
}

func (f *Frames) appendPlain(b []byte, index int, before, text, after string) []byte {
	b = append(b, f.head...)
	b = append(b, `{"index":`...)
	b = strconv.AppendInt(b, int64(index), 10)
	b = append(b, before...)
	b = appendString(b, text)
	b = append(b, after...)
	return append(b, f.tail...)
}

// appendString adds a string as json.Marshal writes it.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			x, err := json.Marshal(s)
			if err != nil {
				panic(err) // every string can be encoded
			}
			return append(b, x...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
