package labeling

import "strings"

// Instructions with an answer, as instruction tuning sets publish them:
//
//	{"instruction", "input", "output" | "response" | "completion"}     Alpaca, AlpacaFarm, GPTeacher
//	{"instruction", "instances": [{"input", "output"}, ..]}            Self-Instruct
//	{"question", "answer"}, {"context", "sample"}                      InstructGPT's published samples
//	{"turns": ["..", ..]}                                              MT-Bench: the first turn is a prompt
//
// They become demonstrations, and prompts where there is no answer.

func isInstruction(o object) bool {
	return has("instruction")(o) || has("turns")(o) || has("question", "answer")(o) || has("context", "sample")(o)
}

func parseInstruction(o object) ([]Record, error) {
	var turns []string
	if ok, err := field(o, "turns", &turns); ok || err != nil {
		if err == nil && len(turns) == 0 {
			err = invalid("turns", "empty")
		}
		if err != nil {
			return nil, err
		}
		return []Record{{Kind: Asked, Prompt: turns[0]}}, nil
	}
	for _, names := range [][2]string{{"question", "answer"}, {"context", "sample"}} {
		if has(names[0], names[1])(o) {
			r := Record{Kind: Demonstrated, Completions: make([]string, 1)}
			for _, err := range []error{need(o, names[0], &r.Prompt), need(o, names[1], &r.Completions[0])} {
				if err != nil {
					return nil, err
				}
			}
			return []Record{r}, nil
		}
	}
	var instruction string
	if err := need(o, "instruction", &instruction); err != nil {
		return nil, err
	}
	var instances []struct{ Input, Output string }
	if ok, err := field(o, "instances", &instances); err != nil {
		return nil, err
	} else if ok {
		var list []Record
		for _, v := range instances {
			list = append(list, instructed(instruction, v.Input, v.Output))
		}
		if len(list) == 0 {
			return nil, invalid("instances", "empty")
		}
		return list, nil
	}
	var input, output string
	if _, err := field(o, "input", &input); err != nil {
		return nil, err
	}
	for _, name := range []string{"output", "response", "completion"} {
		if ok, err := field(o, name, &output); err != nil {
			return nil, err
		} else if ok {
			break
		}
	}
	return []Record{instructed(instruction, input, output)}, nil
}

func instructed(instruction, input, output string) Record {
	r := Record{Kind: Asked, Prompt: instruction}
	if strings.TrimSpace(input) != "" {
		r.Prompt += "\n\n" + input
	}
	if strings.TrimSpace(output) != "" {
		r.Kind, r.Completions = Demonstrated, []string{output}
	}
	return r
}
