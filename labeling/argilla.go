package labeling

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Argilla's records: {"id", "fields": {"prompt", "reply-1", ..}, "responses"}, where a
// ranking's value is [{"value": "reply-1", "rank": 1}, ..] and the same rank is a tie.
// responses is {question: [{"value", "user_id", "status"}]}, or as in version 1
// [{"user_id", "status", "values": {question: {"value"}}}]. Drafts and discarded ones are
// left out. The prompt is the field prompt (or instruction, question, text), which may be
// a conversation; answers are the fields that the ranking names, or, where it names other
// things, the fields beside the prompt in their order.

type argillaResponse struct {
	User   string          `json:"user_id"`
	Status string          `json:"status"`
	Value  json.RawMessage `json:"value"`
	Values map[string]struct {
		Value json.RawMessage `json:"value"`
	} `json:"values"`
}

type argillaRank struct {
	Value string `json:"value"`
	Rank  *int   `json:"rank"`
}

func parseArgilla(o object) ([]Record, error) {
	var fields object
	if err := need(o, "fields", &fields); err != nil {
		return nil, err
	}
	var base Record
	prompt := ""
	for _, name := range []string{"prompt", "instruction", "question", "text"} {
		if _, ok := fields[name]; !ok {
			continue
		}
		prompt = name
		var err error
		if isList(fields, name) {
			err = need(fields, name, &base.Messages)
		} else {
			err = need(fields, name, &base.Prompt)
		}
		if err != nil {
			return nil, err
		}
		break
	}
	if prompt == "" {
		return nil, invalid("fields", "no prompt, instruction, question or text")
	}
	var metadata object
	if _, err := field(o, "metadata", &metadata); err != nil {
		return nil, err
	}
	for name, at := range map[string]*string{"customer": &base.Customer, "split": &base.Split} {
		if _, err := field(metadata, name, at); err != nil {
			return nil, err
		}
	}
	names := make([]string, 0, 8) // of the answers
	for _, n := range keysOf(o["fields"]) {
		if n != prompt {
			names = append(names, n)
		}
	}
	responses, err := argillaResponses(o)
	if err != nil {
		return nil, err
	}
	var list []Record
	for _, a := range responses {
		if a.Status != "" && a.Status != "submitted" {
			continue
		}
		var ranks []argillaRank
		if json.Unmarshal(a.Value, &ranks) != nil || len(ranks) == 0 || ranks[0].Rank == nil {
			continue // an answer to another kind of question
		}
		r := base
		r.Labeler = a.User
		for i, v := range ranks {
			if v.Rank == nil {
				return nil, invalid("responses", "%q has no rank", v.Value)
			}
			name := v.Value
			if _, ok := fields[name]; !ok || name == prompt {
				at := number(v.Value) - 1
				if at < 0 || at >= len(names) {
					at = i
				}
				if at >= len(names) {
					return nil, invalid("responses", "%q is not a field", v.Value)
				}
				name = names[at]
			}
			var text string
			if err := need(fields, name, &text); err != nil {
				return nil, err
			}
			r.Completions, r.Ranks = append(r.Completions, text), append(r.Ranks, *v.Rank)
		}
		list = append(list, r)
	}
	if len(list) == 0 {
		return nil, invalid("responses", "no submitted ranking")
	}
	return list, nil
}

func argillaResponses(o object) ([]argillaResponse, error) {
	var list []argillaResponse
	if isList(o, "responses") {
		var old []argillaResponse
		if err := need(o, "responses", &old); err != nil {
			return nil, err
		}
		for _, r := range old {
			for _, v := range r.Values {
				list = append(list, argillaResponse{User: r.User, Status: r.Status, Value: v.Value})
			}
		}
		return list, nil
	}
	var by map[string][]argillaResponse
	if err := need(o, "responses", &by); err != nil {
		return nil, err
	}
	for _, question := range keysOf(o["responses"]) {
		list = append(list, by[question]...)
	}
	return list, nil
}

func encodeArgilla(w io.Writer) encoder {
	return &arrayEncoder{w: w, one: argillaRecord}
}

func argillaRecord(n int, p RankedPrompt) (json.RawMessage, int, error) {
	fields := append([]byte(`{"prompt":`), promptText(p)...)
	for i, c := range p.Completions {
		fields = appendText(fmt.Appendf(fields, `,"reply-%d":`, i+1), c.Text)
	}
	var responses []any
	for _, k := range p.Rankings {
		var value strings.Builder
		for i, r := range k.Ranks {
			fmt.Fprintf(&value, `%c{"value":"reply-%d","rank":%d}`, [2]byte{'[', ','}[min(i, 1)], i+1, r)
		}
		value.WriteByte(']')
		responses = append(responses, map[string]any{"user_id": k.LabelerID, "status": "submitted", "value": json.RawMessage(value.String())})
	}
	metadata := map[string]string{}
	if p.CustomerID != "" {
		metadata["customer"] = p.CustomerID
	}
	if p.Split != "" {
		metadata["split"] = p.Split
	}
	out, err := jsonText(map[string]any{"id": p.TaskID, "fields": json.RawMessage(append(fields, '}')), "metadata": metadata,
		"responses": map[string]any{"ranking": responses}, "suggestions": map[string]any{}})
	return out, len(p.Rankings), err
}
