package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"slices"
	"strings"

	"crypto/sha256"

	"github.com/rankloop/rankloop/model"
)

// TensorsError lists all that does not fit between a model and a folder's weights.
type TensorsError struct {
	Missing   []string // the model has it, the files do not
	Extra     []string // the other way round
	Misshaped []string // with both shapes, or the type that cannot be read
}

func (e *TensorsError) Error() string {
	var parts []string
	for _, p := range []struct {
		what string
		list []string
	}{{"missing", e.Missing}, {"not of this model", e.Extra}, {"of another shape or type", e.Misshaped}} {
		if n := len(p.list); n > 0 {
			shown := p.list[:min(n, 12)]
			more := ""
			if n > len(shown) {
				more = fmt.Sprintf(" and %d more", n-len(shown))
			}
			parts = append(parts, fmt.Sprintf("%s: %s%s", p.what, strings.Join(shown, ", "), more))
		}
	}
	return "tensors " + strings.Join(parts, "; ")
}

// weightFile is an open file of weights whose header has been read.
type weightFile struct {
	name string
	file fs.File
	*reader
	hash hash.Hash // of what has been read
}

// openWeights opens model.safetensors, or the files that its index names.
func openWeights(fsys fs.FS) (files []*weightFile, err error) {
	defer func() {
		if err != nil {
			closeAll(files)
			files = nil
		}
	}()
	names, index, err := weightNames(fsys)
	if err != nil {
		return nil, err
	}
	seen := map[string]string{}
	for _, name := range names {
		f, err := fsys.Open(name)
		if err != nil {
			return files, err
		}
		h := sha256.New()
		r, err := newReader(f, io.TeeReader(f, h))
		if err != nil {
			f.Close()
			return files, fmt.Errorf("%s: %w", name, err)
		}
		files = append(files, &weightFile{name, f, r, h})
		for _, e := range r.entries {
			if other, twice := seen[canonical(e.name)]; twice {
				return files, corrupt("tensor %q stands in %s and %s", e.name, other, name)
			}
			seen[canonical(e.name)] = name
			if index != nil && index[e.name] != name {
				return files, corrupt("tensor %q of %s is in %q by the index", e.name, name, index[e.name])
			}
		}
	}
	for name := range index {
		if seen[canonical(name)] == "" {
			return files, corrupt("tensor %q of the index is in no file", name)
		}
	}
	return files, nil
}

func closeAll(files []*weightFile) {
	for _, f := range files {
		f.file.Close()
	}
}

const (
	weightsName = "model.safetensors"
	indexName   = "model.safetensors.index.json"
	maxShards   = 1024
)

// weightNames lists the files of weights; where says which tensor is in which, nil
// where there is no index.
func weightNames(fsys fs.FS) (names []string, where map[string]string, err error) {
	if _, err := fs.Stat(fsys, weightsName); err == nil {
		return []string{weightsName}, nil, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	data, err := readSmall(fsys, indexName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("neither %s nor %s: %w", weightsName, indexName, fs.ErrNotExist)
	}
	if err != nil {
		return nil, nil, err
	}
	var index weightIndex
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, nil, invalid(indexName, "%v", err)
	}
	for _, name := range index.Map {
		if !plainName(name) || !strings.HasSuffix(name, ".safetensors") {
			return nil, nil, invalid(indexName, "%q is not a safetensors file of the folder", name)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 || len(names) > maxShards {
		return nil, nil, invalid(indexName, "%d files", len(names))
	}
	return names, index.Map, nil
}

// plainName says whether name is that of a file directly in a folder, on any system.
func plainName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\\:\x00") && fs.ValidPath(name)
}

// readModel makes the model that cfg describes and fills it from the files.
func readModel(cfg model.Config, files []*weightFile) (*model.Transformer, error) {
	have := map[string]entry{}
	elements := 0.0
	for _, f := range files {
		for _, e := range f.entries {
			have[canonical(e.name)] = e
			elements += float64(e.end-e.begin) / float64(elemSize[e.dtype])
		}
	}
	_, score := have["score.weight"]
	_, value := have["value.weight"]
	if _, ok := have[headName]; !ok && !cfg.Tied && score {
		cfg.Tied = true // a reward model of transformers has no LM head at all
	}
	// A few bytes of config.json must not make the program allocate terabytes.
	if least := leastParams(cfg); least > elements {
		return nil, corrupt("config.json describes at least %.0f parameters, the weights are %.0f", least, elements)
	}
	m, err := model.NewZero(cfg)
	if err != nil {
		return nil, err
	}
	if score && value {
		return nil, &TensorsError{Extra: []string{"score.weight and value.weight at once"}}
	}
	if score || value {
		head, bias := model.HeadScore, "score.bias"
		if value {
			head, bias = model.HeadValue, "value.bias"
		}
		m.AddHead(head, 0)
		if _, ok := have[bias]; ok {
			m.AddHeadBias()
		}
	}
	params := map[string]*model.Param{}
	for _, p := range m.Params() {
		params[canonical(p.Name)] = p
	}
	if err := compare(params, have, cfg.Tied); err != nil {
		return nil, err
	}
	var head Tensor
	for _, f := range files {
		keep := func(name string) bool { return !isBuffer(name) }
		err := f.each(keep, func(t Tensor) error {
			for i, v := range t.F32 {
				if v-v != 0 {
					return corrupt("tensor %q: element %d is %g", t.Name, i, v)
				}
			}
			if p := params[canonical(t.Name)]; p != nil {
				copy(p.Data, t.F32)
			} else {
				head = t
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	if head.Name != "" && !slices.Equal(head.F32, embedding(params).Data) {
		return nil, corrupt("tensor %q is not the embedding, though config.json ties them", head.Name)
	}
	return m, nil
}

// leastParams is a lower bound of the number of parameters of a model.
func leastParams(c model.Config) float64 {
	C, F := float64(c.Width), float64(c.Hidden)
	n := float64(c.Vocab)*C + float64(c.Layers)*2*C*(C+F)
	if c.Family == "gpt2" {
		n += float64(c.Context) * C
	}
	return n
}

// embedding is the tensor that a tied LM head equals.
func embedding(params map[string]*model.Param) *model.Param {
	if p := params["wte.weight"]; p != nil {
		return p
	}
	return params["embed_tokens.weight"]
}

// compare lists what does not fit between the model and the headers.
func compare(params map[string]*model.Param, have map[string]entry, tied bool) error {
	var bad TensorsError
	for name, p := range params {
		if _, ok := have[name]; !ok {
			bad.Missing = append(bad.Missing, p.Name)
		}
	}
	for name, e := range have {
		want := params[name]
		if want == nil && name == headName && tied {
			want = embedding(params)
		}
		switch {
		case want == nil && isBuffer(e.name):
		case want == nil:
			bad.Extra = append(bad.Extra, e.name)
		case !slices.Equal(want.Shape, e.shape):
			bad.Misshaped = append(bad.Misshaped, fmt.Sprintf("%s %v, not %v", e.name, e.shape, want.Shape))
		case e.dtype != "F32" && e.dtype != "F16" && e.dtype != "BF16":
			bad.Misshaped = append(bad.Misshaped, fmt.Sprintf("%s %s", e.name, e.dtype))
		}
	}
	slices.Sort(bad.Missing)
	slices.Sort(bad.Extra)
	slices.Sort(bad.Misshaped)
	if len(bad.Missing)+len(bad.Extra)+len(bad.Misshaped) > 0 {
		return &bad
	}
	return nil
}
