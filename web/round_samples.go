package web

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/ppo/loop"
)

// samplesData are what the policy of a round answered to one prompt, over its steps.
type samplesData struct {
	loop.Round
	Prompts []promptChoice
	Chosen  promptChoice
	Columns []sampleColumn
	Scores  []loop.SampledScores
	HeldBy  string
	Plot    []curve        // reward model, held-out judge
	People  []comparedWith // closed comparisons of the round's policy that people judged
}

type promptChoice struct {
	Place    int
	Messages []labeling.Message
	Short    string
}

// sampleColumn is one answer.
type sampleColumn struct {
	loop.PolicySample
	KLSum  float64
	Again  float64 // share of its pairs of tokens that it had said before
	Longer int     // tokens, than the first one
	Tokens []sampleToken
}

type sampleToken struct {
	Text  string
	KL    float64
	P     float64 // that the policy gave it
	Shade string  // k-3 to k3
	Again bool
	End   bool // the end token, or another one without a text
}

// shadeSteps are the sizes of a token's KL in nats from which on a shade is darker.
var shadeSteps = []float64{0.1, 0.5, 1.5}

// shade is the class of a token's KL.
func shade(kl float64) string {
	n := 0
	for _, step := range shadeSteps {
		if math.Abs(kl) >= step {
			n++
		}
	}
	if kl < 0 {
		n = -n
	}
	return fmt.Sprintf("k%d", n)
}

// samplesPage shows the same prompt over the steps of a round's PPO, side by side.
func (s *server) samplesPage(c *gin.Context) {
	ctx := c.Request.Context()
	r, err := s.Loop.View(ctx, c.Param("id"))
	if err != nil {
		s.fail(c, err)
		return
	}
	d := samplesData{Round: r, Plot: make([]curve, 2)}
	asked := []loop.SampledPrompt{}
	if r.PPORunID != "" {
		if asked, err = s.Loop.SampledPrompts(ctx, r.PPORunID); err != nil {
			s.fail(c, err)
			return
		}
	}
	for _, a := range asked {
		p, err := s.Labeling.Prompt(ctx, a.ID)
		if errors.Is(err, labeling.ErrNotFound) || err == nil && !p.Usable { // erased or withdrawn meanwhile
			continue
		}
		if err != nil {
			s.fail(c, err)
			return
		}
		d.Prompts = append(d.Prompts, promptChoice{a.Place, p.Messages, clipRunes(labeling.Visible(p.Text), 90)})
	}
	if len(d.Prompts) > 0 {
		if err := s.chosenSamples(c, &d); err != nil {
			s.fail(c, err)
			return
		}
	}
	if err := s.judgedByPeople(ctx, &d); err != nil {
		s.fail(c, err)
		return
	}
	s.render(c, http.StatusOK, "samples", view{Title: s.say(c, "Round %d", r.Number), Nav: "rounds", Data: d})
}

// judgedByPeople fills in what people said of the round's policy where they did not know whose an answer was.
func (s *server) judgedByPeople(ctx context.Context, d *samplesData) error {
	list, err := s.comparedWith(ctx, d.PolicyVersionID, "")
	for _, v := range list {
		if v.Judged {
			d.People = append(d.People, v)
		}
	}
	return err
}

func (s *server) chosenSamples(c *gin.Context, d *samplesData) error {
	ctx := c.Request.Context()
	d.Chosen = d.Prompts[0]
	if v := c.Query("prompt"); v != "" {
		n, err := strconv.Atoi(v)
		i := slices.IndexFunc(d.Prompts, func(p promptChoice) bool { return p.Place == n })
		if err != nil || i < 0 {
			return bad("prompt", "is none of this round's")
		}
		d.Chosen = d.Prompts[i]
	}
	samples, err := s.Loop.Samples(ctx, d.PPORunID, d.Chosen.Place)
	if err != nil {
		return err
	}
	for _, x := range samples {
		d.Columns = append(d.Columns, columnOf(x, len(samples[0].IDs)))
		d.HeldBy = x.HeldBy
	}
	if d.Scores, err = s.Loop.SampledScores(ctx, d.PPORunID); err != nil {
		return err
	}
	for _, x := range d.Scores {
		d.Plot[0].X, d.Plot[0].Y = append(d.Plot[0].X, x.Iteration), append(d.Plot[0].Y, x.Proxy)
		if x.Held != nil {
			d.Plot[1].X, d.Plot[1].Y = append(d.Plot[1].X, x.Iteration), append(d.Plot[1].Y, *x.Held)
		}
	}
	return nil
}

// columnOf makes an answer ready to be read; first is the length of the first one in tokens.
func columnOf(x loop.PolicySample, first int) sampleColumn {
	again, share := x.Repeats()
	col := sampleColumn{PolicySample: x, KLSum: x.TotalKL(), Again: share, Longer: len(x.IDs) - first}
	for i, text := range x.Pieces {
		kl := float64(x.KL[i])
		col.Tokens = append(col.Tokens, sampleToken{Text: labeling.Visible(text), KL: kl, P: math.Exp(float64(x.Logprobs[i])), Shade: shade(kl), Again: again[i], End: text == ""})
	}
	return col
}

// Held is the held-out judge's score, as it is shown.
func (c sampleColumn) Held() string {
	if c.HeldScore == nil {
		return "–"
	}
	return num(*c.HeldScore)
}

// Many says whether so much of the answer was said before that it is worth a flag.
func (c sampleColumn) Many() bool { return c.Again > 0.15 }

// Odd says whether the answer is much longer or shorter than the first one.
func (c sampleColumn) Odd() bool {
	first := float64(len(c.IDs) - c.Longer)
	return float64(len(c.IDs)) > 1.5*first || float64(len(c.IDs)) < first/1.5
}
