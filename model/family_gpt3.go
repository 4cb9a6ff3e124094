package model

// The family gpt3 is that of Brown et al. 2020, section 2.1: GPT-2's architecture with
// dense and locally banded sparse attention in turn, the latter as in the Sparse
// Transformer (Child et al. 2019).
//
// Differences from gpt2: in the layers 1, 3, 5 ... a position sees the last Window
// positions only, its own included; the layers 0, 2, 4 ... are dense. The paper says
// neither which layers come first nor how wide the band is; both are as in EleutherAI's
// GPT-Neo (Black et al. 2021), which rebuilt it: dense first, 256 positions. The
// blocks, tensors and their names are those of gpt2, and with a Window of at least
// Context so is every bit. Initialisation is GPT-2's as well.

// defaultWindow is the width of the band where a Config does not say.
const defaultWindow = 256

func defaultsGPT3(c *Config) {
	c.Tied = true
	if c.Window == 0 {
		c.Window = defaultWindow
	}
}

func validateGPT3(c Config) error {
	if c.Window < 1 || c.Window > maxDim {
		return invalid("Window", "%d is not in 1..%d", c.Window, maxDim)
	}
	return nil
}

// window is how many positions those of layer l see, their own included; 0 = all up
// to it.
func (c Config) window(l int) int {
	if l%2 == 0 {
		return 0
	}
	return c.Window // 0 in the families that know no band
}

// bandStart is the first position that the one at position i sees; window 0 = all.
func bandStart(i, window int) int {
	if window == 0 {
		return 0
	}
	return max(0, i-window+1)
}
