package token

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// hfFile is tokenizer.json of Hugging Face's tokenizers library, as far as a
// byte-level BPE uses it.
type hfFile struct {
	Version       string          `json:"version"`
	Truncation    json.RawMessage `json:"truncation"`
	Padding       json.RawMessage `json:"padding"`
	AddedTokens   []hfAdded       `json:"added_tokens"`
	Normalizer    *hfPart         `json:"normalizer"`
	PreTokenizer  *hfPart         `json:"pre_tokenizer"`
	PostProcessor *hfPart         `json:"post_processor"`
	Decoder       *hfPart         `json:"decoder"`
	Model         hfModel         `json:"model"`
}

type hfAdded struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

type hfPart struct {
	Type           string `json:"type"`
	AddPrefixSpace bool   `json:"add_prefix_space"`
	TrimOffsets    bool   `json:"trim_offsets"`
	UseRegex       *bool  `json:"use_regex,omitempty"` // nil = true
}

type hfModel struct {
	Type         string          `json:"type"`
	Dropout      *float64        `json:"dropout"`
	UnkToken     *string         `json:"unk_token"`
	SubPrefix    *string         `json:"continuing_subword_prefix"`
	WordSuffix   *string         `json:"end_of_word_suffix"`
	FuseUnk      bool            `json:"fuse_unk"`
	ByteFallback bool            `json:"byte_fallback"`
	IgnoreMerges bool            `json:"ignore_merges"`
	Vocab        json.RawMessage `json:"vocab"`
	Merges       []hfMerge       `json:"merges"`
}

// hfMerge is ["a","b"], or "a b" in older files.
type hfMerge [2]string

func (m *hfMerge) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(b, []byte("[")) {
		var pair []string
		if err := json.Unmarshal(b, &pair); err != nil {
			return err
		}
		if len(pair) != 2 {
			return fmt.Errorf("merge of %d tokens", len(pair))
		}
		*m = hfMerge{pair[0], pair[1]}
		return nil
	}
	var line string
	if err := json.Unmarshal(b, &line); err != nil {
		return err
	}
	pair, err := mergeLine(line)
	*m = pair
	return err
}

func loadJSON(fsys fs.FS, conf config) (Tokenizer, error) {
	data, err := readLimited(fsys, "tokenizer.json")
	if err != nil {
		return nil, err
	}
	var kind struct {
		Model struct{ Type string } `json:"model"`
	}
	if err := json.Unmarshal(data, &kind); err != nil {
		return nil, invalid("tokenizer.json", "%v", err)
	}
	if kind.Model.Type != "BPE" && kind.Model.Type != "" { // very old files do not say
		return nil, unsupported("model.type", "%q", kind.Model.Type)
	}
	var f hfFile
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, invalid("tokenizer.json", "%v", err)
	}
	if err := f.supported(); err != nil {
		return nil, err
	}
	vocab, err := parseVocab(f.Model.Vocab)
	if err != nil {
		return nil, err
	}
	var extra []added
	for _, a := range f.AddedTokens {
		if a.ID < 0 || a.ID >= maxVocab {
			return nil, invalid("added_tokens", "id %d is not below %d", a.ID, maxVocab)
		}
		extra = append(extra, added{name: a.Content, id: a.ID, plain: !a.Special})
	}
	merges := make([][2]string, len(f.Model.Merges))
	for i, m := range f.Model.Merges {
		merges[i] = m
	}
	t, err := assemble(vocab, merges, extra)
	if err != nil {
		return nil, err
	}
	t.setEnds(conf.bos, conf.eos)
	return t, nil
}

func unsupported(field, format string, args ...any) error {
	return fmt.Errorf("token: tokenizer.json: %s: %s: %w", field, fmt.Sprintf(format, args...), errUnsupported)
}

// supported refuses what would give other ids than the library gives.
func (f *hfFile) supported() error {
	m := f.Model
	set := func(s *string) bool { return s != nil && *s != "" }
	switch {
	case f.Normalizer != nil:
		return unsupported("normalizer", "%q", f.Normalizer.Type)
	case f.PreTokenizer == nil || f.PreTokenizer.Type != "ByteLevel":
		return unsupported("pre_tokenizer", "it is not ByteLevel")
	case f.PreTokenizer.AddPrefixSpace:
		return unsupported("pre_tokenizer", "add_prefix_space")
	case f.PreTokenizer.UseRegex != nil && !*f.PreTokenizer.UseRegex:
		return unsupported("pre_tokenizer", "use_regex false")
	case f.Decoder != nil && f.Decoder.Type != "ByteLevel":
		return unsupported("decoder", "%q", f.Decoder.Type)
	case m.Dropout != nil && *m.Dropout != 0:
		return unsupported("model.dropout", "%g", *m.Dropout)
	case set(m.SubPrefix) || set(m.WordSuffix):
		return unsupported("model", "continuing_subword_prefix or end_of_word_suffix")
	case m.ByteFallback || m.IgnoreMerges:
		return unsupported("model", "byte_fallback or ignore_merges")
	case len(m.Merges) > maxVocab:
		return invalid("merges", "more than %d", maxVocab)
	}
	for _, a := range f.AddedTokens {
		if a.SingleWord || a.LStrip || a.RStrip {
			return unsupported("added_tokens", "%q: single_word, lstrip or rstrip", a.Content)
		}
	}
	return nil
}

// Save writes tokenizer.json and tokenizer_config.json as Hugging Face's libraries
// read them.
func (t *byteLevel) Save(dir string) error {
	yes := true
	f := hfFile{
		Version:       "1.0",
		AddedTokens:   []hfAdded{},
		PreTokenizer:  &hfPart{Type: "ByteLevel", TrimOffsets: true, UseRegex: &yes},
		PostProcessor: &hfPart{Type: "ByteLevel", TrimOffsets: true, UseRegex: &yes},
		Decoder:       &hfPart{Type: "ByteLevel", AddPrefixSpace: true, TrimOffsets: true, UseRegex: &yes},
		Model:         hfModel{Type: "BPE", Merges: make([]hfMerge, len(t.merges))},
	}
	for _, id := range slices.Sorted(maps.Keys(t.names)) {
		_, plain := t.plain[t.names[id]]
		f.AddedTokens = append(f.AddedTokens, hfAdded{ID: id, Content: t.names[id], Special: !plain})
	}
	for i, m := range t.merges {
		f.Model.Merges[i] = hfMerge{toLetters(t.tokens[m.left]), toLetters(t.tokens[m.right])}
	}
	var err error
	if f.Model.Vocab, err = t.vocabJSON(); err != nil {
		return err
	}
	if err := writeJSON(dir, "tokenizer.json", "", f); err != nil {
		return err
	}
	conf := map[string]any{"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false}
	if t.bos >= 0 {
		conf["bos_token"] = t.names[t.bos]
	}
	if t.eos >= 0 {
		conf["eos_token"] = t.names[t.eos]
	}
	return writeJSON(dir, "tokenizer_config.json", "  ", conf)
}

// vocabJSON is {"token": id} in the order of ids, added tokens among them: a name
// that is not there would get the next free id from the library.
func (t *byteLevel) vocabJSON() (json.RawMessage, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for id, text := range t.tokens {
		name, outside := t.names[int32(id)]
		if !outside && text == nil {
			continue
		}
		if !outside {
			name = toLetters(text)
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s:%d", key, id)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Save writes tokenizer.model as it was read, and tokenizer_config.json.
func (t *sentencePiece) Save(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.model"), t.raw, 0o600); err != nil {
		return err
	}
	conf := map[string]any{
		"tokenizer_class": "LlamaTokenizer", "legacy": true, "add_bos_token": true, "add_eos_token": false,
		"clean_up_tokenization_spaces": false,
	}
	for name, id := range t.control {
		if id == t.bos {
			conf["bos_token"] = name
		}
		if id == t.eos {
			conf["eos_token"] = name
		}
	}
	return writeJSON(dir, "tokenizer_config.json", "  ", conf)
}

func writeJSON(dir, name, indent string, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("token: %s: %w", name, err)
	}
	return os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o600)
}
