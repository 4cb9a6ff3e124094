package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/ppo"
)

// runRecord is run.json: all that a run was made of.
type runRecord struct {
	Kind        string                  `json:"kind"`
	Config      any                     `json:"config"`
	Parents     map[string]parentRecord `json:"parents"`
	Data        map[string]dataRecord   `json:"data"`
	Environment environment             `json:"environment"`
}

// parentRecord is a model that a run was made from.
type parentRecord struct {
	Path   string `json:"path"`
	Digest string `json:"digest"`
}

// dataRecord is a file that a run has read.
type dataRecord struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Rows   int    `json:"rows"`
}

// environment is what the bits and the speed of a run depend on besides its configuration.
type environment struct {
	Rankloop string `json:"rankloop"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	CPU      string `json:"cpu"`
	Kernels  string `json:"kernels"` // class: the instruction set that products are made with
	Threads  int    `json:"threads"`
}

func newRunRecord(kind string) runRecord {
	return runRecord{Kind: kind, Parents: map[string]parentRecord{}, Data: map[string]dataRecord{}, Environment: environment{
		Rankloop: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, CPU: cpuName(), Kernels: kernel.Class(), Threads: kernel.Threads(),
	}}
}

func (r *runRecord) parent(role, path string, m *model.Transformer) {
	r.Parents[role] = parentRecord{path, m.Digest()}
}

// file notes a file's content by its hash.
func (r *runRecord) file(role, path string, rows int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	r.Data[role] = dataRecord{path, hex.EncodeToString(h.Sum(nil)), rows}
	return nil
}

// digests lists the models behind the run, each once.
func (r *runRecord) digests() (out []string) {
	for _, role := range slices.Sorted(maps.Keys(r.Parents)) {
		if d := r.Parents[role].Digest; !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}

func (r *runRecord) write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o600)
}

// sampleLog is samples.jsonl: what the policy wrote in each iteration, for people to read.
type sampleLog struct {
	f    *os.File
	tok  token.Tokenizer
	from sampled
	last int // iteration that was written last
}

// sampleLine is one response. Tokens and KLTokens go together, one by one.
type sampleLine struct {
	Step      int       `json:"step"`
	Iteration int       `json:"iteration"`
	Prompt    string    `json:"prompt"`
	Response  string    `json:"response"`
	Score     float64   `json:"score"`
	KL        float64   `json:"kl"`
	Ended     bool      `json:"ended"`
	Tokens    []string  `json:"tokens"`
	KLTokens  []float64 `json:"kl_tokens"`
}

// openSamples goes on behind the lines of steps up to step.
func openSamples(path string, step int, tok token.Tokenizer, from sampled) (*sampleLog, error) {
	f, err := openMetrics(path, step)
	if err != nil {
		return nil, fmt.Errorf("samples: %w", err)
	}
	s := &sampleLog{f: f, tok: tok, from: from, last: -1}
	if old := from.Samples(); len(old) > 0 {
		s.last = old[len(old)-1].Iteration
	}
	return s, nil
}

func (s *sampleLog) write(step int) error {
	var fresh []ppo.Sample
	for _, x := range s.from.Samples() {
		if x.Iteration > s.last {
			fresh = append(fresh, x)
		}
	}
	enc := json.NewEncoder(s.f)
	for _, x := range fresh {
		line := sampleLine{Step: step, Iteration: x.Iteration, Prompt: s.tok.Decode(x.Prompt), Response: s.tok.Decode(x.Response),
			Score: x.Score, KL: x.KL, Ended: x.Ended, KLTokens: x.KLTokens}
		for _, id := range x.Response {
			line.Tokens = append(line.Tokens, s.tok.Decode([]int32{id}))
		}
		if err := enc.Encode(line); err != nil {
			return err
		}
		s.last = x.Iteration
	}
	return nil
}

// Close closes the file.
func (s *sampleLog) Close() error { return s.f.Close() }
