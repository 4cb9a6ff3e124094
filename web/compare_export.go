package web

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"strconv"

	"github.com/rankloop/rankloop/ppo/loop"
)

// compareDots are the win rates of a result as a picture shows them: people's, length-controlled, the reward model's, by category.
func compareDots(r loop.CompareReport, people, controlled, proxy, other string) (dots []dot) {
	add := func(label string, e loop.Estimate) { dots = append(dots, dot{label, e.Value, e.Low, e.High}) }
	if r.Judged > 0 {
		add(people, r.Win)
		add(controlled, r.LengthControlled)
	}
	if r.Reward != nil {
		add(proxy, *r.Reward)
	}
	for _, s := range r.Slices {
		add(cmp.Or(s.Name, other), s.Win)
	}
	return dots
}

// compareJSON is a closed comparison with its report and all pairs and votes.
func compareJSON(v loop.Comparison, list []loop.ComparePair) ([]byte, error) {
	return json.Marshal(struct {
		Comparison loop.Comparison    `json:"comparison"`
		Pairs      []loop.ComparePair `json:"pairs"`
	}{v, list})
}

// compareCSV has a row for each judgement, and one for each pair that nobody judged; RFC 4180 with a byte order mark.
func compareCSV(_ loop.Comparison, list []loop.ComparePair) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("\ufeff")
	w := csv.NewWriter(&b)
	w.UseCRLF = true
	number := func(x *float64) string {
		if x == nil {
			return ""
		}
		return strconv.FormatFloat(*x, 'g', -1, 64)
	}
	w.Write([]string{"pair", "category", "state", "prompt", "answer_a", "answer_b", "tokens_a", "tokens_b", "length_a", "length_b", "reward_a", "reward_b", "kl", "first", "labeler_id", "b_wins", "strength"}) // a buffer takes all
	for _, p := range list {
		prompt := ""
		if n := len(p.Messages); n > 0 {
			prompt = p.Messages[n-1].Content
		}
		row := []string{strconv.Itoa(p.Position + 1), inert(p.Category), p.State, inert(prompt), inert(p.A), inert(p.B), strconv.Itoa(p.TokensA), strconv.Itoa(p.TokensB), strconv.Itoa(p.LengthA), strconv.Itoa(p.LengthB),
			number(p.RewardA), number(p.RewardB), number(p.KL), p.First}
		if len(p.Votes) == 0 {
			w.Write(append(row, "", "", ""))
		}
		for _, vote := range p.Votes {
			w.Write(append(row[:len(row):len(row)], inert(vote.Labeler), number(&vote.B), strconv.Itoa(vote.Strength)))
		}
	}
	w.Flush()
	return b.Bytes(), w.Error()
}
