package labeling

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Hugging Face TRL's dataset formats (docs/source/dataset_formats.md of that project),
// standard (text) and conversational (lists of role and content):
//
//	preference             {"prompt", "chosen", "rejected"}, or chosen and rejected that begin with the same prompt
//	unpaired preference    {"prompt", "completion", "label": true | false}
//	prompt-completion      {"prompt", "completion"}
//	language modeling      {"messages": [..]} or {"text": ".."}
//	prompt only            {"prompt"}
//
// A completion of an unpaired record whose label is false is not one to learn from: its
// prompt alone is taken. Of further columns labeler, customer and split are read.
//
// Written are the strict pairs of each ranking; ties have none. group is the same for all
// pairs of a ranking, so that they can be kept in one batch and on one side of a split;
// score is K - rank, and margin their difference.

func isTRL(o object) bool {
	for _, f := range []string{"prompt", "chosen", "messages", "text"} {
		if _, ok := o[f]; ok {
			return true
		}
	}
	return false
}

// isList tells whether a field holds a list.
func isList(o object, name string) bool {
	raw := bytes.TrimSpace(o[name])
	return len(raw) > 0 && raw[0] == '['
}

func parseTRL(o object) ([]Record, error) {
	var r Record
	for name, at := range map[string]*string{"labeler": &r.Labeler, "customer": &r.Customer, "split": &r.Split} {
		if _, err := field(o, name, at); err != nil {
			return nil, err
		}
	}
	var err error
	switch {
	case has("chosen", "rejected")(o):
		err = trlPreference(o, &r)
	case has("completion")(o):
		err = trlCompletion(o, &r)
	case has("messages")(o):
		if err = need(o, "messages", &r.Messages); err == nil {
			err = r.splitAnswer("messages")
		}
	case has("text")(o):
		r.Kind = Asked
		err = need(o, "text", &r.Prompt)
	default:
		r.Kind = Asked
		err = trlPrompt(o, &r)
	}
	if err != nil {
		return nil, err
	}
	return []Record{r}, nil
}

// splitAnswer makes a demonstration of a conversation that the assistant ends, and a
// prompt of one that the user ends.
func (r *Record) splitAnswer(name string) error {
	last := len(r.Messages) - 1
	if last < 0 {
		return invalid(name, "empty")
	}
	r.Kind = Asked
	if r.Messages[last].Role == "assistant" {
		r.Kind, r.Completions = Demonstrated, []string{r.Messages[last].Content}
		r.Messages = r.Messages[:last]
		if last == 0 {
			return invalid(name, "an answer to nothing")
		}
	}
	return nil
}

func trlPrompt(o object, r *Record) error {
	if isList(o, "prompt") {
		return need(o, "prompt", &r.Messages)
	}
	return need(o, "prompt", &r.Prompt)
}

// trlAnswer is a completion: text, or a list that holds the assistant's one turn.
func trlAnswer(o object, name string) (string, error) {
	if !isList(o, name) {
		var text string
		err := need(o, name, &text)
		return text, err
	}
	var turns []Message
	if err := need(o, name, &turns); err != nil {
		return "", err
	}
	if len(turns) != 1 || turns[0].Role != "assistant" {
		return "", invalid(name, "%d turns; one of the assistant is wanted", len(turns))
	}
	return turns[0].Content, nil
}

func trlCompletion(o object, r *Record) error {
	if err := trlPrompt(o, r); err != nil {
		return err
	}
	text, err := trlAnswer(o, "completion")
	if err != nil {
		return err
	}
	good := true
	if _, err := field(o, "label", &good); err != nil {
		return err
	}
	r.Kind = Asked
	if good {
		r.Kind, r.Completions = Demonstrated, []string{text}
	}
	return nil
}

func trlPreference(o object, r *Record) error {
	whole := isList(o, "chosen") && isList(o, "rejected") // conversational and with the prompt inside
	if has("prompt")(o) {
		chosen, err := trlAnswer(o, "chosen")
		if err == nil {
			var rejected string
			if rejected, err = trlAnswer(o, "rejected"); err == nil {
				r.Completions = []string{chosen, rejected}
				err = trlPrompt(o, r)
			}
		}
		if err == nil || !whole {
			return r.twoAnswers(err)
		}
	}
	if whole {
		var chosen, rejected []Message
		for _, err := range []error{need(o, "chosen", &chosen), need(o, "rejected", &rejected)} {
			if err != nil {
				return err
			}
		}
		var err error
		*r, err = r.differing(chosen, rejected)
		return err
	}
	var texts [2]string
	for i, name := range []string{"chosen", "rejected"} {
		if err := need(o, name, &texts[i]); err != nil {
			return err
		}
	}
	if strings.HasPrefix(texts[0], "\n\nHuman:") {
		list, err := parseHH(o)
		if err == nil {
			list[0].Labeler, list[0].Customer, list[0].Split = r.Labeler, r.Customer, r.Split
			*r = list[0]
		}
		return err
	}
	n := commonPrefix(texts[0], texts[1])
	if n > 0 && texts[0][n-1] == ' ' { // the space goes with the answers, as in TRL's extract_prompt
		n--
	}
	r.Prompt, r.Completions = texts[0][:n], []string{texts[0][n:], texts[1][n:]}
	return r.twoAnswers(nil)
}

func (r *Record) twoAnswers(err error) error {
	if err == nil && r.Completions[0] == r.Completions[1] {
		err = invalid("rejected", "equal to chosen")
	}
	r.Ranks = []int{1, 2}
	return err
}

// commonPrefix is how many bytes of whole characters a and b begin with alike.
func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) {
		_, size := utf8.DecodeRuneInString(a[n:])
		if len(b) < n+size || a[n:n+size] != b[n:n+size] {
			break
		}
		n += size
	}
	return n
}

// differing makes a record of two conversations that differ in their last turn, the
// assistant's.
func (r Record) differing(chosen, rejected []Message) (Record, error) {
	last := len(chosen) - 1
	if last < 1 || chosen[last].Role != "assistant" {
		return r, invalid("chosen", "does not end with an answer of the assistant")
	}
	if len(rejected) != len(chosen) {
		return r, invalid("rejected", "%d turns where chosen has %d", len(rejected), len(chosen))
	}
	for i := range last {
		if chosen[i] != rejected[i] {
			return r, invalid("rejected", "differs from chosen before the last turn")
		}
	}
	if rejected[last].Role != "assistant" {
		return r, invalid("rejected", "does not end with an answer of the assistant")
	}
	if chosen[last] == rejected[last] {
		return r, invalid("rejected", "equal to chosen")
	}
	r.Prompt, r.Messages, r.Completions, r.Ranks = "", chosen[:last], []string{chosen[last].Content, rejected[last].Content}, []int{1, 2}
	return r, nil
}

type trlEncoder struct{ w io.Writer }

func encodeTRL(w io.Writer) encoder { return trlEncoder{w} }

func (e trlEncoder) write(p RankedPrompt) (n int, err error) {
	prompt := appendMessages(nil, conversationOf(p))
	answer := func(line []byte, name string, at int) []byte {
		line = append(appendText(append(line, ','), name), ':')
		return appendMessages(line, []Message{{"assistant", p.Completions[at].Text}})
	}
	for _, k := range p.Rankings {
		for _, pair := range Pairs(k.Ranks) {
			if p.Completions[pair[0]].Text == p.Completions[pair[1]].Text {
				continue
			}
			line := append([]byte(`{"prompt":`), prompt...)
			line = answer(answer(line, "chosen", pair[0]), "rejected", pair[1])
			won, lost := len(k.Ranks)-k.Ranks[pair[0]], len(k.Ranks)-k.Ranks[pair[1]]
			line = fmt.Appendf(line, `,"score_chosen":%d,"score_rejected":%d,"margin":%d,"group":`, won, lost, won-lost)
			line = appendSource(appendText(line, groupOf(p, k)), p, k)
			if _, err := e.w.Write(append(line, "}\n"...)); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}

func (trlEncoder) close() error { return nil }

// groupOf is the same for all pairs of one ranking.
func groupOf(p RankedPrompt, k LabelerRanking) string {
	if k.RankingID != "" {
		return k.RankingID
	}
	return p.TaskID + " " + k.LabelerID
}

func conversationOf(p RankedPrompt) []Message {
	if len(p.Messages) > 0 {
		return p.Messages
	}
	return []Message{{"user", p.Prompt}}
}
