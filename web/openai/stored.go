package openai

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of metadata and of lists.
const (
	MaxMetadata      = 16  // pairs
	MaxMetadataKey   = 64  // characters
	MaxMetadataValue = 512 // characters
	MaxPage          = 100 // items of a list
	DefaultPage      = 20
)

// Metadata are a customer's own notes on a stored completion.
type Metadata map[string]string

func (m Metadata) check() *Error {
	if len(m) > MaxMetadata {
		return Invalid("metadata", "object_above_max_properties", "Invalid 'metadata': expected at most %d pairs, but got %d.", MaxMetadata, len(m))
	}
	for k, v := range m {
		switch {
		case k == "" || utf8.RuneCountInString(k) > MaxMetadataKey:
			return Invalid("metadata", "string_above_max_length", "Invalid 'metadata': a key must have 1 to %d characters, but '%s' has %d.", MaxMetadataKey, clip(k), utf8.RuneCountInString(k))
		case utf8.RuneCountInString(v) > MaxMetadataValue:
			return Invalid("metadata", "string_above_max_length", "Invalid 'metadata': the value of '%s' must have at most %d characters, but has %d.", k, MaxMetadataValue, utf8.RuneCountInString(v))
		}
	}
	return nil
}

// ParseUpdate reads the body of POST /v1/chat/completions/{id}: the metadata that take the place of the former ones. null and {} both
// mean none.
func ParseUpdate(body []byte) (Metadata, *Error) {
	var fields map[string]json.RawMessage
	if e := decode(body, &fields); e != nil {
		return nil, e
	}
	raw, ok := fields["metadata"]
	if !ok {
		return nil, Invalid("metadata", "missing_required_parameter", "Missing required parameter: 'metadata'.")
	}
	m := Metadata{}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, Invalid("metadata", "invalid_type", "Invalid type for 'metadata': expected an object whose values are strings.")
	}
	if m == nil { // of null
		m = Metadata{}
	}
	return m, m.check()
}

// Page is what a list is asked for: at most Limit items after the one named, oldest first or newest first.
type Page struct {
	After    string
	Limit    int
	Newest   bool
	Model    string   // of completions; empty: any
	Metadata Metadata // each of which a completion must have
}

// ParsePage reads the parameters of a list; unknown ones are passed over.
func ParsePage(query map[string][]string) (Page, *Error) {
	p := Page{Limit: DefaultPage, Metadata: Metadata{}}
	for name, values := range query {
		v := values[len(values)-1]
		switch {
		case !utf8.ValidString(v) || !utf8.ValidString(name) || strings.ContainsRune(v, 0) || strings.ContainsRune(name, 0):
			return p, Invalid(strings.ToValidUTF8(clip(name), "\ufffd"), "invalid_value", "Query parameters must be valid UTF-8 without NUL.")
		case name == "after":
			p.After = v
		case name == "model":
			p.Model = v
		case name == "limit":
			n, err := strconv.Atoi(v)
			if err != nil || n < 1 || n > MaxPage {
				return p, Invalid("limit", "invalid_value", "Invalid 'limit': expected an integer between 1 and %d, but got '%s'.", MaxPage, clip(v))
			}
			p.Limit = n
		case name == "order":
			if v != "asc" && v != "desc" {
				return p, Invalid("order", "invalid_value", "Invalid 'order': expected 'asc' or 'desc', but got '%s'.", clip(v))
			}
			p.Newest = v == "desc"
		case strings.HasPrefix(name, "metadata[") && strings.HasSuffix(name, "]"):
			p.Metadata[name[len("metadata["):len(name)-1]] = v
		case name == "metadata":
			return p, Invalid("metadata", "invalid_value", "Invalid 'metadata': write a filter as metadata[key]=value.")
		}
	}
	return p, p.Metadata.check()
}

// StoredChat is a chat completion that was kept: the answer, and how it was asked for.
type StoredChat struct {
	Chat
	RequestID        string    `json:"request_id"`
	Metadata         Metadata  `json:"metadata"`
	Seed             *int64    `json:"seed"`
	Temperature      float64   `json:"temperature"`
	TopP             float64   `json:"top_p"`
	PresencePenalty  float64   `json:"presence_penalty"`
	FrequencyPenalty float64   `json:"frequency_penalty"`
	InputUser        *string   `json:"input_user"`
	ServiceTier      string    `json:"service_tier"`    // always default
	Tools            *struct{} `json:"tools"`           // always null, as the next two
	ToolChoice       *struct{} `json:"tool_choice"`     //
	ResponseFormat   *struct{} `json:"response_format"` //
}

// StoredList is one page of stored completions.
type StoredList = List[StoredChat]

// List is one page of a list. FirstID and LastID are null where it is empty.
type List[T any] struct {
	Object  string  `json:"object"` // "list"
	Data    []T     `json:"data"`
	FirstID *string `json:"first_id"`
	LastID  *string `json:"last_id"`
	HasMore bool    `json:"has_more"`
}

// NewList is a page of items whose ids are id.
func NewList[T any](data []T, more bool, id func(T) string) List[T] {
	l := List[T]{Object: "list", Data: data, HasMore: more}
	if data == nil {
		l.Data = []T{}
	}
	if len(data) > 0 {
		first, last := id(data[0]), id(data[len(data)-1])
		l.FirstID, l.LastID = &first, &last
	}
	return l
}

// StoredMessage is a message of the request behind a stored completion.
type StoredMessage struct {
	ID           string    `json:"id"`
	Role         string    `json:"role"`
	Content      string    `json:"content"` // the parts joined where it was given in parts
	Name         *string   `json:"name"`
	ContentParts *struct{} `json:"content_parts"` // always null
}

// Messages gives a request's messages the ids of the completion they belong to.
func Messages(completion string, list []ChatMessage) []StoredMessage {
	out := make([]StoredMessage, len(list))
	for i, m := range list {
		out[i] = StoredMessage{ID: fmt.Sprintf("%s-%d", completion, i), Role: m.Role, Content: string(m.Content), Name: ptr(m.Name)}
	}
	return out
}

// PageOf cuts a page out of a request's messages. An After that names none of them is an error.
func PageOf(list []StoredMessage, p Page) (List[StoredMessage], *Error) {
	if p.Newest {
		list = slices.Clone(list)
		slices.Reverse(list)
	}
	if p.After != "" {
		at := slices.IndexFunc(list, func(m StoredMessage) bool { return m.ID == p.After })
		if at < 0 {
			return List[StoredMessage]{}, Invalid("after", "invalid_value", "Invalid 'after': no message '%s' belongs to this completion.", clip(p.After))
		}
		list = list[at+1:]
	}
	more := len(list) > p.Limit
	return NewList(list[:min(len(list), p.Limit)], more, func(m StoredMessage) string { return m.ID }), nil
}

// Deleted is the answer to DELETE /v1/chat/completions/{id}.
type Deleted struct {
	Object  string `json:"object"` // "chat.completion.deleted"
	ID      string `json:"id"`
	Deleted bool   `json:"deleted"`
}
