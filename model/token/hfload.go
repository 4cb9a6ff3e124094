package token

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
)

func unsupported(field, format string, args ...any) error {
	return fmt.Errorf("token: tokenizer.json: %s: %s: %w", field, fmt.Sprintf(format, args...), errUnsupported)
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
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return nil, unsupported(name, "it is not known what that means")
		}
		return nil, invalid("tokenizer.json", "%v", err)
	}
	if err := f.Model.supported(); err != nil {
		return nil, err
	}
	vocab, err := parseVocab(f.Model.Vocab)
	if err != nil {
		return nil, err
	}
	merges := make([][2]string, len(f.Model.Merges))
	for i, m := range f.Model.Merges {
		merges[i] = m
	}
	f.Model.Vocab, f.Model.Merges = nil, nil
	return assemble(f, vocab, merges, conf)
}

// supported refuses options of the model that are not carried out.
func (m *hfModel) supported() error {
	switch {
	case m.Dropout != nil && *m.Dropout != 0:
		return unsupported("model.dropout", "%g", *m.Dropout)
	case or(m.SubPrefix, "") != "":
		return unsupported("model.continuing_subword_prefix", "%q", *m.SubPrefix)
	case len(m.Merges) > maxVocab:
		return invalid("merges", "more than %d", maxVocab)
	}
	return nil
}

// assemble builds a tokenizer from its description, the vocabulary as the file spells
// it, and the merges.
func assemble(f hfFile, vocab map[string]int32, merges [][2]string, conf config) (Tokenizer, error) {
	outside := map[string]bool{}
	top := int32(-1)
	for _, a := range f.AddedTokens {
		if id, ok := vocab[a.Content]; ok && id != a.ID {
			return nil, invalid("added_tokens", "%q has the ids %d and %d", a.Content, id, a.ID)
		}
		if a.ID < 0 || a.ID >= maxVocab {
			return nil, invalid("added_tokens", "id %d of %q is not below %d", a.ID, a.Content, maxVocab)
		}
		outside[a.Content] = true
		top = max(top, a.ID)
	}
	for _, id := range vocab {
		top = max(top, id)
	}
	_, byteLevel, err := newSplitter(f.PreTokenizer)
	if err != nil {
		return nil, err
	}
	if byteLevel && (f.Model.ByteFallback || or(f.Model.WordSuffix, "") != "") {
		return nil, unsupported("model", "byte_fallback or end_of_word_suffix of a byte-level model")
	}
	v := vocabulary{tokens: make([][]byte, top+1)}
	if !byteLevel {
		v.pieces = make([]string, top+1)
	}
	taken := make([]bool, top+1)
	for name, id := range vocab {
		if taken[id] {
			return nil, invalid("vocab", "id %d stands twice", id)
		}
		taken[id] = true
		switch {
		case !byteLevel:
			v.pieces[id] = name
		case !outside[name]:
			b, ok := fromLetters(name)
			if !ok || len(b) == 0 {
				return nil, invalid("vocab", "token %q is not made of byte letters", name)
			}
			v.tokens[id] = b
		}
	}
	v.merges = make([]merge, len(merges))
	for i, m := range merges {
		left, okL := vocab[m[0]]
		right, okR := vocab[m[1]]
		into, ok := vocab[m[0]+m[1]]
		if !okL || !okR || !ok || byteLevel && (outside[m[0]] || outside[m[1]] || outside[m[0]+m[1]]) {
			return nil, invalid("merges", "%q %q: a part or the result is not in the vocabulary", m[0], m[1])
		}
		v.merges[i] = merge{left, right, into}
	}
	t, err := newBPE(f, v)
	if err != nil {
		return nil, err
	}
	t.setEnds(conf)
	return t, nil
}
