package checkpoint

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/token"
)

// pretrained lists the published checkpoints in $RANKLOOP_DATA/models, none where the
// variable is not set. What they show beyond the reference numbers of package model
// is that real files of other makers load; TestSentencePieceFolder shows the same on
// a folder made here.
func pretrained(t *testing.T) []string {
	dirs, err := filepath.Glob(filepath.Join(os.Getenv("RANKLOOP_DATA"), "models", "*", "reference_logits.safetensors"))
	if err != nil || os.Getenv("RANKLOOP_DATA") != "" && len(dirs) == 0 {
		t.Fatalf("no checkpoint in $RANKLOOP_DATA/models (%v)", err)
	}
	return dirs
}

// TestPretrained: logits within 5e-5 of float64 PyTorch, greedy stories id for id.
func TestPretrained(t *testing.T) {
	for _, file := range pretrained(t) {
		dir := filepath.Dir(file)
		c, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		ref, err := ReadTensors(file)
		if err != nil {
			t.Fatal(err)
		}
		for name := range ref {
			suffix, ok := strings.CutPrefix(name, "input_ids")
			if !ok {
				continue
			}
			ids := make([]int32, len(ref[name].I64))
			for i, id := range ref[name].I64 {
				ids[i] = int32(id)
			}
			want, worst := ref["logits"+suffix].F64, 0.0
			for i, row := range c.Model.Logits(ids) {
				for j, v := range row {
					worst = max(worst, math.Abs(float64(v)-want[i*len(row)+j]))
				}
			}
			t.Logf("%s: %d tokens, largest error of a logit %.2g", filepath.Base(dir), len(ids), worst)
			if !(worst <= 5e-5) {
				t.Errorf("%s: logits differ by %g", dir, worst)
			}
		}
		checkGreedy(t, dir, c)
		back, err := Load(save(t, c, "F32"))
		if err != nil || !sameWeights(back.Model, c.Model) || back.Tokenizer.Digest() != c.Tokenizer.Digest() {
			t.Errorf("%s: saved and loaded: %v", dir, err)
		}
	}
}

func checkGreedy(t *testing.T, dir string, c *Checkpoint) {
	data, err := os.ReadFile(filepath.Join(dir, "reference.json"))
	if err != nil {
		t.Fatal(err)
	}
	var ref struct {
		Greedy []struct {
			Prompt    string
			PromptIDs []int32 `json:"prompt_ids"`
			IDs       []int32
			Text      string
		}
	}
	if err := json.Unmarshal(data, &ref); err != nil {
		t.Fatal(err)
	}
	equal := 0
	for _, g := range ref.Greedy {
		if got := append([]int32{c.Tokenizer.BOS()}, c.Tokenizer.Encode(g.Prompt)...); !slices.Equal(got, g.PromptIDs) {
			t.Errorf("%s: prompt %q gives %v, want %v", dir, g.Prompt, got, g.PromptIDs)
		}
		got := greedy(c.Model, g.PromptIDs, len(g.IDs)-len(g.PromptIDs))
		if !slices.Equal(got, g.IDs) {
			t.Errorf("%s: greedy after %q gives %v, want %v", dir, g.Prompt, got, g.IDs)
			continue
		}
		equal++
		if text := c.Tokenizer.Decode(got); !slices.Contains(got, 0) && text != g.Text {
			t.Errorf("%s: text %q, want %q", dir, text, g.Text)
		}
	}
	t.Logf("%s: %d of %d greedy continuations equal", filepath.Base(dir), equal, len(ref.Greedy))
	if len(ref.Greedy) == 0 {
		t.Errorf("%s: no greedy text", dir)
	}
}

// greedy continues ids by n tokens, each the most likely.
func greedy(m *model.Transformer, ids []int32, n int) []int32 {
	cache := m.NewCache()
	feed := ids
	for range n {
		logits := m.Extend([]*model.Cache{cache}, [][]int32{feed})[0]
		best := 0
		for i, v := range logits {
			if v > logits[best] {
				best = i
			}
		}
		ids = append(slices.Clip(ids), int32(best))
		feed = ids[len(ids)-1:]
	}
	return ids
}

// tinySentencePiece is a tokenizer.model with byte fallback, put together by hand: <unk>,
// <s>, </s>, 256 bytes, then pieces in order of score.
func tinySentencePiece(pieces ...string) []byte {
	var out []byte
	message := func(number byte, body []byte) []byte {
		return append(binary.AppendUvarint([]byte{number<<3 | 2}, uint64(len(body))), body...)
	}
	piece := func(text string, score float32, kind byte) {
		body := append(message(1, []byte(text)), 2<<3|5)
		body = binary.LittleEndian.AppendUint32(body, math.Float32bits(score))
		out = append(out, message(1, append(body, 3<<3, kind))...)
	}
	piece("<unk>", 0, 2)
	piece("<s>", 0, 3)
	piece("</s>", 0, 3)
	for b := range 256 {
		piece(fmt.Sprintf("<0x%02X>", b), 0, 6)
	}
	for i, p := range pieces {
		piece(p, -float32(i), 1)
	}
	return append(out, message(2, []byte{3 << 3, 2, 0x98, 0x02, 1})...) // model_type BPE, byte_fallback
}

// TestSentencePieceFolder: a Llama folder with tokenizer.model, as published ones are.
func TestSentencePieceFolder(t *testing.T) {
	dir := t.TempDir()
	vocab := tinySentencePiece("▁t", "he", "▁the", "▁", "t", "h", "e", "n", "s", "a")
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.model"), vocab, 0o600); err != nil {
		t.Fatal(err)
	}
	tok, err := token.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg := smallLlama
	cfg.Vocab, cfg.Context, cfg.BOS, cfg.EOS = tok.Vocab(), 64, 1, 2
	c, err := Load(save(t, &Checkpoint{Model: mustModel(t, cfg, model.HeadLM, false), Tokenizer: tok}, "F32"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Tokenizer.BOS() != 1 || c.Tokenizer.EOS() != 2 || c.Tokenizer.Digest() != tok.Digest() {
		t.Errorf("BOS %d, EOS %d", c.Tokenizer.BOS(), c.Tokenizer.EOS())
	}
	const text = "the hen sat\non the well 中"
	ids := append([]int32{1}, c.Tokenizer.Encode(text)...)
	if got := c.Tokenizer.Decode(ids); got != text {
		t.Errorf("Decode(Encode) = %q", got)
	}
	story := greedy(c.Model, ids, 8)
	logits := c.Model.Logits(story)
	for i := len(ids); i < len(story); i++ {
		if best := logits[i-1][story[i]]; best != slices.Max(logits[i-1]) {
			t.Errorf("token %d of the greedy story is not the likeliest", i)
		}
	}
}
