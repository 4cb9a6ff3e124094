package eval

// Example is an item as a model is trained on it: what it would be asked without examples, and what follows.
type Example struct {
	Prompt     string `json:"prompt"`
	Completion string `json:"completion"`
}

// Training draws n more items of the task for a model to be fine-tuned on: none that Run asks with the same options, or takes
// as an example. They are fewer where the task has no more. Seed, N and Text of the options count.
func (t Task) Training(o Options, n int) []Example {
	ask, _ := t.sets(o.Seed, o.N+n, o.Text)
	var out []Example
	for _, it := range ask[min(o.N, len(ask)):] {
		out = append(out, Example{t.text(nil, it), it.shown()})
	}
	return out
}
