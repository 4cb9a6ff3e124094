package simulate

type starter struct{}

// Starter returns the world of the starter model.
func Starter() World { return starter{} }

func (starter) Name() string                                      { return "starter" }
func (starter) Corpus(seed uint64, n int) []string                { return nil }
func (starter) Demonstrations(seed uint64, n int) []Demonstration { return nil }
func (starter) Prompts(seed uint64, n int) []string               { return nil }
func (starter) Gold(prompt, response string, ended bool) float64  { return 0 }
func (starter) Explain(prompt, response string, ended bool) []Criterion {
	return nil
}
