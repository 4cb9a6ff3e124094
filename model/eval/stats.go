package eval

// Estimate is a mean with the half-open details needed to judge it: a 95% confidence interval and the counts.
type Estimate struct {
	Mean     float64
	Low      float64 // lower end of the 95% interval
	High     float64 // upper end of the 95% interval
	N        int     // observations
	Clusters int     // prompts; equals N where observations are independent
}

// Mean estimates the mean of independent observations.
func Mean(x []float64) Estimate { return Estimate{} }

// MeanByPrompt estimates the mean of observations clustered by prompt: x[i] belongs to prompt prompts[i].
func MeanByPrompt(x []float64, prompts []string) Estimate { return Estimate{} }

// WinRate estimates how often a scores above b on the same prompt, ties counting one half: a[i] and b[i] are scores of
// two answers to prompts[i].
func WinRate(a, b []float64, prompts []string) Estimate { return Estimate{} }
