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

// config is what counts of tokenizer_config.json: the names of tokens, empty for none
// and nil where it does not say.
type config struct{ bos, eos *string }

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
	return config{raw.BOS.name, raw.EOS.name}, nil
}

// tokenName is a token in tokenizer_config.json: a string, null or {"content": ..}.
type tokenName struct{ name *string }

func (n *tokenName) UnmarshalJSON(b []byte) error {
	var object struct{ Content string }
	to := any(&object.Content)
	if bytes.HasPrefix(b, []byte("{")) {
		to = &object
	}
	err := json.Unmarshal(b, to)
	n.name = &object.Content
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
	made := map[string]bool{}
	for _, m := range merges {
		made[m[0]+m[1]] = true
	}
	if isGPT1(vocab) {
		return assemble(gpt1Spec(vocab), vocab, merges, conf)
	}
	// What is neither a byte nor made by a merge is a special token: there is no other
	// statement about them in these files.
	var extra []hfAdded
	for name, id := range vocab {
		if b, ok := fromLetters(name); !ok || len(b) != 1 && !made[name] {
			extra = append(extra, hfAdded{ID: id, Content: name, Special: true})
		}
	}
	return assemble(byteLevelSpec(extra...), vocab, merges, conf)
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
