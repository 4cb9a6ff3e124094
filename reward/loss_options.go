package reward

import "math"

// What is made of ties.
const (
	TiesDrop      = "drop"       // tied answers form no pair (Ouyang et al. 2022, appendix C.2); also ""
	TiesRaoKupper = "rao-kupper" // Rao & Kupper 1967
	TiesDavidson  = "davidson"   // Davidson 1970
)

// What the margin of a pair comes from.
const (
	MarginConstant = "constant" // the same for every pair
	MarginRank     = "rank"     // rank distance: MarginSize * (rank of l - rank of w) / (K-1)
	MarginStrength = "strength" // the labeler's strength s of 1 to 4: MarginSize * (s-1)/3; none where it was not given
)

// What is made of labels that are wrong by chance.
const (
	NoiseConservative = "conservative" // cross-entropy with softened labels (Mitchell 2023, cDPO)
	NoiseMixture      = "mixture"      // likelihood of a label that was flipped with that chance
)

// Loss says how a ranking becomes a loss. The zero value is InstructGPT's eq. 1. With d the reward of the answer ranked
// higher less that of the other, m the margin and e the chance of a flipped label, a decided pair costs, in nats,
//
//	drop, no options     -log sigmoid(d)
//	margin               -log sigmoid(d - m)                                (Touvron et al. 2023, Llama 2, eq. 2)
//	conservative noise   -(1-e) log p(d) - e log p(-d)                      p = the pair's probability below
//	mixture noise        -log((1-e) p(d) + e p(-d))                         (labels flipped as by Gao et al. 2022, Coste et al. 2023)
//	Rao-Kupper           p(d) = sigmoid(d - h), tie: sigmoid(d + h) - sigmoid(d - h)     h = Tie > 0, the threshold in nats
//	Davidson             p(d) = exp(d/2)/Z, tie: v/Z, Z = exp(d/2) + exp(-d/2) + v       v = Tie > 0; v/(2+v) of equals are tied
//
// A tie is not flipped. Tie is fixed, not learned: fixed, the gradient of a prompt stays a function of its own rewards alone,
// and the data say what it should be. Among answers of equal reward, a share t of ties asks for h = log((1+t)/(1-t)) or v =
// 2t/(1-t).
type Loss struct {
	Ties       string  `json:"ties,omitempty"`        // "" = TiesDrop, TiesRaoKupper, TiesDavidson
	Tie        float64 `json:"tie,omitempty"`         // h or v above; positive where Ties models them
	Margin     string  `json:"margin,omitempty"`      // "" = none, MarginConstant, MarginRank, MarginStrength
	MarginSize float64 `json:"margin_size,omitempty"` // nats
	Noise      string  `json:"noise,omitempty"`       // "" = none, NoiseConservative, NoiseMixture
	Flip       float64 `json:"flip,omitempty"`        // e, chance that a label is the wrong way round, below one half
}

func (l Loss) validate() error {
	switch l.Ties {
	case "", TiesDrop:
		if l.Tie != 0 {
			return invalid("loss.tie", "%g has a meaning with ties %s and %s only", l.Tie, TiesRaoKupper, TiesDavidson)
		}
	case TiesRaoKupper, TiesDavidson:
		if !(l.Tie > 0 && l.Tie <= 20) {
			return invalid("loss.tie", "%g; ties %s wants a number above 0, 20 at most", l.Tie, l.Ties)
		}
		if l.Margin != "" {
			return invalid("loss.margin", "goes with ties %s only: a modelled tie is a margin already", TiesDrop)
		}
	default:
		return invalid("loss.ties", "%q is none of %s, %s, %s", l.Ties, TiesDrop, TiesRaoKupper, TiesDavidson)
	}
	switch l.Margin {
	case "":
		if l.MarginSize != 0 {
			return invalid("loss.margin_size", "%g has no meaning without a margin", l.MarginSize)
		}
	case MarginConstant, MarginRank, MarginStrength:
		if !(l.MarginSize > 0) || math.IsInf(l.MarginSize, 0) {
			return invalid("loss.margin_size", "%g; a margin is a positive number of nats", l.MarginSize)
		}
		if l.Noise != "" {
			return invalid("loss.noise", "goes without a margin: nobody has said what the margin of a flipped label is")
		}
	default:
		return invalid("loss.margin", "%q is none of %s, %s, %s", l.Margin, MarginConstant, MarginRank, MarginStrength)
	}
	switch l.Noise {
	case "":
		if l.Flip != 0 {
			return invalid("loss.flip", "%g has a meaning with noise %s or %s only", l.Flip, NoiseConservative, NoiseMixture)
		}
	case NoiseConservative, NoiseMixture:
		if !(l.Flip > 0 && l.Flip < 0.5) {
			return invalid("loss.flip", "%g; the chance of a flipped label is above 0 and below one half", l.Flip)
		}
	default:
		return invalid("loss.noise", "%q is none of %s, %s", l.Noise, NoiseConservative, NoiseMixture)
	}
	return nil
}

// plain is l with the names of what is the default taken away.
func (l Loss) plain() Loss {
	if l.Ties == TiesDrop {
		l.Ties = ""
	}
	return l
}

// margin of a pair in nats; distance is the difference of ranks, k the number of answers.
func (l Loss) margin(distance, k int, strength float64) float64 {
	switch l.Margin {
	case MarginConstant:
		return l.MarginSize
	case MarginRank:
		return l.MarginSize * float64(distance) / float64(k-1)
	case MarginStrength:
		return l.MarginSize * max(0, strength-1) / 3
	}
	return 0
}

// pair is the loss of one pair and its derivative by d = reward(w) - reward(l).
func (l Loss) pair(d float64, tied bool, margin float64) (loss, grad float64) {
	if tied {
		return l.tie(d)
	}
	right, dRight := l.decided(d - margin)
	if l.Noise == "" {
		return right, dRight
	}
	wrong, dWrong := l.decided(-d)
	dWrong = -dWrong
	if l.Noise == NoiseConservative {
		return (1-l.Flip)*right + l.Flip*wrong, (1-l.Flip)*dRight + l.Flip*dWrong
	}
	// -log of a sum of two likelihoods: the gradient is shared by how much each of them explains the label.
	a, b := math.Log1p(-l.Flip)-right, math.Log(l.Flip)-wrong
	q := sigmoid(b - a)
	return -(math.Max(a, b) + math.Log1p(math.Exp(-math.Abs(a-b)))), (1-q)*dRight + q*dWrong
}

// decided is -log p(d) and its derivative.
func (l Loss) decided(d float64) (loss, grad float64) {
	switch l.Ties {
	case TiesRaoKupper:
		d -= l.Tie
	case TiesDavidson:
		z, slope := davidson(d, l.Tie)
		return z - d/2, slope - 0.5
	}
	return softplus(-d), -sigmoid(-d)
}

// tie is -log of the probability of a tie, and its derivative.
func (l Loss) tie(d float64) (loss, grad float64) {
	if l.Ties == TiesDavidson {
		z, slope := davidson(d, l.Tie)
		return z - math.Log(l.Tie), slope
	}
	// sigmoid(d+h) - sigmoid(d-h) = (exp(2h) - 1) sigmoid(d-h) sigmoid(-d-h), which nothing cancels in.
	h := l.Tie
	return softplus(h-d) + softplus(h+d) - 2*h - math.Log(-math.Expm1(-2*h)), sigmoid(h+d) - sigmoid(h-d)
}

// davidson is log Z and its derivative by d, for any d.
func davidson(d, v float64) (logZ, slope float64) {
	a := math.Abs(d) / 2
	rest := math.Exp(-2*a) + v*math.Exp(-a) // Z = exp(a) (1 + rest)
	slope = 0.5 * -math.Expm1(-2*a) / (1 + rest)
	if d < 0 {
		slope = -slope
	}
	return a + math.Log1p(rest), slope
}
