package checkpoint

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/rankloop/rankloop/model"
)

// llamaConfig are the fields of config.json that the kinds llama and qwen2 share and
// that decide what is computed.
type llamaConfig struct {
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
	RopeParameters json.RawMessage `json:"rope_parameters"` // where newer versions keep rope_theta and rope_scaling
	PartialRotary  *float64        `json:"partial_rotary_factor"`
	HiddenAct      string          `json:"hidden_act"`
	AttentionBias  bool            `json:"attention_bias"`
	MLPBias        bool            `json:"mlp_bias"`
	Tied           *bool           `json:"tie_word_embeddings"`
}

// shape is the Config, with what transformers assumes where the kinds differ.
func (h *llamaConfig) shape(context, hidden int) (model.Config, error) {
	c := model.Config{
		Context: or(h.MaxPositions, context), Layers: or(h.HiddenLayers, 32), Width: or(h.HiddenSize, 4096),
		Heads: or(h.AttentionHeads, 32), Hidden: or(h.Intermediate, hidden), NormEps: or(h.RMSNormEps, 1e-6),
		RopeTheta: or(h.RopeTheta, 10000), Tied: or(h.Tied, false),
	}
	c.KVHeads = or(h.KVHeads, c.Heads)
	switch {
	case h.HiddenAct != "" && h.HiddenAct != "silu":
		return c, invalid(configName+": hidden_act", "%q is not silu", h.HiddenAct)
	case h.MLPBias:
		return c, invalid(configName+": mlp_bias", "biases in the MLP are not supported")
	case h.HeadDim != nil && (c.Heads < 1 || *h.HeadDim != c.Width/c.Heads):
		return c, invalid(configName+": head_dim", "%d is not hidden_size/num_attention_heads; other widths are not supported", *h.HeadDim)
	case or(h.PartialRotary, 1) != 1:
		return c, invalid(configName+": partial_rotary_factor", "%g is not 1; turning a part of the channels is not supported", *h.PartialRotary)
	}
	return c, h.rope(&c)
}

// rope reads the base and the scaling of the rotary positions from wherever they stand.
func (h *llamaConfig) rope(c *model.Config) error {
	old, _, err := parseRope("rope_scaling", h.RopeScaling)
	if err != nil {
		return err
	}
	c.RopeScaling = old
	if !isSet(h.RopeParameters) {
		return nil
	}
	scaling, theta, err := parseRope("rope_parameters", h.RopeParameters)
	if err != nil {
		return err
	}
	if isSet(h.RopeScaling) && scaling != old {
		return invalid(configName+": rope_parameters", "it contradicts rope_scaling; leave one of them out")
	}
	c.RopeScaling, c.RopeTheta = scaling, or(theta, c.RopeTheta)
	return nil
}

func isSet(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// parseRope reads rope_scaling or rope_parameters. A key that is not known is refused,
// as it may change what is computed.
func parseRope(field string, raw json.RawMessage) (s model.RopeScaling, theta *float64, err error) {
	if !isSet(raw) {
		return s, nil, nil
	}
	var r struct {
		Type     *string  `json:"type"`
		RopeType *string  `json:"rope_type"` // the newer name of type
		Theta    *float64 `json:"rope_theta"`
		Factor   float64  `json:"factor"`
		LowFreq  float64  `json:"low_freq_factor"`
		HighFreq float64  `json:"high_freq_factor"`
		Original int      `json:"original_max_position_embeddings"`
		Partial  *float64 `json:"partial_rotary_factor"`
	}
	kind := func() string { return or(r.RopeType, or(r.Type, "default")) }
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	err = d.Decode(&r)
	if err != nil { // the name of a kind that is not known says more than its first unknown key
		_ = json.Unmarshal(raw, &r)
	}
	switch kind() {
	case "default":
	case "linear":
		s = model.RopeScaling{Kind: "linear", Factor: r.Factor}
	case "llama3":
		s = model.RopeScaling{Kind: "llama3", Factor: r.Factor, LowFreq: r.LowFreq, HighFreq: r.HighFreq, Original: r.Original}
	default:
		return s, nil, invalid(configName+": "+field, "the kind %q is not supported; linear and llama3 are", kind())
	}
	if err != nil {
		return s, nil, invalid(configName+": "+field, "%v", err)
	}
	if or(r.Partial, 1) != 1 {
		return s, nil, invalid(configName+": "+field, "partial_rotary_factor %g is not 1; turning a part of the channels is not supported", *r.Partial)
	}
	return s, r.Theta, nil
}

// encode writes what shape reads. The scaling goes where every version of transformers
// finds it.
func (llamaConfig) encode(c model.Config, out map[string]any) {
	out["hidden_size"], out["intermediate_size"], out["num_hidden_layers"] = c.Width, c.Hidden, c.Layers
	out["num_attention_heads"], out["num_key_value_heads"] = c.Heads, c.KVHeads
	out["max_position_embeddings"], out["rms_norm_eps"], out["rope_theta"] = c.Context, c.NormEps, c.RopeTheta
	out["hidden_act"], out["attention_dropout"] = "silu", 0.0
	switch s := c.RopeScaling; s.Kind {
	case "linear":
		out["rope_scaling"] = map[string]any{"type": s.Kind, "rope_type": s.Kind, "factor": pyFloat(s.Factor)}
	case "llama3":
		out["rope_scaling"] = map[string]any{"rope_type": s.Kind, "factor": pyFloat(s.Factor), "low_freq_factor": pyFloat(s.LowFreq),
			"high_freq_factor": pyFloat(s.HighFreq), "original_max_position_embeddings": s.Original}
	}
}

// pyFloat is a number that Python reads as a float, 8.0 and not 8: transformers insists.
type pyFloat float64

// MarshalJSON writes the number with a point or an exponent.
func (f pyFloat) MarshalJSON() ([]byte, error) {
	s := strconv.FormatFloat(float64(f), 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return []byte(s), nil
}

func withBias(c model.Config) bool    { return c.QKVBias }
func withoutBias(c model.Config) bool { return !c.QKVBias }

func decodeLlama(data []byte) (model.Config, error) {
	var h llamaConfig
	if err := json.Unmarshal(data, &h); err != nil {
		return model.Config{}, invalid(configName, "%v", err)
	}
	if h.AttentionBias {
		return model.Config{}, invalid(configName+": attention_bias", "a bias on all four projections is not supported; qwen2 has it on queries, keys and values")
	}
	return h.shape(2048, 11008)
}

func encodeLlama(c model.Config, out map[string]any) {
	llamaConfig{}.encode(c, out)
	out["attention_bias"], out["mlp_bias"] = false, false
}

// decodeQwen2 reads Qwen2 (Yang et al. 2024): Llama with biases on queries, keys and
// values. A sliding window that any position would notice is refused.
func decodeQwen2(data []byte) (model.Config, error) {
	var h struct {
		llamaConfig
		UseWindow  bool     `json:"use_sliding_window"`
		Window     *int     `json:"sliding_window"`
		FromLayer  *int     `json:"max_window_layers"`
		LayerTypes []string `json:"layer_types"`
	}
	h.Window, h.FromLayer = new(4096), new(28)
	if err := json.Unmarshal(data, &h); err != nil {
		return model.Config{}, invalid(configName, "%v", err)
	}
	c, err := h.shape(32768, 22016)
	if err != nil {
		return c, err
	}
	for _, kind := range h.LayerTypes {
		if kind != "full_attention" && kind != "sliding_attention" {
			return c, invalid(configName+": layer_types", "%q is not supported", kind)
		}
	}
	sliding := c.Layers > or(h.FromLayer, 0)
	if h.LayerTypes != nil {
		sliding = slices.Contains(h.LayerTypes, "sliding_attention")
	}
	if h.UseWindow && h.Window != nil && *h.Window < c.Context && sliding {
		return c, invalid(configName+": use_sliding_window", "a sliding window of %d positions below the context of %d is not supported", *h.Window, c.Context)
	}
	c.QKVBias = true
	return c, nil
}

func encodeQwen2(c model.Config, out map[string]any) {
	llamaConfig{}.encode(c, out)
	out["use_sliding_window"] = false
}
