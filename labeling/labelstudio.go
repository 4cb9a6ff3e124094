package labeling

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Label Studio's JSON: an array (or lines) of tasks
//
//	{"id", "data": {"prompt", "items": [{"id", "title", "body"}]}, "annotations": [{"completed_by", "result": [..]}]}
//
// of which the results of type pairwise ("left", "right" or "none") and ranker are read.
// A ranker's value has had three shapes: a list of ids, best first; a list under the
// tag's name; lists under the names of buckets, with what is unranked under "_". Buckets
// are the ranks, in the order of the numbers in their names, or else as they stand, so
// those that share a bucket are tied. Written are buckets "rank-1", "rank-2", ...
//
// The prompt is data.prompt, or text, question, instruction; it may be a conversation.
// The answers of a pairwise result are the data fields that its to_name names, or a
// couple such as answer1 and answer2, text1 and text2, left and right.

type lsAnnotation struct {
	CompletedBy json.RawMessage `json:"completed_by"`
	Cancelled   bool            `json:"was_cancelled"`
	Result      []lsResult      `json:"result"`
}

type lsResult struct {
	Type  string `json:"type"`
	To    string `json:"to_name"`
	Value struct {
		Selected string          `json:"selected"`
		Ranker   json.RawMessage `json:"ranker"`
	} `json:"value"`
}

type lsItem struct {
	ID    json.RawMessage `json:"id"`
	Title string          `json:"title,omitempty"`
	Body  string          `json:"body"`
	HTML  string          `json:"html,omitempty"`
}

var lsCouples = [][2]string{{"answer1", "answer2"}, {"text1", "text2"}, {"response1", "response2"}, {"option1", "option2"}, {"left", "right"}, {"answer_a", "answer_b"}}

func parseLabelStudio(o object) ([]Record, error) {
	var data object
	var annotations []lsAnnotation
	for _, err := range []error{need(o, "data", &data), need(o, "annotations", &annotations)} {
		if err != nil {
			return nil, err
		}
	}
	var base Record
	for _, name := range []string{"prompt", "text", "question", "instruction"} {
		var err error
		there := false
		if isList(data, name) {
			there, err = field(data, name, &base.Messages)
		} else {
			there, err = field(data, name, &base.Prompt)
		}
		if err != nil {
			return nil, err
		}
		if there {
			break
		}
	}
	for name, at := range map[string]*string{"customer": &base.Customer, "split": &base.Split} {
		if _, err := field(data, name, at); err != nil {
			return nil, err
		}
	}
	var list []Record
	for i, a := range annotations {
		if a.Cancelled {
			continue
		}
		for j, result := range a.Result {
			r := base
			r.Labeler = lsPerson(a.CompletedBy)
			var err error
			switch result.Type {
			case "pairwise":
				err = r.pairwise(data, result)
			case "ranker":
				err = r.ranker(data, result)
			default:
				continue
			}
			if err != nil {
				if e, ok := err.(*InvalidError); ok {
					e.Field = fmt.Sprintf("annotations[%d].result[%d].%s", i, j, e.Field)
				}
				return nil, err
			}
			list = append(list, r)
		}
	}
	if len(list) == 0 {
		return nil, invalid("annotations", "no result of type pairwise or ranker")
	}
	return list, nil
}

// lsPerson names who annotated: a number, or an object with an address or id.
func lsPerson(raw json.RawMessage) string {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return ""
	}
	if raw[0] != '{' {
		return strings.Trim(string(raw), `"`)
	}
	var p struct {
		ID    json.Number `json:"id"`
		Email string      `json:"email"`
	}
	if json.Unmarshal(raw, &p) != nil {
		return ""
	}
	if p.Email != "" {
		return p.Email
	}
	return p.ID.String()
}

func (r *Record) pairwise(data object, result lsResult) error {
	couples := lsCouples
	if a, b, ok := strings.Cut(result.To, ","); ok {
		couples = append([][2]string{{strings.TrimSpace(a), strings.TrimSpace(b)}}, couples...)
	}
	at := slices.IndexFunc(couples, func(c [2]string) bool { return has(c[0], c[1])(data) })
	if at < 0 {
		return invalid("to_name", "its answers are not in data")
	}
	r.Completions = make([]string, 2)
	for i, name := range couples[at] {
		if err := need(data, name, &r.Completions[i]); err != nil {
			return err
		}
	}
	switch result.Value.Selected {
	case "left":
		r.Ranks = []int{1, 2}
	case "right":
		r.Ranks = []int{2, 1}
	case "none", "":
		r.Ranks = []int{1, 1}
	default:
		return invalid("value.selected", "%q is none of left, right, none", result.Value.Selected)
	}
	return nil
}

func (r *Record) ranker(data object, result lsResult) error {
	var items []lsItem
	for _, name := range []string{result.To, "items", "answers", "responses"} {
		if isList(data, name) {
			if err := need(data, name, &items); err != nil {
				return err
			}
			break
		}
	}
	at := map[string]int{}
	for i, it := range items {
		id := strings.Trim(string(it.ID), `"`)
		if _, double := at[id]; double || id == "" {
			return invalid("to_name", "item %d has no id of its own", i+1)
		}
		at[id] = i
		text := it.Body
		if text == "" {
			text = it.HTML
		}
		if text == "" {
			text = it.Title
		}
		r.Completions = append(r.Completions, text)
	}
	buckets, err := lsBuckets(result.Value.Ranker)
	if err != nil {
		return err
	}
	r.Ranks = make([]int, len(items))
	for rank, bucket := range buckets {
		for _, raw := range bucket {
			id := strings.Trim(string(raw), `"`)
			i, ok := at[id]
			if !ok || r.Ranks[i] != 0 {
				return invalid("value.ranker", "%q is not an item, or stands twice", id)
			}
			r.Ranks[i] = rank + 1
		}
	}
	if i := slices.Index(r.Ranks, 0); i >= 0 {
		return invalid("value.ranker", "item %d of %d is not ranked", i+1, len(items))
	}
	return nil
}

// lsBuckets are the ids of each rank, best first, in any of the three shapes.
func lsBuckets(raw json.RawMessage) ([][]json.RawMessage, error) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil {
		return singles(list), nil
	}
	var named map[string][]json.RawMessage
	if err := json.Unmarshal(raw, &named); err != nil {
		return nil, invalid("value.ranker", "neither a list nor lists by name")
	}
	if left := named["_"]; len(left) > 0 && len(named) > 1 {
		return nil, invalid("value.ranker", "%d items are not ranked", len(left))
	}
	names := slices.DeleteFunc(keysOf(raw), func(s string) bool { return s == "_" && len(named) > 1 })
	if len(names) == 1 && number(names[0]) < 0 {
		return singles(named[names[0]]), nil
	}
	if !slices.ContainsFunc(names, func(s string) bool { return number(s) < 0 }) {
		slices.SortStableFunc(names, func(a, b string) int { return number(a) - number(b) })
	}
	var out [][]json.RawMessage
	for _, n := range names {
		out = append(out, named[n])
	}
	return out, nil
}

func singles(list []json.RawMessage) [][]json.RawMessage {
	var out [][]json.RawMessage
	for _, v := range list {
		out = append(out, []json.RawMessage{v})
	}
	return out
}

// number is that at the end of a bucket's name, -1 without one.
func number(name string) int {
	at := len(name)
	for at > 0 && '0' <= name[at-1] && name[at-1] <= '9' {
		at--
	}
	n, err := strconv.Atoi(name[at:])
	if err != nil {
		return -1
	}
	return n
}

// arrayEncoder writes a JSON array, an element a line.
type arrayEncoder struct {
	w   io.Writer
	n   int
	one func(n int, p RankedPrompt) (json.RawMessage, int, error)
}

func (e *arrayEncoder) write(p RankedPrompt) (int, error) {
	text, n, err := e.one(e.n+1, p)
	if err != nil || n == 0 {
		return 0, err
	}
	before := ",\n"
	if e.n++; e.n == 1 {
		before = "[\n"
	}
	_, err = e.w.Write(append([]byte(before), text...))
	return n, err
}

func (e *arrayEncoder) close() error {
	end := "\n]\n"
	if e.n == 0 {
		end = "[]\n"
	}
	_, err := io.WriteString(e.w, end)
	return err
}

func encodeLabelStudio(w io.Writer) encoder {
	return &arrayEncoder{w: w, one: labelStudioTask}
}

func labelStudioTask(n int, p RankedPrompt) (json.RawMessage, int, error) {
	type text = json.RawMessage
	data := map[string]any{"prompt": text(promptText(p)), "task": p.TaskID}
	if p.CustomerID != "" {
		data["customer"] = p.CustomerID
	}
	if p.Split != "" {
		data["split"] = p.Split
	}
	var items []lsItem
	ids := make([]string, len(p.Completions))
	for i, c := range p.Completions {
		ids[i] = fmt.Sprintf("answer-%d", i+1)
		items = append(items, lsItem{ID: appendText(nil, ids[i]), Title: fmt.Sprintf("Answer %c", 'A'+i), Body: c.Text})
	}
	data["items"] = items
	var annotations []any
	for i, k := range p.Rankings {
		buckets := append([]byte{}, '{')
		for rank := 1; rank <= len(k.Ranks); rank++ {
			var bucket []string
			for j, r := range k.Ranks {
				if r == rank {
					bucket = append(bucket, ids[j])
				}
			}
			if bucket == nil {
				continue
			}
			if len(buckets) > 1 {
				buckets = append(buckets, ',')
			}
			list, err := jsonText(bucket)
			if err != nil {
				return nil, 0, err
			}
			buckets = append(fmt.Appendf(buckets, `"rank-%d":`, rank), list...)
		}
		annotations = append(annotations, map[string]any{"id": i + 1, "completed_by": map[string]string{"email": k.LabelerID}, "was_cancelled": false,
			"ground_truth": false, "result": []any{map[string]any{"from_name": "rank", "to_name": "items", "type": "ranker",
				"value": map[string]any{"ranker": text(append(buckets, '}'))}}}})
	}
	out, err := jsonText(map[string]any{"id": n, "data": data, "annotations": annotations, "predictions": []any{}})
	return out, len(p.Rankings), err
}
