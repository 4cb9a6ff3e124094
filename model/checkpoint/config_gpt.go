package checkpoint

import (
	"encoding/json"
	"math"
	"slices"

	"github.com/rankloop/rankloop/model"
)

// gptConfig are the fields of config.json that the kinds openai-gpt, gpt2 and gpt3
// share and that decide what is computed.
type gptConfig struct {
	NPositions   *int     `json:"n_positions"`
	NCtx         *int     `json:"n_ctx"`
	NEmbd        *int     `json:"n_embd"`
	NLayer       *int     `json:"n_layer"`
	NHead        *int     `json:"n_head"`
	LayerNormEps *float64 `json:"layer_norm_epsilon"`
	Tied         *bool    `json:"tie_word_embeddings"`
}

// shape is the Config, with transformers' defaults but for the context's, which is theirs
// of that kind.
func (h *gptConfig) shape(context int) (model.Config, error) {
	c := model.Config{
		Context: or(h.NPositions, or(h.NCtx, context)), Layers: or(h.NLayer, 12), Width: or(h.NEmbd, 768),
		Heads: or(h.NHead, 12), NormEps: or(h.LayerNormEps, 1e-5), Tied: true,
	}
	c.KVHeads, c.Hidden = c.Heads, 4*min(max(c.Width, 0), math.MaxInt32)
	if !or(h.Tied, true) {
		return c, invalid(configName+": tie_word_embeddings", "false is not supported: the head of these models is the embedding")
	}
	return c, nil
}

// encode writes what shape reads, and that nothing is dropped.
func (gptConfig) encode(c model.Config, out map[string]any) {
	out["n_positions"], out["n_ctx"], out["n_embd"], out["n_layer"], out["n_head"] = c.Context, c.Context, c.Width, c.Layers, c.Heads
	out["layer_norm_epsilon"] = c.NormEps
	out["resid_pdrop"], out["embd_pdrop"], out["attn_pdrop"] = 0.0, 0.0, 0.0
}

func decodeGPT1(data []byte) (model.Config, error) {
	var h struct {
		gptConfig
		Activation string `json:"afn"`
	}
	if err := json.Unmarshal(data, &h); err != nil {
		return model.Config{}, invalid(configName, "%v", err)
	}
	if h.Activation != "" && h.Activation != "gelu" && h.Activation != "gelu_new" { // transformers' afn "gelu" is gelu_new
		return model.Config{}, invalid(configName+": afn", "%q is not gelu", h.Activation)
	}
	return h.shape(512)
}

func encodeGPT1(c model.Config, out map[string]any) {
	gptConfig{}.encode(c, out)
	out["afn"] = "gelu"
}

func decodeGPT2(data []byte) (model.Config, error) {
	var h struct {
		gptConfig
		NInner           *int   `json:"n_inner"`
		Activation       string `json:"activation_function"`
		ScaleAttn        *bool  `json:"scale_attn_weights"`
		ScaleAttnByLayer bool   `json:"scale_attn_by_inverse_layer_idx"`
		CrossAttention   bool   `json:"add_cross_attention"`
	}
	if err := json.Unmarshal(data, &h); err != nil {
		return model.Config{}, invalid(configName, "%v", err)
	}
	switch {
	case h.Activation != "" && !slices.Contains([]string{"gelu_new", "gelu_pytorch_tanh"}, h.Activation):
		return model.Config{}, invalid(configName+": activation_function", "%q is not gelu_new", h.Activation)
	case !or(h.ScaleAttn, true) || h.ScaleAttnByLayer || h.CrossAttention:
		return model.Config{}, invalid(configName, "scale_attn_weights, scale_attn_by_inverse_layer_idx or add_cross_attention is not as in GPT-2")
	}
	c, err := h.shape(1024)
	c.Hidden = or(h.NInner, c.Hidden)
	return c, err
}

func encodeGPT2(c model.Config, out map[string]any) {
	gptConfig{}.encode(c, out)
	out["n_inner"], out["activation_function"] = c.Hidden, "gelu_new"
}

// decodeGPT3 reads the fields of gpt2 and window, which is rankloop's own.
func decodeGPT3(data []byte) (model.Config, error) {
	c, err := decodeGPT2(data)
	if err != nil {
		return c, err
	}
	var h struct {
		Window *int `json:"window"`
	}
	if err := json.Unmarshal(data, &h); err != nil {
		return c, invalid(configName, "%v", err)
	}
	if h.Window != nil && *h.Window < 1 {
		return c, invalid(configName+": window", "%d is no number of positions; leave it out for the default", *h.Window)
	}
	c.Window = or(h.Window, 0)
	return c, nil
}

func encodeGPT3(c model.Config, out map[string]any) {
	encodeGPT2(c, out)
	out["window"] = c.Window
}
