package loop

import (
	"context"
	"fmt"
	"math"
	"path/filepath"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/model/eval"
	"github.com/rankloop/rankloop/model/token"
)

// Judge scores an answer; higher is better. In demos and experiments it is the world's declared gold preference,
// elsewhere the round's own reward model.
type Judge interface {
	Name() string // "gold" or "reward model"
	// Judge scores each answer. prompts are as the user typed them, ids the whole sequences, ended whether the
	// answer stopped by itself.
	Judge(ctx context.Context, answers []Answer) ([]float64, error)
}

// Answer is what a judge sees.
type Answer struct {
	Prompt   string
	Response string
	Ended    bool
	Sequence model.Sequence
}

// evalPrompt is one held-out prompt.
type evalPrompt struct {
	ID   string
	Text string  // as typed
	IDs  []int32 // rendered and encoded
}

// evalChunk is how many prompts one unit of work takes.
const evalChunk = 64

// The policies that an evaluation compares, in the order of its samples.
const (
	evalSFT = iota
	evalBefore
	evalAfter
	evalPolicies
)

// evaluation samples held-out prompts from the SFT policy, the serving one and the new one, and judges the answers. It is a
// run.Trainer: a unit of work is a chunk of prompts, and its state is what was measured so far.
type evaluation struct {
	cfg     Config
	prompts []evalPrompt
	models  [evalPolicies]*model.Transformer // before may be the very SFT model
	tok     token.Tokenizer
	judge   Judge
	state   evalState
}

// evalState is all that an evaluation has measured, row by row; a row is one answer per policy to one prompt. It is written to disk,
// where no erasure looks: so there is no text in it, nor tokens (see examples).
type evalState struct {
	Next   int                     `json:"next"`   // prompts done
	Prompt []string                `json:"prompt"` // [row] prompt id
	Score  [evalPolicies][]float64 `json:"score"`  // [policy][row] judge's score
	KL     []float64               `json:"kl"`     // [row] sum of log pi(y) - log sft(y) on the new policy's answer, nats
	Ended  int                     `json:"ended"`  // new policy's answers that stopped by themselves
	Tokens int                     `json:"tokens"` // new policy's response tokens
}

func (e *evaluation) Progress() (step, total int) {
	chunks := func(n int) int { return (n + evalChunk - 1) / evalChunk }
	return chunks(e.state.Next), chunks(len(e.prompts))
}

func (e *evaluation) Done() bool { return e.state.Next >= len(e.prompts) }

func (e *evaluation) Step(ctx context.Context) (map[string]float64, error) {
	chunk := e.prompts[e.state.Next:min(e.state.Next+evalChunk, len(e.prompts))]
	var answers [evalPolicies][]Answer
	for i, m := range e.models {
		if i == evalBefore && m == e.models[evalSFT] {
			answers[i] = answers[evalSFT]
			continue
		}
		var err error
		if answers[i], err = e.answer(ctx, i, chunk, e.state.Next); err != nil {
			return nil, err
		}
	}
	score, err := e.judgeAll(ctx, answers)
	if err != nil {
		return nil, err
	}
	var after []model.Sequence
	for _, a := range answers[evalAfter] {
		after = append(after, a.Sequence)
	}
	kl := divergence(e.models[evalAfter], e.models[evalSFT], after)
	for r, a := range answers[evalAfter] {
		p := chunk[r/e.cfg.EvalSamples]
		e.state.Prompt = append(e.state.Prompt, p.ID)
		for i := range score {
			e.state.Score[i] = append(e.state.Score[i], score[i][r])
		}
		e.state.KL = append(e.state.KL, kl[r])
		e.state.Tokens += len(a.Sequence.IDs) - a.Sequence.Start
		if a.Ended {
			e.state.Ended++
		}
	}
	e.state.Next += len(chunk)
	return map[string]float64{
		"score_sft": eval.Mean(e.state.Score[evalSFT]).Mean, "score_before": eval.Mean(e.state.Score[evalBefore]).Mean,
		"score_after": eval.Mean(e.state.Score[evalAfter]).Mean, "kl": eval.Mean(e.state.KL).Mean,
	}, nil
}

// answer samples a policy's answers to prompts that begin at place from of all of them: EvalSamples rows a prompt. A row depends on
// its prompt, and on its place among those that begin there.
func (e *evaluation) answer(ctx context.Context, policy int, prompts []evalPrompt, from int) ([]Answer, error) {
	var rows [][]int32
	for _, p := range prompts {
		for range e.cfg.EvalSamples {
			rows = append(rows, p.IDs)
		}
	}
	m := e.models[policy]
	seed := e.cfg.Seed ^ uint64(policy+1)<<56 ^ uint64(from+1)<<20
	out, err := decode.Generate(ctx, m, rows, decode.Params{MaxTokens: e.cfg.MaxTokens, Temperature: 1, TopP: 1, Seed: seed}, int32(m.Config().EOS), nil)
	if err != nil {
		return nil, err
	}
	answers := make([]Answer, len(out))
	for r, o := range out {
		p := prompts[r/e.cfg.EvalSamples]
		answers[r] = Answer{Prompt: p.Text, Response: responseText(e.tok, o, m.Config().EOS), Ended: o.Finish == "stop", Sequence: join(p.IDs, o.IDs)}
	}
	return answers, nil
}

// evalShown is how many prompts a report shows with the answers to them.
const evalShown = 12

// examples are what a report shows of the first prompts: the answers that were measured, drawn once more, since no state keeps them.
func (e *evaluation) examples(ctx context.Context) ([]Example, error) {
	prompts := e.prompts[:min(evalShown, len(e.prompts))]
	var answers [evalPolicies][]Answer
	var score [evalPolicies][]float64
	for _, i := range []int{evalSFT, evalAfter} {
		var err error
		if answers[i], err = e.answer(ctx, i, prompts, 0); err != nil {
			return nil, err
		}
		if score[i], err = e.judge.Judge(ctx, answers[i]); err != nil {
			return nil, fmt.Errorf("judge %s: %w", e.judge.Name(), err)
		}
	}
	out := make([]Example, len(prompts))
	for i, p := range prompts {
		r := i * e.cfg.EvalSamples
		out[i] = Example{PromptID: p.ID, Prompt: p.Text, SFT: view(answers[evalSFT][r].Response), After: view(answers[evalAfter][r].Response),
			ScoreSFT: score[evalSFT][r], ScoreAfter: score[evalAfter][r]}
	}
	return out, nil
}

func (e *evaluation) judgeAll(ctx context.Context, answers [evalPolicies][]Answer) (score [evalPolicies][]float64, err error) {
	for i := range answers {
		if i == evalBefore && e.models[i] == e.models[evalSFT] {
			score[i] = score[evalSFT]
			continue
		}
		if score[i], err = e.judge.Judge(ctx, answers[i]); err != nil {
			return score, fmt.Errorf("judge %s: %w", e.judge.Name(), err)
		}
	}
	return score, nil
}

// evalFile is the state's file within a run's folder.
const evalFile = "evaluation.state"

// Save writes what was measured so far into dir.
func (e *evaluation) Save(dir string) error {
	return checkpoint.WriteState(filepath.Join(dir, evalFile), e.state, nil)
}

// Load reads what Save wrote.
func (e *evaluation) Load(dir string) error {
	_, err := checkpoint.ReadState(filepath.Join(dir, evalFile), &e.state)
	return err
}

// view is what people and Postgres can read of an answer.
func view(s string) string {
	v, _ := labeling.Sanitize(s)
	return v
}

// report turns what was measured into the judged part of a round's report.
func (s *evalState) report(r *Report, judge string) {
	r.Judge = judge
	mean := func(x []float64) Estimate { return estimate(eval.MeanByPrompt(x, s.Prompt)) }
	r.ScoreSFT, r.ScoreBefore, r.ScoreAfter = mean(s.Score[evalSFT]), mean(s.Score[evalBefore]), mean(s.Score[evalAfter])
	r.WinSFT = estimate(eval.WinRate(s.Score[evalAfter], s.Score[evalSFT], s.Prompt))
	r.WinServing = estimate(eval.WinRate(s.Score[evalAfter], s.Score[evalBefore], s.Prompt))
	r.KL = mean(s.KL)
	n := math.Max(1, float64(len(s.Prompt)))
	r.EOSRate, r.Length = float64(s.Ended)/n, float64(s.Tokens)/n
}

func estimate(e eval.Estimate) Estimate {
	return Estimate{Value: e.Mean, Low: e.Low, High: e.High, N: e.N}
}

// divergence is log pi(y|x) - log ref(y|x) of each sequence, in nats: the Monte Carlo estimate of KL(pi || ref) on samples
// of pi.
func divergence(pi, ref *model.Transformer, seqs []model.Sequence) []float64 {
	p, q := pi.Score(seqs, model.WantLogprobs).Logprobs, ref.Score(seqs, model.WantLogprobs).Logprobs
	kl := make([]float64, len(seqs))
	for i := range seqs {
		for t := range p[i] {
			kl[i] += float64(p[i][t]) - float64(q[i][t])
		}
	}
	return kl
}

// join makes a sequence of a prompt and its response.
func join(prompt, response []int32) model.Sequence {
	ids := make([]int32, 0, len(prompt)+len(response))
	return model.Sequence{IDs: append(append(ids, prompt...), response...), Start: len(prompt)}
}
