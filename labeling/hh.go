package labeling

import (
	"io"
	"strings"
)

// Anthropic's HH-RLHF: {"chosen": dialogue, "rejected": dialogue}, where a dialogue is
// "\n\nHuman: ...\n\nAssistant: ..." and the two differ in the last assistant turn
// (Bai et al. 2022). Other fields are passed over.

// ParseHH reads such a file, plain or gzip, whole. Rejected lines are in the report.
func ParseHH(r io.Reader) ([]Record, ImportReport, error) {
	var list []Record
	report, err := Import(r, Reading{Format: "hh"}, func(rec Record) error {
		list = append(list, rec)
		return nil
	})
	return list, report, err
}

func parseHH(o object) ([]Record, error) {
	var dialogues [2][]Message
	for i, name := range []string{"chosen", "rejected"} {
		var text string
		err := need(o, name, &text)
		if err == nil {
			dialogues[i], err = parseDialogue(name, text)
		}
		if err != nil {
			return nil, err
		}
	}
	r, err := Record{}.differing(dialogues[0], dialogues[1])
	return []Record{r}, err
}

func isHH(o object) bool {
	return has("chosen", "rejected")(o) && !has("prompt")(o) && strings.HasPrefix(string(o["chosen"]), `"\n\nHuman:`)
}

type hhEncoder struct{ w io.Writer }

func encodeHH(w io.Writer) encoder { return hhEncoder{w} }

// write writes the strict pairs of each ranking. Dialogues with a system's turn, or with
// text that would be read as another turn, have no place in the format.
func (e hhEncoder) write(p RankedPrompt) (n int, err error) {
	var b strings.Builder
	turn := func(b *strings.Builder, m Message) bool {
		b.WriteString(map[string]string{"user": "\n\nHuman: ", "assistant": "\n\nAssistant: "}[m.Role] + m.Content)
		return m.Role != "system" && m.Content == strings.TrimSpace(m.Content) &&
			!strings.Contains(m.Content, "\n\nHuman:") && !strings.Contains(m.Content, "\n\nAssistant:")
	}
	for _, m := range conversationOf(p) {
		if !turn(&b, m) {
			return 0, nil
		}
	}
	for _, k := range p.Rankings {
		for _, pair := range Pairs(k.Ranks) {
			var ends [2]strings.Builder
			fits := p.Completions[pair[0]].Text != p.Completions[pair[1]].Text
			for i, at := range pair {
				ends[i].WriteString(b.String())
				fits = turn(&ends[i], Message{"assistant", p.Completions[at].Text}) && fits
			}
			if !fits {
				continue
			}
			line := appendText([]byte(`{"chosen":`), ends[0].String())
			line = append(appendText(append(line, `,"rejected":`...), ends[1].String()), "}\n"...)
			if _, err := e.w.Write(line); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}

func (hhEncoder) close() error { return nil }

// parseDialogue splits a dialogue into its turns, the last of which is the assistant's.
func parseDialogue(field, text string) ([]Message, error) {
	var turns []Message
	rest := text
	for rest != "" {
		role, after := "user", ""
		var ok bool
		if after, ok = strings.CutPrefix(rest, "\n\nHuman:"); !ok {
			if after, ok = strings.CutPrefix(rest, "\n\nAssistant:"); !ok {
				return nil, invalid(field, "does not begin with a turn of Human or Assistant")
			}
			role = "assistant"
		}
		end := len(after)
		for _, mark := range []string{"\n\nHuman:", "\n\nAssistant:"} {
			if i := strings.Index(after, mark); i >= 0 && i < end {
				end = i
			}
		}
		turns = append(turns, Message{Role: role, Content: strings.TrimSpace(after[:end])})
		rest = after[end:]
	}
	if len(turns) < 2 || turns[len(turns)-1].Role != "assistant" {
		return nil, invalid(field, "does not end with an answer of Assistant")
	}
	return turns, nil
}
