package checkpoint

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/rankloop/rankloop/model"
)

// LoadLlama2C reads a float32 checkpoint of karpathy/llama2.c: the legacy one of seven
// int32 (dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, negative where
// the LM head is not the embedding, seq_len), or version 1 of its export.py, which
// opens with "ak42". The weights follow in the order of run.c, each kind for all
// layers. It keeps the rotary pairs side by side (0,1), (2,3) ..., transformers half a
// head apart, so the rows of the projections to queries and keys change places. The
// norms' epsilon is 1e-5 and the rotary base 10000, as run.c has them.
//
// tokenizer is a tokenizer.model or llama2.c's own tokenizer.bin; "" = none. The
// lengths that the header asks for are compared with that of the file before anything
// is allocated. Broken content gives an error that wraps [ErrCorrupt].
func LoadLlama2C(path, tokenizer string) (*Checkpoint, error) {
	c, err := loadLlama2C(path, tokenizer)
	if err != nil {
		return nil, fmt.Errorf("convert %s: %w", path, err)
	}
	return c, nil
}

func loadLlama2C(path, tokenizer string) (*Checkpoint, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{}
	if c.Model, err = readLlama2C(bufio.NewReaderSize(f, chunk), info.Size()); err != nil {
		return nil, err
	}
	if tokenizer == "" {
		return c, nil
	}
	vocab := c.Model.Config().Vocab
	if c.Tokenizer, err = llama2cTokenizer(tokenizer, vocab); err == nil && c.Tokenizer.Vocab() > vocab {
		err = invalid("tokenizer", "it has %d ids, the model %d", c.Tokenizer.Vocab(), vocab)
	}
	return c, err
}

// llama2cMagic opens the versions after the legacy one: "ak42".
const llama2cMagic = 0x616b3432

// llama2cPart is one kind of tensor: of all layers, or of none where name has no %d.
// A part without a name is passed over.
type llama2cPart struct {
	name string
	skip int64 // elements to pass over
}

// The order of the kinds in a file, legacy and version 1.
func llama2cOrder(c model.Config, legacy bool) []llama2cPart {
	layer := func(names ...string) (out []llama2cPart) {
		for _, n := range names {
			out = append(out, llama2cPart{name: "layers.%d." + n + ".weight"})
		}
		return out
	}
	attention := layer("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
	mlp := layer("mlp.gate_proj", "mlp.down_proj", "mlp.up_proj")
	embedding, norm := llama2cPart{name: "embed_tokens.weight"}, llama2cPart{name: "norm.weight"}
	var out []llama2cPart
	if legacy {
		out = append(append([]llama2cPart{embedding}, layer("input_layernorm")...), attention...)
		out = append(append(append(out, layer("post_attention_layernorm")...), mlp...), norm)
		// Cosines and sines of the rotary angles, which the model computes itself.
		out = append(out, llama2cPart{skip: int64(c.Context) * int64(c.Width/c.Heads/2) * 2})
	} else {
		out = append(layer("input_layernorm", "post_attention_layernorm"), norm, embedding)
		out = append(append(out, attention...), mlp...)
	}
	if !c.Tied {
		out = append(out, llama2cPart{name: headName})
	}
	return out
}

// readLlama2C reads a file of size bytes.
func readLlama2C(in io.Reader, size int64) (*model.Transformer, error) {
	cfg, at, err := llama2cHeader(in)
	if err != nil {
		return nil, err
	}
	legacy := at == 7*4
	order := llama2cOrder(cfg, legacy)
	// In floating point nothing overflows, and what is not exact there is far too long.
	if want := float64(at) + 4*llama2cElements(cfg, order); want != float64(size) {
		return nil, corrupt("the header describes a file of %.0f bytes, it has %d", want, size)
	}
	m, err := model.NewZero(cfg)
	if err != nil {
		return nil, err
	}
	params := map[string]*model.Param{}
	for _, p := range m.Params() {
		params[canonical(p.Name)] = p
	}
	for _, part := range order {
		if part.name == "" {
			if _, err := io.CopyN(io.Discard, in, 4*part.skip); err != nil {
				return nil, corrupt("rotary angles: %v", err)
			}
			continue
		}
		for _, name := range part.tensors(cfg) {
			p := params[name]
			if err := readFloats(in, p.Data); err != nil {
				return nil, corrupt("tensor %q: %v", name, err)
			}
			if err := finite(name, p); err != nil {
				return nil, err
			}
		}
	}
	for l := range cfg.Layers {
		for name, heads := range map[string]int{"q_proj": cfg.Heads, "k_proj": cfg.KVHeads} {
			halfSplit(params[fmt.Sprintf("layers.%d.self_attn.%s.weight", l, name)].Data, heads, cfg.Width/cfg.Heads, cfg.Width)
		}
	}
	return m, nil
}

// tensors are the names of a part's tensors.
func (p llama2cPart) tensors(c model.Config) []string {
	if p.name == "embed_tokens.weight" || p.name == "norm.weight" || p.name == headName {
		return []string{p.name}
	}
	out := make([]string, c.Layers)
	for l := range out {
		out[l] = fmt.Sprintf(p.name, l)
	}
	return out
}

// llama2cHeader reads the header and says where the weights begin.
func llama2cHeader(in io.Reader) (c model.Config, at int64, err error) {
	var h [7]int32
	read := func(v any) {
		if err == nil {
			if err = binary.Read(in, binary.LittleEndian, v); err != nil {
				err = corrupt("header: %v", err)
			}
		}
	}
	read(&h[0])
	tied := true
	if at = 7 * 4; h[0] == llama2cMagic {
		var version int32
		if read(&version); err == nil && version != 1 {
			return c, 0, invalid("version", "%d of llama2.c's format is not read, only 1 and the legacy one (float32)", version)
		}
		var shared uint8
		read(&h)
		read(&shared)
		read(make([]byte, 256-2*4-7*4-1)) // the header is 256 bytes
		tied, at = shared != 0, 256
	} else {
		read(h[1:])
		if h[5] < 0 {
			tied, h[5] = false, -max(h[5], -1<<30)
		}
	}
	if err != nil {
		return c, 0, err
	}
	c = model.Config{Family: "llama", Width: int(h[0]), Hidden: int(h[1]), Layers: int(h[2]), Heads: int(h[3]), KVHeads: int(h[4]),
		Vocab: int(h[5]), Context: int(h[6]), NormEps: 1e-5, RopeTheta: 10000, Tied: tied, BOS: 1, EOS: 2}
	if c.Vocab < 3 {
		c.BOS, c.EOS = -1, -1
	}
	if h[1] < 1 || h[4] < 1 { // zero would mean a default
		return c, 0, corrupt("header: hidden_dim %d, n_kv_heads %d", h[1], h[4])
	}
	if err := c.Validate(); err != nil {
		return c, 0, corrupt("header: %v", err)
	}
	return c, at, nil
}

// llama2cElements counts the float32 of the parts.
func llama2cElements(c model.Config, order []llama2cPart) float64 {
	C, F, V, L := float64(c.Width), float64(c.Hidden), float64(c.Vocab), float64(c.Layers)
	kv := C / float64(c.Heads) * float64(c.KVHeads)
	n := L*(2*C+2*C*C+2*kv*C+3*C*F) + C
	for _, p := range order {
		if p.name == "embed_tokens.weight" || p.name == headName {
			n += V * C
		}
		n += float64(p.skip)
	}
	return n
}

// readFloats fills dst from little-endian float32.
func readFloats(in io.Reader, dst []float32) error {
	buf := make([]byte, 4*min(len(dst), pieceLen))
	for len(dst) > 0 {
		n := min(len(dst), len(buf)/4)
		if _, err := io.ReadFull(in, buf[:4*n]); err != nil {
			return err
		}
		widen(dst[:n], buf[:4*n], "F32")
		dst = dst[n:]
	}
	return nil
}

// halfSplit orders the rows of w [heads*dim,C] for rotary pairs half a head apart: row
// 2i+j of a head becomes its row j*dim/2+i.
func halfSplit(w []float32, heads, dim, C int) {
	head := make([]float32, dim*C)
	for h := range heads {
		rows := w[h*dim*C : (h+1)*dim*C]
		copy(head, rows)
		for r := range dim {
			to := r%2*dim/2 + r/2
			copy(rows[to*C:(to+1)*C], head[r*C:(r+1)*C])
		}
	}
}
