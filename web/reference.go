package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
)

// The API reference is made from openapi.json, in whose order it stands.

// ordered is a JSON object that keeps the order of its keys.
type ordered[T any] []entry[T]

type entry[T any] struct {
	Key   string
	Value T
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *ordered[T]) UnmarshalJSON(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return errors.New("an object is wanted")
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		var e entry[T]
		e.Key = key.(string) // JSON has no other keys
		if err := dec.Decode(&e.Value); err != nil {
			return err
		}
		*o = append(*o, e)
	}
	return nil
}

func (o ordered[T]) get(key string) (v T, ok bool) {
	i := slices.IndexFunc(o, func(e entry[T]) bool { return e.Key == key })
	if i < 0 {
		return v, false
	}
	return o[i].Value, true
}

// openAPIDoc is what the page shows of an OpenAPI 3.1 document.
type openAPIDoc struct {
	Info       struct{ Description string }
	Paths      ordered[ordered[operation]]
	Components struct{ Schemas ordered[schema] }
}

type operation struct {
	Summary, Description string
	Security             []map[string][]string
	Parameters           []parameter
	RequestBody          *struct {
		Required bool
		Content  ordered[media]
	}
	Responses ordered[response]
}

type parameter struct {
	Name, In, Description string
	Required              bool
	Schema                schema
}

type response struct {
	Description string
	Content     ordered[media]
}

type media struct{ Schema schema }

type schema struct {
	Ref         string `json:"$ref"`
	Type        schemaType
	Description string
	Format      string
	Properties  ordered[schema]
	Required    []string
	Items       *schema
	AnyOf       []schema
	Enum        []any
	Const       any
	Example     json.RawMessage
}

// name is that of the schema referred to.
func (s schema) name() string { return strings.TrimPrefix(s.Ref, "#/components/schemas/") }

// refOperation is an endpoint on the page.
type refOperation struct {
	ID, Method, Path     string
	Summary, Description string
	ByKey                bool // with an API key; else with a session
	Fields               []refField
	Kind                 string // of the request's body
	Example              string // of it; empty: none
	Answers              []refAnswer
}

type refField struct {
	Name, In, Type, Description string // In is path, header, query or body
	Required                    bool
}

type refAnswer struct{ Status, Kind, Type, Description, Example string }

// refSchema is a named object on the page.
type refSchema struct {
	Name, Description string
	Fields            []refField
}

type reference struct {
	Intro      string
	Operations []refOperation
	Schemas    []refSchema
}

// loadReference reads openapi.json.
func loadReference() (reference, error) {
	raw, err := docsFS.ReadFile("docs/openapi.json")
	if err != nil {
		return reference{}, err
	}
	var doc openAPIDoc
	if err := json.Unmarshal(raw, &doc); err != nil {
		return reference{}, fmt.Errorf("openapi.json: %w", err)
	}
	out := reference{Intro: doc.Info.Description}
	for _, path := range doc.Paths {
		for _, op := range path.Value {
			out.Operations = append(out.Operations, doc.operation(path.Key, strings.ToUpper(op.Key), op.Value))
		}
	}
	slices.SortStableFunc(out.Operations, func(a, b refOperation) int { // what programs call, first
		if a.ByKey == b.ByKey {
			return 0
		}
		if a.ByKey {
			return -1
		}
		return 1
	})
	for _, s := range doc.Components.Schemas {
		out.Schemas = append(out.Schemas, refSchema{s.Key, s.Value.Description, fields(s.Value)})
	}
	return out, nil
}

var notID = regexp.MustCompile(`[^a-z0-9]+`)

func (doc *openAPIDoc) operation(path, method string, op operation) refOperation {
	r := refOperation{ID: strings.Trim(notID.ReplaceAllString(strings.ToLower(method+" "+path), "-"), "-"), Method: method, Path: path, Summary: op.Summary, Description: op.Description}
	for _, s := range op.Security {
		_, key := s["key"]
		r.ByKey = r.ByKey || key
	}
	for _, p := range op.Parameters {
		r.Fields = append(r.Fields, refField{p.Name, p.In, typeOf(p.Schema), p.Description, p.Required})
	}
	if op.RequestBody != nil && len(op.RequestBody.Content) > 0 {
		body := op.RequestBody.Content[0]
		r.Kind = body.Key
		for _, f := range fields(doc.resolve(body.Value.Schema)) {
			r.Fields = append(r.Fields, f)
		}
		r.Example = doc.pretty(body.Value.Schema)
	}
	for _, a := range op.Responses {
		answer := refAnswer{Status: a.Key, Description: a.Value.Description}
		if len(a.Value.Content) > 0 {
			body := a.Value.Content[0]
			answer.Kind, answer.Type = body.Key, typeOf(body.Value.Schema)
			if body.Key == "application/json" && body.Value.Schema.Ref != "" {
				answer.Example = doc.pretty(body.Value.Schema)
			}
		}
		r.Answers = append(r.Answers, answer)
	}
	return r
}

func (doc *openAPIDoc) resolve(s schema) schema {
	if s.Ref == "" {
		return s
	}
	found, _ := doc.Components.Schemas.get(s.name()) // a test looks for those that are missing
	return found
}

// fields are an object's, in its order.
func fields(s schema) []refField {
	var out []refField
	for _, p := range s.Properties {
		out = append(out, refField{p.Key, "body", typeOf(p.Value), p.Value.Description, slices.Contains(s.Required, p.Key)})
	}
	return out
}

// typeOf says in a few words what a value is.
func typeOf(s schema) string {
	switch {
	case s.Ref != "":
		return s.name()
	case s.Items != nil:
		return "array of " + typeOf(*s.Items)
	case len(s.AnyOf) > 0:
		var kinds []string
		for _, a := range s.AnyOf {
			kinds = append(kinds, typeOf(a))
		}
		return strings.Join(kinds, " or ")
	case len(s.Enum) > 0:
		var values []string
		for _, v := range s.Enum {
			values = append(values, fmt.Sprintf("%q", v))
		}
		return strings.Join(values, ", ")
	case s.Const != nil:
		return fmt.Sprintf("%q", s.Const)
	case s.Format != "":
		return string(s.Type) + " (" + s.Format + ")"
	case s.Type == "":
		return "any"
	}
	return string(s.Type)
}

// pretty is an example of a schema, indented.
func (doc *openAPIDoc) pretty(s schema) string {
	var b bytes.Buffer
	if err := json.Indent(&b, doc.example(s, 0), "", "  "); err != nil {
		return ""
	}
	return b.String()
}

// example is a value that fits a schema: its own example, or one made of its parts.
func (doc *openAPIDoc) example(s schema, depth int) []byte {
	if depth > 6 { // a schema that holds itself
		return []byte("null")
	}
	s = doc.resolve(s)
	literal := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			return []byte("null")
		}
		return b
	}
	switch {
	case len(s.Example) > 0:
		return s.Example
	case s.Const != nil:
		return literal(s.Const)
	case len(s.Enum) > 0:
		return literal(s.Enum[0])
	case len(s.AnyOf) > 0:
		return doc.example(s.AnyOf[0], depth+1)
	case s.Items != nil:
		return append(append([]byte("["), doc.example(*s.Items, depth+1)...), ']')
	case len(s.Properties) > 0 || s.Type == "object":
		b := []byte("{")
		for i, p := range s.Properties {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(append(b, literal(p.Key)...), ':'), doc.example(p.Value, depth+1)...)
		}
		return append(b, '}')
	}
	switch string(s.Type) + " " + s.Format {
	case "string uuid":
		return literal("01890a5d-ac96-774b-bcce-b302099a8057")
	case "string date":
		return literal("2026-01-31")
	case "string date-time":
		return literal("2026-01-31T12:00:00Z")
	}
	switch s.Type {
	case "string":
		return literal("…")
	case "integer", "number":
		return literal(1)
	case "boolean":
		return literal(true)
	}
	return literal(nil)
}

var plainHost = regexp.MustCompile(`^[A-Za-z0-9.\[\]:-]+$`)

// curl is a call of an endpoint that takes a key, to be pasted into a shell; base is the server's address.
func (r refOperation) curl(base string) string {
	if !r.ByKey {
		return ""
	}
	var b strings.Builder
	b.WriteString("curl ")
	if r.Method != http.MethodGet && r.Example == "" {
		b.WriteString("-X " + r.Method + " ")
	}
	b.WriteString(base + r.Path + " \\\n  -H \"Authorization: Bearer $RANKLOOP_KEY\"")
	if r.Example != "" {
		var compact bytes.Buffer
		if json.Compact(&compact, []byte(r.Example)) == nil {
			if r.Method != http.MethodPost {
				b.WriteString(" \\\n  -X " + r.Method)
			}
			b.WriteString(" \\\n  -H \"Content-Type: application/json\" \\\n  -d '" + strings.ReplaceAll(compact.String(), "'", `'\''`) + "'")
		}
	}
	return b.String()
}

type refCall struct {
	refOperation
	Curl string
}

type referenceData struct {
	helpData
	Intro   string
	Calls   []refCall
	Schemas []refSchema
}

func (s *server) referencePage(c *gin.Context) {
	base := "http://"
	if s.HTTPS {
		base = "https://"
	}
	host := c.Request.Host
	if !plainHost.MatchString(host) {
		host = "rankloop.example.com"
	}
	d := referenceData{helpData: helpData{s.help[s.language(c).Tag], helpPage{Name: "reference"}}, Intro: s.reference.Intro, Schemas: s.reference.Schemas}
	for _, r := range s.reference.Operations {
		d.Calls = append(d.Calls, refCall{r, r.curl(base + host)})
	}
	s.render(c, http.StatusOK, "reference", view{Title: "API reference", Nav: "docs", Data: d})
}

// schemaType is the type of a value. Of a list of types, one of which may be null, the other one counts.
type schemaType string

func (t *schemaType) UnmarshalJSON(b []byte) error {
	var list []string
	if json.Unmarshal(b, &list) != nil {
		return json.Unmarshal(b, (*string)(t))
	}
	for _, one := range list {
		if one != "null" {
			*t = schemaType(one)
		}
	}
	return nil
}
