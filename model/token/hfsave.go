package token

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Save writes tokenizer.json and tokenizer_config.json as Hugging Face's libraries
// read them.
func (t *bpe) Save(dir string) error {
	f := t.spec
	f.AddedTokens = slices.SortedFunc(slices.Values(f.AddedTokens), func(a, b hfAdded) int { return int(a.ID) - int(b.ID) })
	if f.AddedTokens == nil {
		f.AddedTokens = []hfAdded{}
	}
	f.Model.Type = "BPE"
	f.Model.Merges = make([]hfMerge, len(t.merges))
	for i, m := range t.merges {
		f.Model.Merges[i] = hfMerge{t.spelled(m.left), t.spelled(m.right)}
	}
	var err error
	if f.Model.Vocab, err = t.vocabJSON(); err != nil {
		return err
	}
	if err := writeJSON(dir, "tokenizer.json", "", f); err != nil {
		return err
	}
	conf := map[string]any{"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false,
		"bos_token": nil, "eos_token": nil}
	if t.bos >= 0 {
		conf["bos_token"] = t.added.names[t.bos]
	}
	if t.eos >= 0 {
		conf["eos_token"] = t.added.names[t.eos]
	}
	return writeJSON(dir, "tokenizer_config.json", "  ", conf)
}

// spelled is how a vocabulary writes a token; "" where nothing has the id.
func (t *bpe) spelled(id int32) string {
	switch name, outside := t.added.names[id]; {
	case outside:
		return name
	case t.pieces != nil:
		if int(id) < len(t.pieces) {
			return t.pieces[id]
		}
		return ""
	}
	return toLetters(t.tokens[id])
}

// vocabJSON is {"token": id} in the order of ids, added tokens among them: a name
// that is not there would get the next free id from the library.
func (t *bpe) vocabJSON() (json.RawMessage, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for id := range t.tokens {
		name := t.spelled(int32(id))
		if name == "" {
			continue
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

// sum hashes what decides ids: tokens, merges, added tokens with their ids, and the
// pipeline where it is another than GPT-2's.
func (t *bpe) sum() string {
	h := sha256.New()
	kind := "byte-level"
	if t.pieces != nil {
		kind = "character"
	}
	fmt.Fprintf(h, "%s bpe 1\n%d %d %d\n", kind, len(t.tokens), len(t.merges), len(t.added.names))
	var out []byte
	for id, b := range t.tokens {
		if t.pieces != nil {
			b = []byte(t.spelled(int32(id)))
		}
		out = binary.LittleEndian.AppendUint32(out, uint32(len(b)))
		out = append(out, b...)
	}
	for _, m := range t.merges {
		out = binary.LittleEndian.AppendUint32(out, uint32(m.left))
		out = binary.LittleEndian.AppendUint32(out, uint32(m.right))
		out = binary.LittleEndian.AppendUint32(out, uint32(m.into))
	}
	h.Write(out)
	for _, id := range slices.Sorted(maps.Keys(t.added.names)) {
		name := t.added.names[id]
		_, special := t.Special(name)
		fmt.Fprintf(h, "%d %t %q\n", id, !special, name)
	}
	if !t.spec.plain() {
		t.sumPipeline(h)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (t *bpe) sumPipeline(h hash.Hash) {
	f, m := t.spec, t.spec.Model
	f.AddedTokens = slices.SortedFunc(slices.Values(f.AddedTokens), func(a, b hfAdded) int { return int(a.ID) - int(b.ID) })
	out, err := json.Marshal([]any{f.Normalizer, f.PreTokenizer, f.Decoder, f.AddedTokens,
		or(m.UnkToken, ""), or(m.WordSuffix, ""), m.FuseUnk, m.ByteFallback, m.IgnoreMerges})
	if err != nil {
		panic("token: a description that was read cannot be written: " + err.Error())
	}
	h.Write(out)
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
