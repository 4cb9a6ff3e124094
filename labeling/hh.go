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
	report, err := Import(r, "hh", func(rec Record) error {
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
	chosen, rejected := dialogues[0], dialogues[1]
	last := len(chosen) - 1
	if len(rejected) != len(chosen) {
		return nil, invalid("rejected", "%d turns where chosen has %d", len(rejected), len(chosen))
	}
	for i := range last {
		if chosen[i] != rejected[i] {
			return nil, invalid("rejected", "differs from chosen before the last turn")
		}
	}
	if chosen[last] == rejected[last] {
		return nil, invalid("rejected", "equal to chosen")
	}
	return []Record{{Messages: chosen[:last], Completions: []string{chosen[last].Content, rejected[last].Content}, Ranks: []int{1, 2}}}, nil
}

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
