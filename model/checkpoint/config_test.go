package checkpoint

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model"
)

// TestWrittenConfig pins the names that transformers reads.
func TestWrittenConfig(t *testing.T) {
	for _, c := range []struct {
		cfg    model.Config
		head   model.Head
		dtype  string
		fields string
	}{
		{smallGPT2, model.HeadLM, "F32", `{"model_type":"gpt2","architectures":["GPT2LMHeadModel"],"vocab_size":300,"n_positions":16,
			"n_ctx":16,"n_embd":16,"n_layer":2,"n_head":2,"n_inner":64,"activation_function":"gelu_new","layer_norm_epsilon":0.00001,
			"bos_token_id":298,"eos_token_id":298,"tie_word_embeddings":true,"torch_dtype":"float32"}`},
		{smallLlama, model.HeadLM, "BF16", `{"model_type":"llama","architectures":["LlamaForCausalLM"],"vocab_size":300,"hidden_size":16,
			"intermediate_size":24,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"max_position_embeddings":16,
			"rms_norm_eps":0.000001,"rope_theta":500,"hidden_act":"silu","attention_bias":false,"mlp_bias":false,
			"bos_token_id":null,"eos_token_id":1,"tie_word_embeddings":false,"torch_dtype":"bfloat16"}`},
		{smallGPT2, model.HeadScore, "F16", `{"architectures":["GPT2ForSequenceClassification"],"torch_dtype":"float16","id2label":{"0":"REWARD"}}`},
		{smallLlama, model.HeadScore, "F16", `{"architectures":["LlamaForSequenceClassification"]}`},
	} {
		text, err := encodeConfig(c.cfg.WithDefaults(), c.head, c.dtype)
		if err != nil {
			t.Fatal(err)
		}
		var got, want map[string]json.RawMessage
		if err := errors.Join(json.Unmarshal(text, &got), json.Unmarshal([]byte(c.fields), &want)); err != nil {
			t.Fatal(err)
		}
		squeeze := strings.NewReplacer(" ", "", "\n", "", "\t", "")
		for k, v := range want {
			if squeeze.Replace(string(got[k])) != squeeze.Replace(string(v)) {
				t.Errorf("%s: %s = %s, want %s", c.cfg.Family, k, got[k], v)
			}
		}
		back, err := ParseConfig(text)
		if err != nil || back != c.cfg.WithDefaults() {
			t.Errorf("read back: %+v, %v", back, err)
		}
	}
}

// TestPublishedConfigs reads config.json as two published models have it.
func TestPublishedConfigs(t *testing.T) {
	for text, want := range map[string]model.Config{
		`{"activation_function":"gelu_new","architectures":["GPT2LMHeadModel"],"attn_pdrop":0.1,"bos_token_id":50256,"embd_pdrop":0.1,
		"eos_token_id":50256,"initializer_range":0.02,"layer_norm_epsilon":1e-05,"model_type":"gpt2","n_ctx":1024,"n_embd":768,
		"n_head":12,"n_layer":12,"n_positions":1024,"resid_pdrop":0.1,"summary_activation":null,"summary_first_dropout":0.1,
		"summary_proj_to_labels":true,"summary_type":"cls_index","summary_use_proj":true,
		"task_specific_params":{"text-generation":{"do_sample":true,"max_length":50}},"vocab_size":50257}`: {
			Family: "gpt2", Vocab: 50257, Context: 1024, Layers: 12, Width: 768, Heads: 12, KVHeads: 12, Hidden: 3072,
			NormEps: 1e-5, RopeTheta: 10000, Tied: true, BOS: 50256, EOS: 50256},
		`{"architectures":["LlamaForCausalLM"],"bos_token_id":1,"eos_token_id":2,"hidden_act":"silu","hidden_size":2048,
		"initializer_range":0.02,"intermediate_size":5632,"max_position_embeddings":2048,"model_type":"llama","num_attention_heads":32,
		"num_hidden_layers":22,"num_key_value_heads":4,"pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":null,
		"tie_word_embeddings":false,"torch_dtype":"bfloat16","transformers_version":"4.35.0","use_cache":true,"vocab_size":32000}`: {
			Family: "llama", Vocab: 32000, Context: 2048, Layers: 22, Width: 2048, Heads: 32, KVHeads: 4, Hidden: 5632,
			NormEps: 1e-5, RopeTheta: 10000, BOS: 1, EOS: 2},
	} {
		if got, err := ParseConfig([]byte(text)); err != nil || got != want {
			t.Errorf("got %+v, %v", got, err)
		}
	}
}

func TestConfigRefuses(t *testing.T) {
	const gpt2 = `"model_type":"gpt2","vocab_size":10,"n_positions":4,"n_embd":8,"n_layer":1,"n_head":2`
	const llama = `"model_type":"llama","vocab_size":10,"max_position_embeddings":4,"hidden_size":8,"num_hidden_layers":1,"num_attention_heads":2,"intermediate_size":8`
	for _, text := range []string{gpt2, llama, llama + `,"head_dim":4`, gpt2 + `,"activation_function":"gelu_pytorch_tanh"`} {
		if _, err := ParseConfig([]byte("{" + text + "}")); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{
		``, `"model_type":"bert","vocab_size":10`, gpt2 + `,"activation_function":"gelu"`, gpt2 + `,"scale_attn_weights":false`,
		gpt2 + `,"scale_attn_by_inverse_layer_idx":true`, gpt2 + `,"add_cross_attention":true`, gpt2 + `,"n_head":3`, gpt2 + `,"n_head":0`,
		gpt2 + `,"n_embd":-8`, gpt2 + `,"n_embd":9223372036854775807`, gpt2 + `,"n_layer":1e3`, gpt2 + `,"vocab_size":"10"`, gpt2 + `,"eos_token_id":10`, gpt2 + `,"eos_token_id":[]`,
		gpt2 + `,"eos_token_id":"x"`, gpt2 + `,"layer_norm_epsilon":-1`, gpt2 + `,"n_inner":0.5`,
		llama + `,"hidden_act":"gelu"`, llama + `,"attention_bias":true`, llama + `,"mlp_bias":true`, llama + `,"head_dim":8`,
		llama + `,"rope_scaling":{"type":"linear","factor":2}`, llama + `,"rope_parameters":{"rope_type":"llama3"}`,
		llama + `,"num_key_value_heads":3`, llama + `,"rope_theta":0.0,"num_attention_heads":0,"head_dim":4`,
	} {
		if _, err := ParseConfig([]byte("{" + text + "}")); err == nil {
			t.Errorf("accepted %s", text)
		}
	}
}
