package checkpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"github.com/rankloop/rankloop/model"
)

// InvalidError says which field of a folder's JSON files is wrong, and why.
type InvalidError struct{ Field, Reason string }

func (e *InvalidError) Error() string { return "checkpoint: " + e.Field + ": " + e.Reason }

func invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// hfConfig is config.json of Hugging Face's transformers: the fields of both
// families that decide what is computed. A pointer is nil where the field is absent.
type hfConfig struct {
	ModelType string `json:"model_type"`
	VocabSize int    `json:"vocab_size"`

	// gpt2
	NPositions       *int     `json:"n_positions"`
	NCtx             *int     `json:"n_ctx"`
	NEmbd            *int     `json:"n_embd"`
	NLayer           *int     `json:"n_layer"`
	NHead            *int     `json:"n_head"`
	NInner           *int     `json:"n_inner"`
	Activation       string   `json:"activation_function"`
	LayerNormEps     *float64 `json:"layer_norm_epsilon"`
	ScaleAttn        *bool    `json:"scale_attn_weights"`
	ScaleAttnByLayer bool     `json:"scale_attn_by_inverse_layer_idx"`
	CrossAttention   bool     `json:"add_cross_attention"`

	// llama
	HiddenSize     *int            `json:"hidden_size"`
	Intermediate   *int            `json:"intermediate_size"`
	HiddenLayers   *int            `json:"num_hidden_layers"`
	AttentionHeads *int            `json:"num_attention_heads"`
	KVHeads        *int            `json:"num_key_value_heads"`
	HeadDim        *int            `json:"head_dim"`
	MaxPositions   *int            `json:"max_position_embeddings"`
	RMSNormEps     *float64        `json:"rms_norm_eps"`
	RopeTheta      *float64        `json:"rope_theta"`
	RopeScaling    json.RawMessage `json:"rope_scaling"`
	RopeParameters *struct {
		Type  string   `json:"rope_type"`
		Theta *float64 `json:"rope_theta"`
	} `json:"rope_parameters"` // where newer versions keep rope_theta
	HiddenAct     string `json:"hidden_act"`
	AttentionBias bool   `json:"attention_bias"`
	MLPBias       bool   `json:"mlp_bias"`

	Tied *bool `json:"tie_word_embeddings"`
	BOS  hfID  `json:"bos_token_id"`
	EOS  hfID  `json:"eos_token_id"`
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

func or[T any](p *T, absent T) T {
	if p == nil {
		return absent
	}
	return *p
}

// ParseConfig reads config.json of the families gpt2 and llama. Absent fields have
// transformers' defaults, but for the ids of BOS and EOS, which are -1 then. What
// would make the model compute something else than rankloop does is refused.
func ParseConfig(data []byte) (model.Config, error) {
	var h hfConfig
	if err := json.Unmarshal(data, &h); err != nil {
		return model.Config{}, invalid("config.json", "%v", err)
	}
	var c model.Config
	var err error
	switch h.ModelType {
	case "gpt2":
		c, err = h.gpt2()
	case "llama":
		c, err = h.llama()
	default:
		err = invalid("config.json: model_type", "%q is not gpt2 or llama", h.ModelType)
	}
	if err != nil {
		return model.Config{}, err
	}
	c.Family, c.Vocab, c.BOS, c.EOS = h.ModelType, h.VocabSize, h.BOS.or(-1), h.EOS.or(-1)
	if err := c.Validate(); err != nil {
		return model.Config{}, fmt.Errorf("checkpoint: config.json: %w", err)
	}
	return c.WithDefaults(), nil
}

func (h *hfConfig) gpt2() (model.Config, error) {
	c := model.Config{
		Context: or(h.NPositions, or(h.NCtx, 1024)), Layers: or(h.NLayer, 12), Width: or(h.NEmbd, 768),
		Heads: or(h.NHead, 12), NormEps: or(h.LayerNormEps, 1e-5), Tied: true,
	}
	c.KVHeads, c.Hidden = c.Heads, or(h.NInner, 4*min(c.Width, math.MaxInt32))
	switch {
	case h.Activation != "" && h.Activation != "gelu_new" && h.Activation != "gelu_pytorch_tanh":
		return c, invalid("config.json: activation_function", "%q is not gelu_new", h.Activation)
	case !or(h.ScaleAttn, true) || h.ScaleAttnByLayer || h.CrossAttention:
		return c, invalid("config.json", "scale_attn_weights, scale_attn_by_inverse_layer_idx or add_cross_attention is not as in GPT-2")
	}
	return c, nil
}

func (h *hfConfig) llama() (model.Config, error) {
	c := model.Config{
		Context: or(h.MaxPositions, 2048), Layers: or(h.HiddenLayers, 32), Width: or(h.HiddenSize, 4096),
		Heads: or(h.AttentionHeads, 32), Hidden: or(h.Intermediate, 11008), NormEps: or(h.RMSNormEps, 1e-6),
		RopeTheta: or(h.RopeTheta, 10000), Tied: or(h.Tied, false),
	}
	c.KVHeads = or(h.KVHeads, c.Heads)
	if p := h.RopeParameters; p != nil {
		c.RopeTheta = or(p.Theta, c.RopeTheta)
		if p.Type != "" && p.Type != "default" {
			return c, invalid("config.json: rope_parameters", "rope_type %q is not supported", p.Type)
		}
	}
	switch {
	case h.HiddenAct != "" && h.HiddenAct != "silu":
		return c, invalid("config.json: hidden_act", "%q is not silu", h.HiddenAct)
	case h.AttentionBias || h.MLPBias:
		return c, invalid("config.json", "attention_bias or mlp_bias is not supported")
	case len(h.RopeScaling) > 0 && string(h.RopeScaling) != "null":
		return c, invalid("config.json: rope_scaling", "not supported")
	case h.HeadDim != nil && (c.Heads < 1 || *h.HeadDim != c.Width/c.Heads):
		return c, invalid("config.json: head_dim", "%d is not hidden_size/num_attention_heads", *h.HeadDim)
	}
	return c, nil
}

// torchNames are the types of weights in config.json.
var torchNames = map[string]string{"F32": "float32", "F16": "float16", "BF16": "bfloat16"}

// encodeConfig writes config.json as transformers reads it.
func encodeConfig(c model.Config, head model.Head, dtype string) ([]byte, error) {
	out := map[string]any{
		"model_type": c.Family, "vocab_size": c.Vocab, "torch_dtype": torchNames[dtype],
		"tie_word_embeddings": c.Tied, "bos_token_id": idOrNull(c.BOS), "eos_token_id": idOrNull(c.EOS),
		"initializer_range": 0.02, "use_cache": true,
	}
	switch c.Family {
	case "gpt2":
		set(out, map[string]any{
			"n_positions": c.Context, "n_ctx": c.Context, "n_embd": c.Width, "n_layer": c.Layers, "n_head": c.Heads,
			"n_inner": c.Hidden, "activation_function": "gelu_new", "layer_norm_epsilon": c.NormEps,
			"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
		})
	case "llama":
		set(out, map[string]any{
			"hidden_size": c.Width, "intermediate_size": c.Hidden, "num_hidden_layers": c.Layers,
			"num_attention_heads": c.Heads, "num_key_value_heads": c.KVHeads, "max_position_embeddings": c.Context,
			"rms_norm_eps": c.NormEps, "rope_theta": c.RopeTheta, "hidden_act": "silu",
			"attention_bias": false, "mlp_bias": false, "attention_dropout": 0.0,
		})
	default:
		return nil, invalid("family", "%q has no Hugging Face layout", c.Family)
	}
	class := map[string]string{"gpt2": "GPT2", "llama": "Llama"}[c.Family]
	out["architectures"] = []string{class + "LMHeadModel"}
	if c.Family == "llama" {
		out["architectures"] = []string{class + "ForCausalLM"}
	}
	if head == model.HeadScore {
		out["architectures"] = []string{class + "ForSequenceClassification"}
		out["id2label"], out["label2id"] = map[string]string{"0": "REWARD"}, map[string]int{"REWARD": 0}
	}
	return encodeJSON(out)
}

func set(dst, src map[string]any) {
	for k, v := range src {
		dst[k] = v
	}
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
	return map[string]string{"gpt2": "transformer.", "llama": "model."}[family] + name
}

// headName is the LM head where it is not the embedding.
const headName = "lm_head.weight"

// isBuffer says whether a tensor is a constant that old versions of transformers
// saved with the weights: causal masks and rotary frequencies.
func isBuffer(name string) bool {
	return strings.HasSuffix(name, ".attn.bias") || strings.HasSuffix(name, ".attn.masked_bias") ||
		strings.HasSuffix(name, ".rotary_emb.inv_freq")
}
