package eval

import "testing"

// What a model is fine-tuned on is never asked, nor shown as an example, and is as long as it can be.
func TestTrainingIsDisjoint(t *testing.T) {
	text := story(200)
	for _, task := range Tasks() {
		o := Options{Seed: 3, N: 20, Text: text}
		ask, pool := task.sets(o.Seed, o.N, o.Text)
		taken := map[string]bool{}
		for _, it := range append(ask, pool...) {
			taken[task.text(nil, it)] = true
		}
		got := task.Training(o, 30)
		seen := map[string]bool{}
		for _, e := range got {
			if taken[e.Prompt] {
				t.Errorf("%s: %q is asked or shown too", task.Name, e.Prompt)
			}
			if seen[e.Prompt] || e.Completion == "" {
				t.Errorf("%s: %q twice, or without an answer", task.Name, e.Prompt)
			}
			seen[e.Prompt] = true
		}
		if len(got) != 30 && !task.NeedsText && task.Name != "addition-1" && task.Name != "subtraction-1" {
			t.Errorf("%s: %d examples", task.Name, len(got))
		}
	}
}
