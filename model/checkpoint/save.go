package checkpoint

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/rankloop/rankloop/model"
)

// Format says how a folder keeps its weights.
type Format struct {
	DType    string // "F32" (bit-equal), "F16" or "BF16" (rounded to nearest even)
	MaxShard int64  // bytes of weights in one file, of which a single larger tensor may be more; 0 = one file

	Progress func(done, total int64) // told of the bytes of weights that are written; nil = nobody
}

// Save is [Checkpoint.Export] into one file of weights of that type.
func (c *Checkpoint) Save(dir string, dtype string) error { return c.Export(dir, Format{DType: dtype}) }

// Export writes the folder as transformers reads it. The folder (mode 0700, files
// 0600) appears whole or not at all. A folder that is there already is replaced in
// one step where it is empty or holds nothing but what Export once wrote, else left
// alone with an error that is fs.ErrExist. The content is a function of the
// checkpoint and the format: equal checkpoints have equal digests. A model with
// adapters is refused: merge them, or write them with [SaveAdapter].
func (c *Checkpoint) Export(dir string, f Format) error {
	if err := c.export(disk{}, dir, f); err != nil {
		return fmt.Errorf("save %s: %w", dir, err)
	}
	return nil
}

func (c *Checkpoint) export(d disk, dir string, f Format) error {
	switch {
	case torchNames[f.DType] == "":
		return invalid("dtype", "%q is not F32, F16 or BF16", f.DType)
	case f.MaxShard < 0:
		return invalid("size of a shard", "%d bytes", f.MaxShard)
	}
	if err := c.Card.check(); err != nil {
		return err
	}
	cfg := c.Model.Config()
	config, err := encodeConfig(cfg, c.Model.ScalarHead(), f.DType)
	if err != nil {
		return err
	}
	generation, err := c.Generation.encode(cfg)
	if err != nil {
		return err
	}
	card, err := encodeJSON(c.Card)
	if err != nil {
		return err
	}
	tensors, err := weights(c.Model, f.DType)
	if err != nil {
		return err
	}
	members, err := c.memberWeights(f.DType)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(c) // the tensors may be pages that go with the models
	return d.writeDir(dir, func() error { return mayReplace(dir) }, func(tmp string) error {
		if err := c.saveTokenizer(d, tmp); err != nil {
			return err
		}
		for name, content := range map[string][]byte{configName: config, generationName: generation, cardName: card} {
			if err := d.createFile(filepath.Join(tmp, name), content); err != nil {
				return err
			}
		}
		if err := d.saveWeights(tmp, shards(tensors, f.MaxShard), members, f.Progress); err != nil {
			return err
		}
		list, err := sumDir(tmp)
		if err != nil {
			return err
		}
		return d.createFile(filepath.Join(tmp, sumsName), list.encode())
	})
}

// weights are the tensors of a model as they go into a file.
func weights(m *model.Transformer, dtype string) ([]Tensor, error) {
	if _, ok := m.LoRA(); ok {
		return nil, invalid("adapters", "the model carries some: merge them first, or save them as an adapter")
	}
	if w := m.Packed(); w != "" {
		return nil, invalid("weights", "packed as %s: they are for reading only", w)
	}
	var out []Tensor
	for _, p := range m.Params() {
		if err := finite(p.Name, p); err != nil {
			return nil, err
		}
		out = append(out, Tensor{Name: fileName(m.Config().Family, p.Name), DType: dtype, Shape: p.Shape, F32: p.Data, half: p.Half})
	}
	return out, nil
}

// saveTokenizer writes the tokenizer's files, and special_tokens_map.json, in which
// older versions of transformers look for the names that tokenizer_config.json has.
func (c *Checkpoint) saveTokenizer(d disk, tmp string) error {
	if c.Tokenizer == nil {
		return nil
	}
	if err := c.Tokenizer.Save(tmp); err != nil {
		return err
	}
	const configName, mapName = "tokenizer_config.json", "special_tokens_map.json"
	data, err := os.ReadFile(filepath.Join(tmp, configName))
	if err != nil {
		return err
	}
	var config map[string]json.RawMessage
	if err := json.Unmarshal(data, &config); err != nil {
		return invalid(configName, "%v", err)
	}
	special := map[string]json.RawMessage{}
	for _, key := range []string{"bos_token", "eos_token", "unk_token", "pad_token"} {
		if name, ok := config[key]; ok {
			special[key] = name
		}
	}
	text, err := encodeJSON(special)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, mapName), text, 0o600); err != nil {
		return err
	}
	return d.syncFiles(tmp)
}

// shards divides tensors, in order, among files of at most limit bytes of data, a
// larger tensor alone in one; 0 = no limit. It is the division of transformers.
func shards(tensors []Tensor, limit int64) [][]Tensor {
	out := [][]Tensor{{}}
	var size int64
	for _, t := range tensors {
		n, last := t.bytes(), len(out)-1
		if limit > 0 && len(out[last]) > 0 && size+n > limit || len(out[last]) == maxTensors {
			out, size = append(out, nil), 0
			last++
		}
		out[last] = append(out[last], t)
		size += n
	}
	return out
}

// saveWeights writes model.safetensors, or where there is more than one part numbered
// files and the index of what is in which, and a file for each further member.
func (d disk) saveWeights(dir string, parts, members [][]Tensor, progress func(done, total int64)) error {
	meter := meter{progress: progress}
	for _, t := range slices.Concat(slices.Concat(parts, members)...) {
		meter.total += t.bytes()
	}
	write := func(name string, tensors []Tensor) error {
		return d.create(filepath.Join(dir, name), func(w io.Writer) error {
			return encodeTensors(io.MultiWriter(w, &meter), tensors, map[string]string{"format": "pt"})
		})
	}
	for i, tensors := range members {
		if err := write(memberName(i), tensors); err != nil {
			return err
		}
	}
	if len(parts) == 1 {
		return write(weightsName, parts[0])
	}
	if len(parts) > maxShards {
		return invalid("size of a shard", "the weights would be %d files, the limit is %d: make it larger", len(parts), maxShards)
	}
	where := map[string]string{}
	for i, part := range parts {
		name := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(parts))
		for _, t := range part {
			where[t.Name] = name
		}
		if err := write(name, part); err != nil {
			return err
		}
	}
	text, err := encodeJSON(weightIndex{map[string]any{"total_size": meter.total}, where})
	if err != nil {
		return err
	}
	return d.createFile(filepath.Join(dir, indexName), text)
}

// meter counts what is written, headers too, against the total of the tensors.
type meter struct {
	progress    func(done, total int64)
	done, total int64
}

func (m *meter) Write(p []byte) (int, error) {
	if m.done = min(m.done+int64(len(p)), m.total); m.progress != nil {
		m.progress(m.done, m.total)
	}
	return len(p), nil
}

// weightIndex is model.safetensors.index.json.
type weightIndex struct {
	Metadata map[string]any    `json:"metadata"`   // total_size: bytes of all tensors
	Map      map[string]string `json:"weight_map"` // tensor -> file
}

// mayReplace says whether a folder holds nothing but what Export wrote.
func mayReplace(dir string) error {
	list, err := readSums(os.DirFS(dir))
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, ours := list[e.Name()]; !ours && e.Name() != sumsName || e.IsDir() {
			return fmt.Errorf("the folder holds %s, which no checkpoint put there: %w", e.Name(), fs.ErrExist)
		}
	}
	return nil
}
