package checkpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rankloop/rankloop/model"
)

// InvalidError says which field of a folder's JSON files is wrong, and why.
type InvalidError struct{ Field, Reason string }

func (e *InvalidError) Error() string { return "checkpoint: " + e.Field + ": " + e.Reason }

func invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// hfKind is how transformers writes one kind of model: a row of the table of kinds.
type hfKind struct {
	family string                                   // of package model
	writes func(model.Config) bool                  // whether shapes of the family are written so; nil = all
	decode func(data []byte) (model.Config, error)  // config.json, but for what all kinds share
	encode func(c model.Config, out map[string]any) // the same the other way
	lm     string                                   // class of the language model
	reward string                                   // class of the model with a score
	prefix string                                   // of the tensors' names in a model with a head
}

// hfKinds is the table, by model_type: a new kind is its decode and encode, in a file
// config_<name>.go, and its row here.
var hfKinds = map[string]hfKind{
	"openai-gpt": {"gpt1", nil, decodeGPT1, encodeGPT1, "OpenAIGPTLMHeadModel", "OpenAIGPTForSequenceClassification", "transformer."},
	"gpt2":       {"gpt2", nil, decodeGPT2, encodeGPT2, "GPT2LMHeadModel", "GPT2ForSequenceClassification", "transformer."},
	"gpt3":       {"gpt3", nil, decodeGPT3, encodeGPT3, "GPT3LMHeadModel", "GPT3ForSequenceClassification", "transformer."}, // transformers has no such classes
	"llama":      {"llama", withoutBias, decodeLlama, encodeLlama, "LlamaForCausalLM", "LlamaForSequenceClassification", "model."},
	"qwen2":      {"llama", withBias, decodeQwen2, encodeQwen2, "Qwen2ForCausalLM", "Qwen2ForSequenceClassification", "model."},
}

// kindOf finds the row that writes a shape, with its model_type.
func kindOf(c model.Config) (string, hfKind, error) {
	for name, l := range hfKinds {
		if l.family == c.Family && (l.writes == nil || l.writes(c)) {
			return name, l, nil
		}
	}
	return "", hfKind{}, invalid("family", "%q has no Hugging Face layout", c.Family)
}

// hfID is a token id: a number, null, or a list of which the first counts.
type hfID struct {
	set bool
	id  int
}

func (v *hfID) UnmarshalJSON(b []byte) error {
	var one *int
	if err := json.Unmarshal(b, &one); err == nil {
		if one != nil {
			*v = hfID{true, *one}
		}
		return nil
	}
	var many []int
	if err := json.Unmarshal(b, &many); err != nil || len(many) == 0 {
		return fmt.Errorf("%s is not a token id", b)
	}
	*v = hfID{true, many[0]}
	return nil
}

func (v hfID) or(none int) int {
	if v.set {
		return v.id
	}
	return none
}

// or is what p points to; a pointer is nil where config.json does not have the field.
func or[T any](p *T, absent T) T {
	if p == nil {
		return absent
	}
	return *p
}

// ParseConfig reads config.json of every model_type in the table of kinds. Absent
// fields have transformers' defaults, but for the ids of BOS and EOS, which are -1 then.
// What would make the model compute something else than rankloop does is refused.
func ParseConfig(data []byte) (model.Config, error) {
	var h struct {
		ModelType string `json:"model_type"`
		VocabSize int    `json:"vocab_size"`
		BOS       hfID   `json:"bos_token_id"`
		EOS       hfID   `json:"eos_token_id"`
	}
	if err := json.Unmarshal(data, &h); err != nil {
		return model.Config{}, invalid(configName, "%v", err)
	}
	l, ok := hfKinds[h.ModelType]
	if !ok {
		return model.Config{}, invalid(configName+": model_type", "%q is not one of %s", h.ModelType,
			strings.Join(slices.Sorted(maps.Keys(hfKinds)), ", "))
	}
	c, err := l.decode(data)
	if err != nil {
		return model.Config{}, err
	}
	c.Family, c.Vocab, c.BOS, c.EOS = l.family, h.VocabSize, h.BOS.or(-1), h.EOS.or(-1)
	if err := c.Validate(); err != nil {
		return model.Config{}, fmt.Errorf("checkpoint: %s: %w", configName, err)
	}
	return c.WithDefaults(), nil
}

// torchNames are the types of weights in config.json.
var torchNames = map[string]string{"F32": "float32", "F16": "float16", "BF16": "bfloat16"}

// encodeConfig writes config.json as transformers reads it.
func encodeConfig(c model.Config, head model.Head, dtype string) ([]byte, error) {
	name, l, err := kindOf(c)
	if err != nil {
		return nil, err
	}
	out := map[string]any{
		"model_type": name, "architectures": []string{l.lm}, "vocab_size": c.Vocab, "torch_dtype": torchNames[dtype],
		"tie_word_embeddings": c.Tied, "bos_token_id": idOrNull(c.BOS), "eos_token_id": idOrNull(c.EOS),
		"initializer_range": 0.02, "use_cache": true,
	}
	l.encode(c, out)
	if head == model.HeadScore {
		out["architectures"] = []string{l.reward}
		out["id2label"], out["label2id"] = map[string]string{"0": "REWARD"}, map[string]int{"REWARD": 0}
	}
	return encodeJSON(out)
}

func idOrNull(id int) any {
	if id < 0 {
		return nil
	}
	return id
}

func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// canonical is the name of a tensor without the prefix that the part of the model
// around it gives: transformers writes "transformer.wte.weight" for a GPT-2 with a
// head and "wte.weight" for one without, "model." in the same places for Llama.
func canonical(name string) string {
	for _, prefix := range []string{"transformer.", "model."} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			return rest
		}
	}
	return name
}

// fileName is the name under which transformers looks for a tensor of the family.
func fileName(family, name string) string {
	name = canonical(name)
	if name == headName || strings.HasPrefix(name, "score.") || strings.HasPrefix(name, "value.") {
		return name
	}
	for _, l := range hfKinds { // those of one family have one prefix
		if l.family == family {
			return l.prefix + name
		}
	}
	return name
}

// headName is the LM head where it is not the embedding.
const headName = "lm_head.weight"

// isBuffer says whether a tensor is a constant that old versions of transformers
// saved with the weights: causal masks, positions and rotary frequencies.
func isBuffer(name string) bool {
	return strings.HasSuffix(name, ".attn.bias") || strings.HasSuffix(name, ".attn.masked_bias") ||
		strings.HasSuffix(name, ".rotary_emb.inv_freq") || canonical(name) == "position_ids"
}
