package checkpoint

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model"
)

var (
	smallGPT1  = model.Config{Family: "gpt1", Vocab: 300, Context: 16, Layers: 2, Width: 16, Heads: 2, BOS: -1, EOS: 299}
	smallGPT3  = model.Config{Family: "gpt3", Vocab: 300, Context: 16, Layers: 3, Width: 16, Heads: 2, Window: 5, BOS: -1, EOS: -1}
	smallQwen2 = model.Config{Family: "llama", Vocab: 300, Context: 16, Layers: 2, Width: 16, Heads: 4, KVHeads: 2, Hidden: 24, RopeTheta: 1e6, Tied: true,
		QKVBias: true, RopeScaling: model.RopeScaling{Kind: "linear", Factor: 2.5}, BOS: -1, EOS: 1}
	scaledLlama = model.Config{Family: "llama", Vocab: 300, Context: 16, Layers: 1, Width: 16, Heads: 4, Hidden: 24, BOS: 1, EOS: 2,
		RopeScaling: model.RopeScaling{Kind: "llama3", Factor: 8, LowFreq: 1, HighFreq: 4, Original: 8192}}
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
		{smallGPT1, model.HeadLM, "F32", `{"model_type":"openai-gpt","architectures":["OpenAIGPTLMHeadModel"],"vocab_size":300,"n_positions":16,
			"n_ctx":16,"n_embd":16,"n_layer":2,"n_head":2,"afn":"gelu","layer_norm_epsilon":0.00001,"tie_word_embeddings":true}`},
		{smallGPT1, model.HeadScore, "F32", `{"architectures":["OpenAIGPTForSequenceClassification"]}`},
		{smallGPT3, model.HeadLM, "F32", `{"model_type":"gpt3","architectures":["GPT3LMHeadModel"],"n_positions":16,"n_inner":64,"window":5,
			"activation_function":"gelu_new","tie_word_embeddings":true}`},
		{smallQwen2, model.HeadLM, "F32", `{"model_type":"qwen2","architectures":["Qwen2ForCausalLM"],"use_sliding_window":false,"hidden_size":16,
			"rope_theta":1000000,"rope_scaling":{"factor":2.5,"rope_type":"linear","type":"linear"}}`},
		{smallQwen2, model.HeadScore, "F32", `{"architectures":["Qwen2ForSequenceClassification"]}`},
		{scaledLlama, model.HeadLM, "F32", `{"model_type":"llama","rope_scaling":{"factor":8.0,"high_freq_factor":4.0,"low_freq_factor":1.0,
			"original_max_position_embeddings":8192,"rope_type":"llama3"}}`},
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

// TestFamiliesRoundTrip saves and loads a model of every layout, to the bit; a tensor's
// name is that of transformers.
func TestFamiliesRoundTrip(t *testing.T) {
	for name, cfg := range map[string]model.Config{
		"transformer.tokens_embed.weight": smallGPT1, "transformer.h.2.attn.c_attn.bias": smallGPT3,
		"model.layers.1.self_attn.k_proj.bias": smallQwen2, "model.layers.0.self_attn.o_proj.weight": scaledLlama,
	} {
		m := mustModel(t, cfg, model.HeadLM, false)
		dir := save(t, &Checkpoint{Model: m}, "F32")
		back, err := Load(dir)
		if err != nil || back.Model.Config() != m.Config() || !sameWeights(back.Model, m) {
			t.Errorf("%s: %v", cfg.Family, err)
		}
		tensors, err := ReadTensors(filepath.Join(dir, weightsName))
		if _, ok := tensors[name]; !ok || err != nil {
			t.Errorf("%s: no tensor %s (%v)", cfg.Family, name, err)
		}
	}
}

// TestPublishedConfigs reads config.json as published models have it.
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
		`{"afn":"gelu","architectures":["OpenAIGPTLMHeadModel"],"attn_pdrop":0.1,"embd_pdrop":0.1,"initializer_range":0.02,
		"layer_norm_epsilon":1e-05,"model_type":"openai-gpt","n_ctx":512,"n_embd":768,"n_head":12,"n_layer":12,"n_positions":512,
		"n_special":0,"predict_special_tokens":true,"resid_pdrop":0.1,"summary_activation":null,"summary_first_dropout":0.1,
		"summary_proj_to_labels":true,"summary_type":"cls_index","summary_use_proj":true,
		"task_specific_params":{"text-generation":{"do_sample":true,"max_length":50}},"vocab_size":40478}`: {
			Family: "gpt1", Vocab: 40478, Context: 512, Layers: 12, Width: 768, Heads: 12, KVHeads: 12, Hidden: 3072,
			NormEps: 1e-5, RopeTheta: 10000, Tied: true, BOS: -1, EOS: -1},
		`{"architectures":["LlamaForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"bos_token_id":128000,
		"eos_token_id":[128001,128008,128009],"head_dim":64,"hidden_act":"silu","hidden_size":2048,"initializer_range":0.02,
		"intermediate_size":8192,"max_position_embeddings":131072,"mlp_bias":false,"model_type":"llama","num_attention_heads":32,
		"num_hidden_layers":16,"num_key_value_heads":8,"pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":{"factor":32.0,
		"high_freq_factor":4.0,"low_freq_factor":1.0,"original_max_position_embeddings":8192,"rope_type":"llama3"},"rope_theta":500000.0,
		"tie_word_embeddings":true,"torch_dtype":"bfloat16","transformers_version":"4.45.0","use_cache":true,"vocab_size":128256}`: {
			Family: "llama", Vocab: 128256, Context: 131072, Layers: 16, Width: 2048, Heads: 32, KVHeads: 8, Hidden: 8192,
			NormEps: 1e-5, RopeTheta: 500000, Tied: true, BOS: 128000, EOS: 128001,
			RopeScaling: model.RopeScaling{Kind: "llama3", Factor: 32, LowFreq: 1, HighFreq: 4, Original: 8192}},
		`{"architectures":["Qwen2ForCausalLM"],"attention_dropout":0.0,"bos_token_id":151643,"eos_token_id":151645,"hidden_act":"silu",
		"hidden_size":896,"initializer_range":0.02,"intermediate_size":4864,"max_position_embeddings":32768,"max_window_layers":21,
		"model_type":"qwen2","num_attention_heads":14,"num_hidden_layers":24,"num_key_value_heads":2,"rms_norm_eps":1e-06,
		"rope_theta":1000000.0,"sliding_window":32768,"tie_word_embeddings":true,"torch_dtype":"bfloat16",
		"transformers_version":"4.43.1","use_cache":true,"use_sliding_window":false,"vocab_size":151936}`: {
			Family: "llama", Vocab: 151936, Context: 32768, Layers: 24, Width: 896, Heads: 14, KVHeads: 2, Hidden: 4864,
			NormEps: 1e-6, RopeTheta: 1e6, Tied: true, QKVBias: true, BOS: 151643, EOS: 151645},
	} {
		if got, err := ParseConfig([]byte(text)); err != nil || got != want {
			t.Errorf("got %+v, %v", got, err)
		}
	}
}

func TestConfigRefuses(t *testing.T) {
	const gpt2 = `"model_type":"gpt2","vocab_size":10,"n_positions":4,"n_embd":8,"n_layer":1,"n_head":2`
	const llama = `"model_type":"llama","vocab_size":10,"max_position_embeddings":4,"hidden_size":8,"num_hidden_layers":1,"num_attention_heads":2,"intermediate_size":8`
	const gpt1 = `"model_type":"openai-gpt","vocab_size":10,"n_positions":4,"n_embd":8,"n_layer":1,"n_head":2`
	const gpt3 = `"model_type":"gpt3","vocab_size":10,"n_positions":4,"n_embd":8,"n_layer":1,"n_head":2`
	const qwen2 = `"model_type":"qwen2","vocab_size":10,"max_position_embeddings":64,"hidden_size":8,"num_hidden_layers":4,"num_attention_heads":2,"num_key_value_heads":1,"intermediate_size":8`
	for _, text := range []string{gpt2, llama, llama + `,"head_dim":4`, gpt2 + `,"activation_function":"gelu_pytorch_tanh"`, gpt1, gpt1 + `,"afn":"gelu"`,
		gpt3, gpt3 + `,"window":3`, gpt3 + `,"window":null`, qwen2, qwen2 + `,"sliding_window":null,"use_sliding_window":true`,
		qwen2 + `,"use_sliding_window":true,"sliding_window":8,"max_window_layers":4`, qwen2 + `,"use_sliding_window":true,"sliding_window":64,"max_window_layers":0`,
		qwen2 + `,"use_sliding_window":true,"sliding_window":8,"max_window_layers":0,"layer_types":["full_attention"]`,
		llama + `,"rope_scaling":null`, llama + `,"rope_scaling":{"type":"linear","factor":2}`, llama + `,"rope_scaling":{"rope_type":"default"}`,
		llama + `,"rope_scaling":{"type":"linear","factor":2},"rope_parameters":{"rope_type":"linear","factor":2.0}`,
		llama + `,"rope_parameters":{"rope_theta":500.0,"rope_type":"llama3","factor":2,"low_freq_factor":1,"high_freq_factor":2,"original_max_position_embeddings":8}`,
	} {
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
		llama + `,"rope_scaling":{"type":"linear","factor":0.5}`, llama + `,"rope_scaling":{"type":"linear"}`, llama + `,"rope_parameters":{"rope_type":"llama3"}`,
		llama + `,"rope_scaling":{"rope_type":"yarn","factor":4,"beta_fast":32}`, llama + `,"rope_scaling":{"type":"dynamic","factor":4}`,
		llama + `,"rope_scaling":{"rope_type":"longrope"}`, llama + `,"rope_parameters":{"full_attention":{"rope_theta":500}}`, llama + `,"rope_scaling":7`,
		llama + `,"rope_scaling":{"type":"linear","factor":2},"rope_parameters":{"rope_type":"linear","factor":4}`,
		llama + `,"rope_parameters":{"rope_type":"default","partial_rotary_factor":0.5}`, llama + `,"partial_rotary_factor":0.5`,
		llama + `,"rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":4,"high_freq_factor":4,"original_max_position_embeddings":8192}`,
		gpt1 + `,"afn":"relu"`, gpt1 + `,"tie_word_embeddings":false`, gpt2 + `,"tie_word_embeddings":false`, gpt3 + `,"window":0`, gpt3 + `,"window":-1`, gpt3 + `,"window":"all"`,
		qwen2 + `,"use_sliding_window":true,"sliding_window":8,"max_window_layers":3`, qwen2 + `,"layer_types":["chunked_attention"]`,
		qwen2 + `,"use_sliding_window":true,"sliding_window":8,"layer_types":["full_attention","sliding_attention"]`,
		qwen2 + `,"mlp_bias":true`, qwen2 + `,"hidden_act":"gelu"`,
		llama + `,"num_key_value_heads":3`, llama + `,"rope_theta":0.0,"num_attention_heads":0,"head_dim":4`,
	} {
		if _, err := ParseConfig([]byte("{" + text + "}")); err == nil {
			t.Errorf("accepted %s", text)
		}
	}
}

// TestUnknownKindsAreNamed: an error that says what the file asks for can be mended.
func TestUnknownKindsAreNamed(t *testing.T) {
	const llama = `{"model_type":"llama","vocab_size":10,"hidden_size":8,"num_hidden_layers":1,"num_attention_heads":2,`
	for text, want := range map[string]string{
		`{"model_type":"mamba"}`: "\"mamba\" is not one of gpt2, gpt3, llama, openai-gpt, qwen2",
		llama + `"rope_scaling":{"rope_type":"yarn","factor":4.0,"beta_fast":32}}`: "rope_scaling: the kind \"yarn\" is not supported; linear and llama3 are",
		llama + `"rope_scaling":{"type":"dynamic","factor":4.0}}`:                  "the kind \"dynamic\"",
		llama + `"rope_parameters":{"rope_type":"linear","factor":2,"beta":1}}`:    "unknown field \"beta\"",
		llama + `"attention_bias":true}`:                                           "attention_bias: ",
		llama + `"head_dim":128}`:                                                  "head_dim: 128 is not hidden_size/num_attention_heads",
	} {
		if _, err := ParseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
