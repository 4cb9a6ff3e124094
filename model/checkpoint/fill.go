package checkpoint

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"github.com/rankloop/rankloop/model"
)

// TensorsError lists all that does not fit between a model and a folder's weights.
type TensorsError struct {
	Missing   []string // the model has it, the files do not
	Extra     []string // the other way round
	Misshaped []string // with both shapes, or the type that cannot be read
	Fit       int      // how many tensors do fit
}

func (e *TensorsError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the weights are not those of config.json: %d tensors fit", e.Fit)
	for _, p := range []struct {
		what string
		list []string
	}{{"missing", e.Missing}, {"not of this model", e.Extra}, {"of another shape or type", e.Misshaped}} {
		if n := len(p.list); n > 0 {
			shown := p.list[:min(n, 12)]
			fmt.Fprintf(&b, "; %d %s: %s", n, p.what, strings.Join(shown, ", "))
			if n > len(shown) {
				fmt.Fprintf(&b, " and %d more", n-len(shown))
			}
		}
	}
	if hint := e.hint(); hint != "" {
		fmt.Fprintf(&b, " (%s)", hint)
	}
	return b.String()
}

// hint is what is most likely wrong, empty where nothing is.
func (e *TensorsError) hint() string {
	switch {
	case len(e.Extra)+len(e.Misshaped) == 0 && slices.Equal(e.Missing, []string{headName}):
		return "if the head is the embedding, say \"tie_word_embeddings\": true in config.json"
	case len(e.Missing)+len(e.Extra) == 0:
		return "do config.json and the weights come from the same model?"
	case e.Fit == 0:
		return "is model_type in config.json that of the weights?"
	case len(e.Extra) == 0 && len(e.Misshaped) == 0:
		return "is a file of weights missing?"
	}
	return ""
}

// emptyModel makes the model that cfg describes, with the scalar head that the files
// have, and compares its tensors, by their canonical names, with theirs.
func emptyModel(cfg model.Config, files []*weightFile) (*model.Transformer, map[string]*model.Param, error) {
	have := map[string]entry{}
	elements := 0.0
	for _, f := range files {
		for _, e := range f.entries {
			have[canonical(e.name)] = e
			elements += float64(e.end-e.begin) / float64(elemSize[e.dtype])
		}
	}
	if _, ok := have[headName]; !ok && !cfg.Tied && have["score.weight"].name != "" {
		cfg.Tied = true // a reward model of transformers has no LM head at all
	}
	// A few bytes of config.json must not make the program allocate terabytes.
	if least := leastParams(cfg); least > elements {
		return nil, nil, corrupt("config.json describes at least %.0f parameters, the weights are %.0f", least, elements)
	}
	m, err := model.NewEmpty(cfg)
	if err != nil {
		return nil, nil, err
	}
	if err := addHead(m, have); err != nil {
		return nil, nil, err
	}
	params := map[string]*model.Param{}
	for _, p := range m.Params() {
		params[canonical(p.Name)] = p
	}
	if err := compare(params, have, cfg.Tied); err != nil {
		return nil, nil, err
	}
	return m, params, nil
}

// readModel makes the model that cfg describes and fills it from the files. Its
// matrices are BF16 where half says so.
func readModel(cfg model.Config, files []*weightFile, half bool) (*model.Transformer, error) {
	m, params, err := emptyModel(cfg, files)
	if err != nil {
		return nil, err
	}
	var head *model.Param // of the file, where the model's is the embedding
	for _, f := range files {
		taken := false
		for _, e := range f.entries {
			p := params[canonical(e.name)]
			switch {
			case p == nil && isBuffer(e.name):
				if err := f.skip(e); err != nil {
					return nil, fmt.Errorf("%s: %w", f.name, err)
				}
				continue
			case p == nil:
				p = &model.Param{Shape: e.shape}
				head = p
			}
			view, err := f.fill(e, p, half && len(p.Shape) > 1 && p.Data == nil) // a scalar head is float32
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.name, err)
			}
			taken = taken || view
		}
		if taken { // the pages go when the model goes
			runtime.AddCleanup(m, unmapFile, f.pages)
			f.pages = nil
		}
	}
	if head != nil {
		if e := embedding(params); !slices.Equal(head.Data, e.Data) || !slices.Equal(head.Half, e.Half) {
			return nil, corrupt("tensor %q is not the embedding, though config.json ties them", headName)
		}
	}
	runtime.KeepAlive(m)
	return m, nil
}

// addHead gives the model the scalar head that the files have, if any.
func addHead(m *model.Transformer, have map[string]entry) error {
	_, score := have["score.weight"]
	_, value := have["value.weight"]
	head, bias := model.HeadScore, "score.bias"
	switch {
	case score && value:
		return &TensorsError{Extra: []string{"score.weight and value.weight at once"}}
	case !score && !value:
		return nil
	case value:
		head, bias = model.HeadValue, "value.bias"
	}
	m.AddHead(head, 0)
	if _, ok := have[bias]; ok {
		m.AddHeadBias()
	}
	return nil
}

// leastParams is a lower bound of the number of parameters of a model.
func leastParams(c model.Config) float64 {
	C, F := float64(c.Width), float64(c.Hidden)
	n := float64(c.Vocab)*C + float64(c.Layers)*2*C*(C+F)
	if c.Family != "llama" {
		n += float64(c.Context) * C
	}
	return n
}

// embedding is the tensor that a tied LM head equals.
func embedding(params map[string]*model.Param) *model.Param {
	for _, name := range []string{"wte.weight", "embed_tokens.weight", "tokens_embed.weight"} {
		if p := params[name]; p != nil {
			return p
		}
	}
	return nil
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
		default:
			bad.Fit++
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

// littleEndian says whether this machine keeps numbers in memory as the format does.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// fill puts tensor e of the file into p, as BF16 where half says so, and checks that
// all of it is finite. view says that p's elements are the file's pages now: that is
// so where they are mapped, of the type that is wanted, and aligned.
func (f *weightFile) fill(e entry, p *model.Param, half bool) (view bool, err error) {
	n := int((e.end - e.begin) / elemSize[e.dtype])
	if f.pages != nil && n > 0 {
		data := f.pages[f.start+e.begin : f.start+e.end]
		at := unsafe.Pointer(unsafe.SliceData(data))
		switch {
		case !half && e.dtype == "F32" && uintptr(at)%4 == 0:
			p.Data, view = unsafe.Slice((*float32)(at), n), true
		case half && e.dtype == "BF16" && uintptr(at)%2 == 0:
			p.Half, view = unsafe.Slice((*uint16)(at), n), true
		}
	}
	if !view {
		if half {
			p.Half = make([]uint16, n)
		} else {
			p.Data = make([]float32, n)
		}
		if err := f.convert(e, p); err != nil {
			return false, err
		}
	}
	return view, finite(e.name, p)
}

// finite refuses infinities and what is not a number.
func finite(name string, p *model.Param) error {
	for i, v := range p.Data {
		if v-v != 0 {
			return corrupt("tensor %q: element %d is %g", name, i, v)
		}
	}
	for i, h := range p.Half {
		if h&0x7f80 == 0x7f80 {
			return corrupt("tensor %q: element %d is %g as BF16", name, i, fromBF16(h))
		}
	}
	return nil
}

// convert reads tensor e into p's elements piece by piece.
func (f *weightFile) convert(e entry, p *model.Param) error {
	size := int(elemSize[e.dtype])
	wide := make([]float32, min(p.Len(), pieceLen))
	buf := make([]byte, size*len(wide))
	for i, n := 0, p.Len(); i < n; i += len(wide) {
		wide = wide[:min(len(wide), n-i)]
		piece := buf[:size*len(wide)]
		if f.pages != nil {
			piece = f.pages[f.start+e.begin+int64(size*i):][:len(piece)]
		} else if _, err := io.ReadFull(f.in, piece); err != nil {
			return corrupt("tensor %q: %v", e.name, err)
		}
		if p.Half == nil {
			widen(p.Data[i:i+len(wide)], piece, e.dtype)
			continue
		}
		widen(wide, piece, e.dtype)
		for j, v := range wide {
			p.Half[i+j] = toBF16(v)
		}
	}
	return nil
}

// pieceLen is the number of elements converted at once.
const pieceLen = 1 << 14

// skip passes over a tensor's bytes.
func (f *weightFile) skip(e entry) error {
	if f.pages != nil {
		return nil
	}
	if _, err := io.CopyN(io.Discard, f.in, e.end-e.begin); err != nil {
		return corrupt("tensor %q: %v", e.name, err)
	}
	return nil
}

// widen converts elements of one of the types of weights.
func widen(dst []float32, src []byte, dtype string) {
	le := binary.LittleEndian
	switch dtype {
	case "F32":
		for i := range dst {
			dst[i] = math.Float32frombits(le.Uint32(src[4*i:]))
		}
	case "F16":
		for i := range dst {
			dst[i] = fromF16(le.Uint16(src[2*i:]))
		}
	case "BF16":
		for i := range dst {
			dst[i] = fromBF16(le.Uint16(src[2*i:]))
		}
	}
}
