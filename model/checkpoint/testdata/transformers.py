#!/usr/bin/env python3
"""Looks at exported folders as Hugging Face transformers would, and prints what the test compares with.

Names and shapes are the state dicts of transformers' classes, written out here from their modules; weights are read by
the published description of safetensors, with numpy alone; logits are computed with torch in float64, from the formulas
of the papers. Nothing of the program under test is used.

    go test ./model/checkpoint -run TestTransformers -export /tmp/folders
    python3 model/checkpoint/testdata/transformers.py /tmp/folders > model/checkpoint/testdata/transformers.json
"""
import json
import os
import struct
import sys

import numpy as np
import torch
import torch.nn.functional as F

IDS = [3, 14, 15, 92, 65, 35, 89, 79]


def safetensors(path):
    with open(path, "rb") as f:
        (n,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(n))
        data = f.read()
    assert header.pop("__metadata__")["format"] == "pt"  # transformers looks at it
    assert n % 8 == 0
    out, end = {}, 0
    for name, t in sorted(header.items(), key=lambda kv: kv[1]["data_offsets"]):
        a, b = t["data_offsets"]
        assert a == end and t["dtype"] == "F32"
        out[name] = torch.from_numpy(np.frombuffer(data[a:b], "<f4").reshape(t["shape"]).astype(np.float64))
        end = b
    assert end == len(data)
    return out


def load(folder):
    index = os.path.join(folder, "model.safetensors.index.json")
    if not os.path.exists(index):
        return safetensors(os.path.join(folder, "model.safetensors"))
    with open(index) as f:
        index = json.load(f)
    out = {}
    for file in sorted(set(index["weight_map"].values())):
        part = safetensors(os.path.join(folder, file))
        assert all(index["weight_map"][name] == file for name in part)
        out.update(part)
    assert set(out) == set(index["weight_map"])
    assert sum(4 * t.numel() for t in out.values()) == index["metadata"]["total_size"]
    return out


# State dicts: name -> shape.

def gpt2_names(c):
    C, inner = c["n_embd"], c["n_inner"]
    out = {"transformer.wte.weight": [c["vocab_size"], C], "transformer.wpe.weight": [c["n_positions"], C],
           "transformer.ln_f.weight": [C], "transformer.ln_f.bias": [C]}
    for i in range(c["n_layer"]):
        out.update(conv1d_block(f"transformer.h.{i}.", C, inner))
    return out


def conv1d_block(h, C, inner):
    return {h + "ln_1.weight": [C], h + "ln_1.bias": [C], h + "attn.c_attn.weight": [C, 3 * C], h + "attn.c_attn.bias": [3 * C],
            h + "attn.c_proj.weight": [C, C], h + "attn.c_proj.bias": [C], h + "ln_2.weight": [C], h + "ln_2.bias": [C],
            h + "mlp.c_fc.weight": [C, inner], h + "mlp.c_fc.bias": [inner], h + "mlp.c_proj.weight": [inner, C], h + "mlp.c_proj.bias": [C]}


def gpt1_names(c):
    C = c["n_embd"]
    out = {"transformer.tokens_embed.weight": [c["vocab_size"], C], "transformer.positions_embed.weight": [c["n_positions"], C]}
    for i in range(c["n_layer"]):
        out.update(conv1d_block(f"transformer.h.{i}.", C, 4 * C))
    return out


def llama_names(c):
    C, inner, D = c["hidden_size"], c["intermediate_size"], c["hidden_size"] // c["num_attention_heads"]
    kv = c["num_key_value_heads"] * D
    out = {"model.embed_tokens.weight": [c["vocab_size"], C], "model.norm.weight": [C]}
    for i in range(c["num_hidden_layers"]):
        h = f"model.layers.{i}."
        out.update({h + "input_layernorm.weight": [C], h + "post_attention_layernorm.weight": [C],
                    h + "self_attn.q_proj.weight": [C, C], h + "self_attn.k_proj.weight": [kv, C],
                    h + "self_attn.v_proj.weight": [kv, C], h + "self_attn.o_proj.weight": [C, C],
                    h + "mlp.gate_proj.weight": [inner, C], h + "mlp.up_proj.weight": [inner, C], h + "mlp.down_proj.weight": [C, inner]})
        if c["model_type"] == "qwen2":
            out.update({h + "self_attn.q_proj.bias": [C], h + "self_attn.k_proj.bias": [kv], h + "self_attn.v_proj.bias": [kv]})
    if not c["tie_word_embeddings"]:
        out["lm_head.weight"] = [c["vocab_size"], C]
    return out


# Logits and, where there is a head, the score after the last token.

def attend(q, k, v):
    T, D = q.shape[-2], q.shape[-1]
    s = q @ k.transpose(-1, -2) / D ** 0.5
    s = s.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), float("-inf"))
    return s.softmax(-1) @ v


def heads(x, n):
    T, C = x.shape
    return x.view(T, n, C // n).transpose(0, 1)


def gelu_new(x):
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x ** 3)))


def gpt(c, w, post):
    n, eps, t = c["n_head"], c["layer_norm_epsilon"], "transformer."
    wte, wpe = (w[t + a + ".weight"] for a in (("tokens_embed", "positions_embed") if post else ("wte", "wpe")))
    x = wte[IDS] + wpe[: len(IDS)]
    C = x.shape[1]
    lin = lambda name, x: x @ w[name + ".weight"] + w[name + ".bias"]
    norm = lambda name, x: F.layer_norm(x, (C,), w[name + ".weight"], w[name + ".bias"], eps)
    for i in range(c["n_layer"]):
        h = f"{t}h.{i}."
        q, k, v = (heads(y, n) for y in lin(h + "attn.c_attn", x if post else norm(h + "ln_1", x)).split(C, 1))
        x = x + lin(h + "attn.c_proj", attend(q, k, v).transpose(0, 1).reshape(len(IDS), C))
        x = norm(h + "ln_1", x) if post else x
        x = x + lin(h + "mlp.c_proj", gelu_new(lin(h + "mlp.c_fc", x if post else norm(h + "ln_2", x))))
        x = norm(h + "ln_2", x) if post else x
    x = x if post else norm(t + "ln_f", x)
    return x @ wte.T, x


def llama(c, w):
    n, kvn, C = c["num_attention_heads"], c["num_key_value_heads"], c["hidden_size"]
    D, T = C // n, len(IDS)
    angle = torch.arange(T, dtype=torch.float64)[:, None] * c["rope_theta"] ** (-torch.arange(0, D, 2, dtype=torch.float64) / D)
    cos, sin = torch.cat([angle, angle], 1).cos(), torch.cat([angle, angle], 1).sin()
    rotate = lambda x: x * cos + torch.cat([-x[..., D // 2:], x[..., : D // 2]], -1) * sin
    rms = lambda name, x: x / (x.pow(2).mean(-1, keepdim=True) + c["rms_norm_eps"]).sqrt() * w[name + ".weight"]
    lin = lambda name, x: x @ w[name + ".weight"].T + w.get(name + ".bias", 0)
    x = w["model.embed_tokens.weight"][IDS]
    for i in range(c["num_hidden_layers"]):
        h = f"model.layers.{i}."
        y = rms(h + "input_layernorm", x)
        q, k, v = rotate(heads(lin(h + "self_attn.q_proj", y), n)), rotate(heads(lin(h + "self_attn.k_proj", y), kvn)), heads(lin(h + "self_attn.v_proj", y), kvn)
        k, v = (a.repeat_interleave(n // kvn, 0) for a in (k, v))
        x = x + lin(h + "self_attn.o_proj", attend(q, k, v).transpose(0, 1).reshape(T, C))
        y = rms(h + "post_attention_layernorm", x)
        x = x + lin(h + "mlp.down_proj", F.silu(lin(h + "mlp.gate_proj", y)) * lin(h + "mlp.up_proj", y))
    x = rms("model.norm", x)
    return x @ (w["model.embed_tokens.weight"] if c["tie_word_embeddings"] else w["lm_head.weight"]).T, x


KINDS = {  # model_type: (names, logits, class of the language model, class with a score)
    "gpt2": (gpt2_names, lambda c, w: gpt(c, w, False), "GPT2LMHeadModel", "GPT2ForSequenceClassification"),
    "openai-gpt": (gpt1_names, lambda c, w: gpt(c, w, True), "OpenAIGPTLMHeadModel", "OpenAIGPTForSequenceClassification"),
    "llama": (llama_names, llama, "LlamaForCausalLM", "LlamaForSequenceClassification"),
    "qwen2": (llama_names, llama, "Qwen2ForCausalLM", "Qwen2ForSequenceClassification"),
}


def look(folder):
    with open(os.path.join(folder, "config.json")) as f:
        c = json.load(f)
    with open(os.path.join(folder, "generation_config.json")) as f:
        assert json.load(f)["eos_token_id"] == c["eos_token_id"]
    names, logits, lm, reward = KINDS[c["model_type"]]
    want, w = names(c), load(folder)
    scored = "score.weight" in w
    if scored:
        want["score.weight"] = [1, c.get("n_embd") or c["hidden_size"]]
    assert c["architectures"] == [reward if scored else lm], c["architectures"]
    assert c["torch_dtype"] == "float32"
    have = {k: list(v.shape) for k, v in w.items()}
    assert have == want, (sorted(set(have) ^ set(want)), [k for k in want if have.get(k) != want[k]])
    out, x = logits(c, w)
    result = {"class": c["architectures"][0], "tensors": want, "ids": IDS, "logits": [[float(f"{v:.9g}") for v in row[:8]] for row in out.tolist()],
              "sums": [float(f"{v:.9g}") for v in out.logsumexp(-1).tolist()]}
    if scored:
        result["score"] = float(f"{(x[-1] @ w['score.weight'][0]).item():.9g}")
    return result


root = sys.argv[1]
folders = sorted(os.listdir(root))
print("{\n" + ",\n".join(f"{json.dumps(d)}: {json.dumps(look(os.path.join(root, d)))}" for d in folders) + "\n}")
