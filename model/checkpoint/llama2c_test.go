package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/token"
)

// llama2cFile writes a model as llama2.c does, in the order of its export.py, with the
// rows of a head interleaved the way Meta's weights have them.
func llama2cFile(m *model.Transformer, legacy bool) []byte {
	c, le := m.Config(), binary.LittleEndian
	D := c.Width / c.Heads
	var b []byte
	header := []int{c.Width, c.Hidden, c.Layers, c.Heads, c.KVHeads, c.Vocab, c.Context}
	if legacy && !c.Tied {
		header[5] = -c.Vocab
	}
	if !legacy {
		b = append([]byte("24ka"), 1, 0, 0, 0)
	}
	for _, v := range header {
		b = le.AppendUint32(b, uint32(int32(v)))
	}
	if !legacy {
		b = append(b, map[bool]byte{true: 1}[c.Tied])
		b = append(b, make([]byte, 256-len(b))...)
	}
	put := func(name string) {
		p := m.Param(name)
		for i := range p.Data {
			row, col := i/p.Shape[len(p.Shape)-1], i%p.Shape[len(p.Shape)-1]
			if strings.Contains(name, "q_proj") || strings.Contains(name, "k_proj") {
				in := row % D
				row += in%2*D/2 + in/2 - in // row 2i+j there is row j*D/2+i here
			}
			b = le.AppendUint32(b, math.Float32bits(p.Data[row*p.Shape[len(p.Shape)-1]+col]))
		}
	}
	layers := func(names ...string) {
		for _, name := range names {
			for l := range c.Layers {
				put(fmt.Sprintf("model.layers.%d.%s.weight", l, name))
			}
		}
	}
	if legacy {
		put("model.embed_tokens.weight")
		layers("input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
			"post_attention_layernorm", "mlp.gate_proj", "mlp.down_proj", "mlp.up_proj")
		put("model.norm.weight")
		b = append(b, make([]byte, 4*c.Context*D)...)
	} else {
		layers("input_layernorm", "post_attention_layernorm")
		put("model.norm.weight")
		put("model.embed_tokens.weight")
		layers("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj", "mlp.up_proj")
	}
	if !c.Tied {
		put(headName)
	}
	return b
}

func llama2cShape(tied bool) model.Config {
	c := smallLlama
	c.NormEps, c.RopeTheta, c.BOS, c.EOS, c.Tied = 1e-5, 10000, 1, 2, tied
	return c
}

// TestLlama2C: all weights come over to the bit, whichever version wrote them, and
// make a folder as any other.
func TestLlama2C(t *testing.T) {
	for _, tied := range []bool{true, false} {
		for _, legacy := range []bool{true, false} {
			m := mustModel(t, llama2cShape(tied), model.HeadLM, false)
			path := filepath.Join(t.TempDir(), "model.bin")
			if err := os.WriteFile(path, llama2cFile(m, legacy), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := LoadLlama2C(path, "")
			if err != nil {
				t.Fatal(err)
			}
			if c.Model.Config() != m.Config() || !sameWeights(c.Model, m) {
				t.Errorf("tied %v, legacy %v: another model: %+v", tied, legacy, c.Model.Config())
			}
			if back := must(Load(save(t, c, "F32"))); !sameWeights(back.Model, m) {
				t.Error("another model after saving")
			}
		}
	}
}

// TestLlama2CRefuses: every cut, what is too long, and headers that ask for the
// impossible or for terabytes, without an allocation to match.
func TestLlama2CRefuses(t *testing.T) {
	shape := llama2cShape(false)
	shape.Vocab, shape.Layers, shape.BOS = 20, 1, 1
	for _, legacy := range []bool{true, false} {
		m := mustModel(t, shape, model.HeadLM, false)
		good := llama2cFile(m, legacy)
		refused := func(name string, file []byte) {
			t.Helper()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := readLlama2C(bytes.NewReader(file), int64(len(file)))
			runtime.ReadMemStats(&after)
			var invalid *InvalidError
			if !errors.Is(err, ErrCorrupt) && !errors.As(err, &invalid) {
				t.Errorf("%s: error %v", name, err)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > uint64(len(file))+1<<20 {
				t.Errorf("%s: %d bytes allocated for a file of %d", name, grown, len(file))
			}
		}
		if _, err := readLlama2C(bytes.NewReader(good), int64(len(good))); err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(good); n += 1 + n/64 {
			refused(fmt.Sprintf("cut at %d", n), good[:n])
		}
		refused("longer", append(slices.Clone(good), 0))
		at := 0
		if !legacy {
			at = 8
		}
		for i := range 7 {
			for _, v := range []int32{0, -1, math.MinInt32, math.MaxInt32, 1 << 24, 7} {
				if i == 6 && v > 0 && !legacy {
					continue // nothing in the file is as long as the context
				}
				file := slices.Clone(good)
				binary.LittleEndian.PutUint32(file[at+4*i:], uint32(v))
				refused(fmt.Sprintf("field %d is %d", i, v), file)
			}
		}
		file := slices.Clone(good)
		binary.LittleEndian.PutUint32(file[len(file)-8:], math.Float32bits(float32(math.NaN())))
		refused("NaN", file)
		// No hidden_dim, in a file that is as long as that would make it.
		none := m.Config()
		none.Hidden = 0
		short := make([]byte, int(4*llama2cElements(none, llama2cOrder(none, legacy)))+map[bool]int{true: 28, false: 256}[legacy])
		copy(short, good)
		binary.LittleEndian.PutUint32(short[at+4:], 0)
		refused("no hidden_dim", short)
		if _, err := readLlama2C(bytes.NewReader(short), int64(len(short))); err == nil || !strings.Contains(err.Error(), "hidden_dim 0") {
			t.Errorf("no hidden_dim: %v", err)
		}
		if !legacy {
			file := slices.Clone(good)
			file[4] = 2
			refused("int8 weights", file)
		}
	}
	if _, err := LoadLlama2C(filepath.Join(t.TempDir(), "x"), ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// llama2cPieces writes the tokenizer.bin of tinySentencePiece with the same pieces.
func llama2cPieces(pieces ...string) []byte {
	all := []string{"<unk>", "\n<s>\n", "\n</s>\n"}
	for b := range 256 {
		all = append(all, fmt.Sprintf("<0x%02X>", b))
	}
	out := binary.LittleEndian.AppendUint32(nil, 7)
	for i, p := range append(all, pieces...) {
		score := float32(0)
		if i >= len(all) {
			score = -float32(i - len(all))
		}
		p = strings.ReplaceAll(p, "▁", " ")
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(score))
		out = append(binary.LittleEndian.AppendUint32(out, uint32(len(p))), p...)
	}
	return out
}

// TestLlama2CTokenizer: tokenizer.bin gives the ids of the tokenizer.model it was made
// from; what is cut off, too long or of another model is refused.
func TestLlama2CTokenizer(t *testing.T) {
	pieces := []string{"▁t", "he", "▁the", "▁", "t", "h", "e", "n", "s", "a"}
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("tokenizer.model", tinySentencePiece(pieces...))
	want := must(token.Load(dir))
	shape := llama2cShape(true)
	shape.Vocab = want.Vocab()
	bin := write("model.bin", llama2cFile(mustModel(t, shape, model.HeadLM, false), true))
	data := llama2cPieces(pieces...)
	for _, path := range []string{write("tokenizer.bin", data), filepath.Join(dir, "tokenizer.model")} {
		c, err := LoadLlama2C(bin, path)
		if err != nil {
			t.Fatal(err)
		}
		const text = "the hen sat\non the well 中 <s>"
		if a, b := c.Tokenizer.Encode(text), want.Encode(text); !slices.Equal(a, b) || c.Tokenizer.Decode(a) != text {
			t.Errorf("%s: ids %v, want %v", path, a, b)
		}
		if c.Tokenizer.BOS() != 1 || c.Tokenizer.EOS() != 2 || c.Tokenizer.Vocab() != want.Vocab() {
			t.Errorf("%s: BOS %d, EOS %d of %d", path, c.Tokenizer.BOS(), c.Tokenizer.EOS(), c.Tokenizer.Vocab())
		}
		if back := must(Load(save(t, c, "F32"))); back.Tokenizer.Digest() != c.Tokenizer.Digest() {
			t.Error("another tokenizer after saving")
		}
	}
	for n := 0; n < len(data); n += 1 + n/32 {
		if _, err := LoadLlama2C(bin, write("cut.bin", data[:n])); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	if _, err := LoadLlama2C(bin, write("long.bin", llama2cPieces(append(pieces, "more")...))); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a token too many: %v", err)
	}
	write("large.model", tinySentencePiece(append(pieces, "more")...))
	if _, err := LoadLlama2C(bin, filepath.Join(dir, "large.model")); err == nil {
		t.Error("more ids than the model has")
	}
}

func FuzzLlama2C(f *testing.F) {
	shape := llama2cShape(false)
	shape.Vocab, shape.Layers, shape.Width, shape.Hidden = 4, 1, 8, 2
	for _, legacy := range []bool{true, false} {
		f.Add(llama2cFile(mustModel(f, shape, model.HeadLM, false), legacy))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		m, err := readLlama2C(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		if n := 4 * m.NumParams(); n > len(file) {
			t.Fatalf("%d bytes of weights out of a file of %d", n, len(file))
		}
	})
}
