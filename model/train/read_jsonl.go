package train

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rankloop/rankloop/model/token"
)

// columns says which columns of a file make up a row.
type columns struct {
	kind  Kind
	named map[string][]string // text, messages, prompt, completion -> the file's columns
}

// mapped reads Reading.Map; without one the kind stays open.
func mapped(m map[string]string) (columns, error) {
	c := columns{named: map[string][]string{"text": {"text"}, "messages": {"messages"}, "prompt": {"prompt"}, "completion": {"completion"}}}
	for field, column := range m {
		if c.named[field] == nil {
			return c, invalid("map", "%q is not text, messages, prompt or completion", field)
		}
		c.named[field] = strings.Split(column, "+")
		if slices.Contains(c.named[field], "") || field == "messages" && len(c.named[field]) > 1 {
			return c, invalid("map", "%q is no column for %s", column, field)
		}
		kind := KindPairs
		if field == "text" || field == "messages" {
			kind = Kind(field)
		}
		if c.kind != "" && c.kind != kind {
			return c, invalid("map", "it maps fields of %s and of %s; a file holds one kind of rows", c.kind, kind)
		}
		c.kind = kind
	}
	return c, nil
}

// settle decides the kind of a file by the columns that it has.
func (c *columns) settle(has func(column string) bool) error {
	all := func(field string) bool {
		return !slices.ContainsFunc(c.named[field], func(n string) bool { return !has(n) })
	}
	switch {
	case c.kind != "":
	case all("messages"):
		c.kind = KindMessages
	case all("prompt") && all("completion"):
		c.kind = KindPairs
	case all("text"):
		c.kind = KindText
	default:
		return fmt.Errorf("it has neither text, nor messages, nor prompt and completion; a map such as " +
			`{"prompt": "instruction", "completion": "output"} names the columns to take`)
	}
	return nil
}

// fields are the fields that rows of the kind have.
func (c *columns) fields() []string {
	if c.kind == KindPairs {
		return []string{"prompt", "completion"}
	}
	return []string{string(c.kind)}
}

// row puts a row together from its cells.
func (c *columns) row(text func(column string) (string, error), messages func(column string) ([]token.Message, error)) (Row, error) {
	row := Row{Kind: c.kind}
	if c.kind == KindMessages {
		column := c.named["messages"][0]
		list, err := messages(column)
		if err != nil {
			return row, err
		}
		row.Messages = list
		return row, checkMessages(column, list)
	}
	for _, field := range c.fields() {
		var parts []string
		for _, column := range c.named[field] {
			s, err := text(column)
			if err != nil {
				return row, err
			}
			if strings.TrimSpace(s) != "" {
				parts = append(parts, s)
			}
		}
		joined := strings.Join(parts, "\n\n")
		switch field {
		case "text":
			row.Text = joined
		case "prompt":
			row.Prompt = joined
		case "completion":
			row.Completion = joined
		}
	}
	return row, nil
}

// checkMessages refuses what no chat template can write, and conversations in which the assistant says nothing.
func checkMessages(column string, list []token.Message) error {
	if len(list) == 0 {
		return wrong(column, "has no message")
	}
	answers := false
	for i, m := range list {
		switch m.Role {
		case "system", "developer", "user":
		case "assistant":
			answers = true
		default:
			return wrong(fmt.Sprintf("%s[%d].role", column, i), "%q is not system, developer, user or assistant", clip(m.Role))
		}
	}
	if !answers {
		return wrong(column, "has no turn of the assistant")
	}
	return nil
}

func clip(s string) string { return string([]rune(s)[:min(len([]rune(s)), 40)]) }

// jsonl reads one JSON object a line; blank lines are passed over.
func (r Reading) jsonl(in *collector, stream io.Reader) error {
	cols, err := mapped(r.Map)
	if err != nil {
		return err
	}
	settled := false
	return lines(stream, func(n int, line []byte) error {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			return nil
		}
		row, err := jsonRow(line, func(has func(string) bool) (*columns, error) {
			if settled {
				return &cols, nil
			}
			err := cols.settle(has)
			settled = err == nil
			return &cols, err
		})
		if err != nil && line[0] == '[' && n == 1 {
			err = fmt.Errorf("is a JSON array; one object a line is wanted, as 'jq -c .[]' writes them")
		}
		return in.take(n, row, err)
	})
}

// jsonRow reads one object.
func jsonRow(line []byte, settle func(has func(string) bool) (*columns, error)) (Row, error) {
	if !utf8.Valid(line) {
		return Row{}, fmt.Errorf("is not UTF-8")
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(line, &object); err != nil || object == nil {
		if err == nil || json.Valid(line) {
			return Row{}, fmt.Errorf("is no JSON object")
		}
		return Row{}, fmt.Errorf("is not JSON: %w", err)
	}
	cols, err := settle(func(column string) bool { _, ok := object[column]; return ok })
	if err != nil {
		return Row{}, err
	}
	return cols.row(
		func(column string) (string, error) { return jsonString(object, column, column) },
		func(column string) ([]token.Message, error) {
			var list []map[string]json.RawMessage
			raw, ok := object[column]
			switch {
			case !ok:
				return nil, wrong(column, "is missing")
			case json.Unmarshal(raw, &list) != nil:
				return nil, wrong(column, "is not a list of objects with role and content")
			}
			out := make([]token.Message, len(list))
			for i, m := range list {
				at := fmt.Sprintf("%s[%d].", column, i)
				var err error
				if out[i].Role, err = jsonString(m, "role", at+"role"); err != nil {
					return nil, err
				}
				if out[i].Content, err = jsonString(m, "content", at+"content"); err != nil {
					return nil, err
				}
			}
			return out, nil
		})
}

func jsonString(object map[string]json.RawMessage, key, field string) (s string, err error) {
	raw, ok := object[key]
	if !ok {
		return "", wrong(field, "is missing")
	}
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", wrong(field, "is not a string")
	}
	return s, nil
}
