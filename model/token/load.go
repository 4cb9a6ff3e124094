package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
)

// Load reads the tokenizer of a model folder: tokenizer.json, else vocab.json with
// merges.txt, else tokenizer.model. A tokenizer.json of a kind that is not supported
// is passed over where one of the others is there. tokenizer_config.json names the
// tokens that begin and end a text. ErrNotFound where there is none of them.
func Load(dir string) (Tokenizer, error) { return LoadFS(os.DirFS(dir)) }

// LoadFS is [Load] for the root of a file system.
func LoadFS(fsys fs.FS) (Tokenizer, error) {
	conf, err := loadConfig(fsys)
	if err != nil {
		return nil, err
	}
	var unsupported error
	for _, load := range []func(fs.FS, config) (Tokenizer, error){loadJSON, loadVocabMerges, loadModel} {
		t, err := load(fsys, conf)
		switch {
		case err == nil:
			return t, nil
		case errors.Is(err, errUnsupported):
			unsupported = err
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	if unsupported != nil {
		return nil, unsupported
	}
	return nil, ErrNotFound
}

// errUnsupported marks a well-formed file of a kind that is not read.
var errUnsupported = errors.New("not supported")

// config is what counts of tokenizer_config.json.
type config struct {
	bos, eos string // names; empty = not said
}

func loadConfig(fsys fs.FS) (config, error) {
	const name = "tokenizer_config.json"
	data, err := readLimited(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return config{}, nil
	}
	if err != nil {
		return config{}, err
	}
	var raw struct {
		BOS tokenName `json:"bos_token"`
		EOS tokenName `json:"eos_token"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return config{}, invalid(name, "%v", err)
	}
	return config{bos: string(raw.BOS), eos: string(raw.EOS)}, nil
}

// tokenName is a token in tokenizer_config.json: a string, null or {"content": ..}.
type tokenName string

func (n *tokenName) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(b, []byte("{")) {
		var object struct{ Content string }
		err := json.Unmarshal(b, &object)
		*n = tokenName(object.Content)
		return err
	}
	var s string
	err := json.Unmarshal(b, &s)
	*n = tokenName(s)
	return err
}

func loadVocabMerges(fsys fs.FS, conf config) (Tokenizer, error) {
	data, err := readLimited(fsys, "vocab.json")
	if err != nil {
		return nil, err
	}
	lines, err := readLimited(fsys, "merges.txt")
	if err != nil {
		return nil, err
	}
	vocab, err := parseVocab(data)
	if err != nil {
		return nil, err
	}
	merges, err := mergeLines(bytes.NewReader(lines))
	if err != nil {
		return nil, err
	}
	// What is neither a byte nor made by a merge is a special token: there is no other
	// statement about them in these files.
	made := map[string]bool{}
	for _, m := range merges {
		made[m[0]+m[1]] = true
	}
	var extra []added
	for name, id := range vocab {
		if b, ok := fromLetters(name); !ok || len(b) != 1 && !made[name] {
			extra = append(extra, added{name: name, id: id})
		}
	}
	t, err := assemble(vocab, merges, extra)
	if err != nil {
		return nil, err
	}
	t.setEnds(conf.bos, conf.eos)
	return t, nil
}

func loadModel(fsys fs.FS, _ config) (Tokenizer, error) {
	raw, err := readLimited(fsys, "tokenizer.model")
	if err != nil {
		return nil, err
	}
	t, err := newSentencePiece(raw)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// assemble builds a tokenizer from a vocabulary in byte letters and its merges.
func assemble(vocab map[string]int32, merges [][2]string, extra []added) (*byteLevel, error) {
	outside := map[string]bool{}
	top := int32(-1)
	for _, a := range extra {
		if id, ok := vocab[a.name]; ok && id != a.id {
			return nil, invalid("added_tokens", "%q has the ids %d and %d", a.name, id, a.id)
		}
		outside[a.name] = true
		top = max(top, a.id)
	}
	for _, id := range vocab {
		top = max(top, id)
	}
	tokens := make([][]byte, top+1)
	taken := make([]bool, top+1)
	for name, id := range vocab {
		if taken[id] {
			return nil, invalid("vocab", "id %d stands twice", id)
		}
		taken[id] = true
		if outside[name] {
			continue
		}
		b, ok := fromLetters(name)
		if !ok || len(b) == 0 {
			return nil, invalid("vocab", "token %q is not made of byte letters", name)
		}
		tokens[id] = b
	}
	rules := make([]merge, len(merges))
	for i, m := range merges {
		left, okL := vocab[m[0]]
		right, okR := vocab[m[1]]
		into, ok := vocab[m[0]+m[1]]
		if !okL || !okR || !ok || outside[m[0]] || outside[m[1]] || outside[m[0]+m[1]] {
			return nil, invalid("merges", "%q %q: a part or the result is not in the vocabulary", m[0], m[1])
		}
		rules[i] = merge{left, right, into}
	}
	return newByteLevel(patternGPT2, tokens, rules, extra)
}

// parseVocab reads {"token": id, ...}, refusing what stands twice and ids beyond the limit.
func parseVocab(data []byte) (map[string]int32, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, invalid("vocab", "not an object")
	}
	vocab := map[string]int32{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, invalid("vocab", "%v", err)
		}
		value, err := d.Token()
		if err != nil {
			return nil, invalid("vocab", "%v", err)
		}
		name := key.(string)
		id, ok := value.(float64)
		if !ok || id != float64(int32(id)) || id < 0 || id >= maxVocab {
			return nil, invalid("vocab", "id %v of %q is not a number below %d", value, name, maxVocab)
		}
		if _, twice := vocab[name]; twice || len(name) > 2*maxToken {
			return nil, invalid("vocab", "token %q stands twice or is too long", name)
		}
		vocab[name] = int32(id)
	}
	if _, err := d.Token(); err != nil {
		return nil, invalid("vocab", "%v", err)
	}
	return vocab, nil
}
