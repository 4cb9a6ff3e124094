package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"

	"github.com/rankloop/rankloop/labeling/simulate"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/model/eval"
	"github.com/rankloop/rankloop/model/starter"
	"github.com/rankloop/rankloop/model/token"
)

// answer is one sampled answer with its gold score.
type answer struct {
	text  string
	ended bool
	ids   int
	gold  float64
	by    []simulate.Criterion
}

// reportOn samples k answers of base and SFT to n held-out prompts at temperature 1 and prints what the card quotes.
func reportOn(ctx context.Context, dir string, n int) error {
	w := simulate.Starter()
	prompts := w.Prompts(simulate.HeldOut(99), n)
	const k = 16
	var golds [2][]float64
	var owners []string
	for _, p := range prompts {
		for range k {
			owners = append(owners, p)
		}
	}
	for which, name := range []string{"base", "sft"} {
		c, err := checkpoint.Load(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		fmt.Printf("\n## %s: %d weights, card %v\n", name, c.Model.NumParams(), c.Card.Metrics)
		answers, err := sample(ctx, c, w, prompts, k)
		if err != nil {
			return err
		}
		golds[which] = describe(answers, owners)
		if name == "sft" {
			headroom(answers, prompts, k)
			agreement(w, answers, prompts, k)
		}
		for i := range 14 {
			a := answers[i*k]
			fmt.Printf("> %s\n  %s   [%.2f ended=%v]\n", prompts[i], a.text, a.gold, a.ended)
		}
	}
	fmt.Printf("\nSFT against base: win rate %s\n", show(eval.WinRate(golds[1], golds[0], owners)))
	demos := w.Demonstrations(simulate.HeldOut(7), 4000)
	var x []float64
	full := 0
	for _, d := range demos {
		x = append(x, w.Gold(d.Prompt, d.Response, true))
		by := w.Explain(d.Prompt, d.Response, true)
		if by[0].Points >= 2 && by[1].Points >= 1 {
			full++
		}
	}
	fmt.Printf("demonstrations: gold %s, follow fully %.3f\n", show(eval.Mean(x)), float64(full)/float64(len(demos)))
	return nil
}

func show(e eval.Estimate) string { return fmt.Sprintf("%.3f [%.3f, %.3f]", e.Mean, e.Low, e.High) }

func sample(ctx context.Context, c *checkpoint.Checkpoint, w simulate.World, prompts []string, k int) ([]answer, error) {
	t, err := token.Chat(starter.Template)
	if err != nil {
		return nil, err
	}
	var ids [][]int32
	for _, p := range prompts {
		text, err := t.Prompt([]token.Message{{Role: "user", Content: p}})
		if err != nil {
			return nil, err
		}
		for range k {
			ids = append(ids, c.Tokenizer.Encode(text))
		}
	}
	eos := c.Tokenizer.EOS()
	out, err := decode.Generate(ctx, c.Model, ids, decode.Params{MaxTokens: starter.MaxAnswer, Temperature: 1, TopP: 1, Seed: 5}, eos, nil)
	if err != nil {
		return nil, err
	}
	answers := make([]answer, len(out))
	for i, o := range out {
		a := answer{text: strings.TrimSpace(c.Tokenizer.Decode(o.IDs)), ended: o.Finish == decode.FinishStop, ids: len(o.IDs)}
		a.gold = w.Gold(prompts[i/k], a.text, a.ended)
		a.by = w.Explain(prompts[i/k], a.text, a.ended)
		answers[i] = a
	}
	return answers, nil
}

func describe(answers []answer, owners []string) []float64 {
	var gold []float64
	sums, n := map[string]float64{}, float64(len(answers))
	var order []string
	ended, full, length, fluent := 0.0, 0.0, 0.0, 0.0
	for _, a := range answers {
		gold = append(gold, a.gold)
		length += float64(a.ids)
		if a.ended {
			ended++
		}
		if a.by[0].Points >= 2 && a.by[1].Points >= 1 {
			full++
		}
		if a.by[5].Points == 0 {
			fluent++
		}
		for _, c := range a.by {
			if _, ok := sums[c.Name]; !ok {
				order = append(order, c.Name)
			}
			sums[c.Name] += c.Points
		}
	}
	e := eval.MeanByPrompt(gold, owners)
	sd := 0.0
	for _, g := range gold {
		sd += (g - e.Mean) * (g - e.Mean)
	}
	fmt.Printf("gold %s, sd %.2f; follows fully %.3f; ended %.3f; no odd pair %.3f; tokens %.1f\n", show(e), math.Sqrt(sd/n), full/n, ended/n, fluent/n, length/n)
	for _, name := range order {
		fmt.Printf("  %-10s %+.3f\n", name, sums[name]/n)
	}
	return gold
}

// headroom is the best of 1, 4 and 16 by gold.
func headroom(answers []answer, prompts []string, k int) {
	for _, of := range []int{1, 4, 16} {
		var best []float64
		for i := range prompts {
			b := math.Inf(-1)
			for j := range of {
				b = max(b, answers[i*k+j].gold)
			}
			best = append(best, b)
		}
		fmt.Printf("best of %d: gold %s\n", of, show(eval.Mean(best)))
	}
}

// agreement is how often two simulated labelers order a pair of answers alike, pairs that either ties left out; and how
// often one orders it as gold does.
func agreement(w simulate.World, answers []answer, prompts []string, k int) {
	cast := w.(simulate.Casting)
	rng := rand.New(rand.NewPCG(3, 3))
	same, pairs, right, decided, ties := 0, 0, 0, 0, 0
	const shown = 5
	for i := range prompts {
		texts := make([]string, shown)
		for j := range texts {
			texts[j] = answers[i*k+j].text
		}
		a := cast.Cast(1, rng.IntN(20)).Rank(w, prompts[i], texts)
		b := cast.Cast(2, rng.IntN(20)).Rank(w, prompts[i], texts)
		for x := range shown {
			for y := range x {
				g := answers[i*k+x].gold - answers[i*k+y].gold
				if a[x] == a[y] {
					ties++
				} else if g != 0 {
					decided++
					if (a[x] < a[y]) == (g > 0) {
						right++
					}
				}
				if a[x] != a[y] && b[x] != b[y] {
					pairs++
					if (a[x] < a[y]) == (b[x] < b[y]) {
						same++
					}
				}
			}
		}
	}
	fmt.Printf("labelers: agree %.3f of %d pairs; with gold %.3f; ties %.3f\n", float64(same)/float64(pairs), pairs,
		float64(right)/float64(decided), float64(ties)/float64(len(prompts)*shown*(shown-1)/2))
}
