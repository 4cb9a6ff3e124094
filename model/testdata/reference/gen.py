#!/usr/bin/python3
"""Reference numbers for what fixtures do not cover: banded attention (gpt3), rotary scaling (linear, llama3) and biases on
queries, keys and values (qwen2). Usage: gen.py [DIR]; writes a folder per case beside itself, or in DIR.

Explicit PyTorch in float64 from the papers and from the formulas of Hugging Face transformers (modeling_rope_utils.py,
modeling_qwen2.py), with whole T x T masks; nothing is taken from the Go code. Made with Debian's python3-torch 1.13 and
python3-numpy 1.24. A case has the layout that TestReference reads: config.json, model.safetensors (float32 weights, which are
exact in float64), reference.safetensors (batches; logits, loss, gradients of all tensors; the weights after three steps of
torch.optim.AdamW), reference.json (scalars, a greedy continuation)."""
import json, math, os, struct, sys

import numpy as np
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


def gelu_new(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def heads(x, n):  # (B,T,n*D) -> (B,n,T,D)
    return x.unflatten(-1, (n, -1)).transpose(1, 2)


def attention(q, k, v, mask):
    """mask (T,T): True where the row's position sees the column's."""
    scores = (q @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
    return (scores.masked_fill(~mask, -math.inf).softmax(-1) @ v).transpose(1, 2).flatten(2)


def causal(T, window=None):
    i, j = torch.arange(T)[:, None], torch.arange(T)[None, :]
    seen = j <= i
    return seen if window is None else seen & (i - j < window)


def gpt3(P, c, ids):
    """GPT-2's pre-LN block; layers 1, 3, ... see the last c["window"] positions, their own included."""
    T, C = ids.shape[1], c["n_embd"]
    norm = lambda x, n: F.layer_norm(x, (C,), P[n + ".weight"], P[n + ".bias"], c["layer_norm_epsilon"])
    conv = lambda x, n: x @ P[n + ".weight"] + P[n + ".bias"]
    x = P["wte.weight"][ids] + P["wpe.weight"][:T]
    for l in range(c["n_layer"]):
        h = f"h.{l}."
        q, k, v = (heads(t, c["n_head"]) for t in conv(norm(x, h + "ln_1"), h + "attn.c_attn").chunk(3, -1))
        x = x + conv(attention(q, k, v, causal(T, c["window"] if l % 2 else None)), h + "attn.c_proj")
        x = x + conv(gelu_new(conv(norm(x, h + "ln_2"), h + "mlp.c_fc")), h + "mlp.c_proj")
    return norm(x, "ln_f") @ P["wte.weight"].T


def frequencies(c, D):
    inv = 1.0 / c["rope_theta"] ** (torch.arange(0, D, 2) / D)
    s = c.get("rope_scaling") or {}
    kind = s.get("rope_type", s.get("type"))
    if kind == "linear":
        inv = inv / s["factor"]
    if kind == "llama3":  # _compute_llama3_parameters
        low, high, old = s["low_freq_factor"], s["high_freq_factor"], s["original_max_position_embeddings"]
        wavelen = 2 * math.pi / inv
        scaled = torch.where(wavelen > old / low, inv / s["factor"], inv)
        smooth = (old / wavelen - low) / (high - low)
        smoothed = (1 - smooth) * scaled / s["factor"] + smooth * scaled
        medium = ~(wavelen < old / high) & ~(wavelen > old / low)
        assert medium.any() and not medium.all(), "the case should have frequencies of every kind"
        inv = torch.where(medium, smoothed, scaled)
    return inv


def rotate(x, inv):
    angle = torch.arange(x.shape[2])[:, None] * inv
    cos, sin = torch.cat([angle, angle], -1).cos(), torch.cat([angle, angle], -1).sin()
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


def llama(P, c, ids):
    H, KV, T = c["num_attention_heads"], c["num_key_value_heads"], ids.shape[1]
    norm = lambda x, n: x * (x.pow(2).mean(-1, keepdim=True) + c["rms_norm_eps"]).rsqrt() * P[n + ".weight"]
    lin = lambda x, n: F.linear(x, P[n + ".weight"], P.get(n + ".bias"))
    inv = frequencies(c, c["hidden_size"] // H)
    x = P["model.embed_tokens.weight"][ids]
    for l in range(c["num_hidden_layers"]):
        h = f"model.layers.{l}."
        n = norm(x, h + "input_layernorm")
        q = rotate(heads(lin(n, h + "self_attn.q_proj"), H), inv)
        k = rotate(heads(lin(n, h + "self_attn.k_proj"), KV), inv).repeat_interleave(H // KV, 1)
        v = heads(lin(n, h + "self_attn.v_proj"), KV).repeat_interleave(H // KV, 1)
        x = x + lin(attention(q, k, v, causal(T)), h + "self_attn.o_proj")
        n = norm(x, h + "post_attention_layernorm")
        x = x + lin(F.silu(lin(n, h + "mlp.gate_proj")) * lin(n, h + "mlp.up_proj"), h + "mlp.down_proj")
    head = "model.embed_tokens" if c["tie_word_embeddings"] else "lm_head"
    return lin(norm(x, "model.norm"), head)


def shapes(c):
    """name -> shape of every tensor, in no particular order."""
    if c["model_type"] == "gpt3":
        C, I = c["n_embd"], 4 * c["n_embd"]
        out = {"wte.weight": (c["vocab_size"], C), "wpe.weight": (c["n_positions"], C), "ln_f.weight": (C,), "ln_f.bias": (C,)}
        for l in range(c["n_layer"]):
            for n, s in {"ln_1": (C,), "ln_2": (C,), "attn.c_attn": (C, 3 * C), "attn.c_proj": (C, C), "mlp.c_fc": (C, I), "mlp.c_proj": (I, C)}.items():
                out[f"h.{l}.{n}.weight"], out[f"h.{l}.{n}.bias"] = s, s[-1:]
        return out
    C, I, V = c["hidden_size"], c["intermediate_size"], c["vocab_size"]
    kv = C // c["num_attention_heads"] * c["num_key_value_heads"]
    out = {"model.embed_tokens.weight": (V, C), "model.norm.weight": (C,)}
    if not c["tie_word_embeddings"]:
        out["lm_head.weight"] = (V, C)
    for l in range(c["num_hidden_layers"]):
        h = f"model.layers.{l}."
        out[h + "input_layernorm.weight"] = out[h + "post_attention_layernorm.weight"] = (C,)
        for n, o in {"q": C, "k": kv, "v": kv}.items():
            out[h + f"self_attn.{n}_proj.weight"] = (o, C)
            if c["model_type"] == "qwen2":
                out[h + f"self_attn.{n}_proj.bias"] = (o,)
        out[h + "self_attn.o_proj.weight"] = (C, C)
        out[h + "mlp.gate_proj.weight"] = out[h + "mlp.up_proj.weight"] = (I, C)
        out[h + "mlp.down_proj.weight"] = (C, I)
    return out


def init(c, gen):
    P = {}
    for name, s in sorted(shapes(c).items()):
        x = torch.randn(*s, generator=gen)
        is_norm = len(s) == 1 and name.endswith("weight")
        P[name] = (1 + 0.2 * x if is_norm else x * (0.3 if len(s) > 1 else 0.2)).float().double()
    return P


def save(path, tensors):
    head, blobs, at = {}, [], 0
    for name in sorted(tensors):
        a = tensors[name].detach().numpy()
        kind = {"float32": "F32", "float64": "F64", "int64": "I64"}[a.dtype.name]
        b = np.ascontiguousarray(a).tobytes()
        head[name] = {"dtype": kind, "shape": list(a.shape), "data_offsets": [at, at + len(b)]}
        at += len(b)
        blobs.append(b)
    h = json.dumps(head, separators=(",", ":")).encode()
    h += b" " * (-len(h) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(h)) + h + b"".join(blobs))


def loss_of(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def case(root, name, c, seed, B=2, T=20, lr=3e-3):
    forward = gpt3 if c["model_type"] == "gpt3" else llama
    gen = torch.Generator().manual_seed(seed)
    P, V = init(c, gen), c["vocab_size"]
    batches = []
    for _ in range(3):
        text = torch.randint(0, V, (B, T + 1), generator=gen)
        batches.append((text[:, :-1].contiguous(), text[:, 1:].contiguous()))
    Q = {k: v.clone().requires_grad_() for k, v in P.items()}
    ids, targets = batches[0]
    logits = forward(Q, c, ids)
    loss = loss_of(logits, targets)
    loss.backward()
    ones, logp = torch.ones_like(ids), logits.detach().log_softmax(-1)
    out = {"input_ids": ids, "targets": targets, "attention_mask": ones, "logits": logits, "loss": loss,
           "target_logprobs": logp.gather(-1, targets[..., None])[..., 0],
           "token_logprobs": logp[:, :-1].gather(-1, ids[:, 1:, None])[..., 0], "entropy": -(logp.exp() * logp).sum(-1)}
    out.update({"grad." + k: v.grad for k, v in Q.items()})
    R = {k: v.clone().requires_grad_() for k, v in P.items()}
    opt = torch.optim.AdamW([{"params": [v for v in R.values() if v.ndim > 1], "weight_decay": 0.1},
                             {"params": [v for v in R.values() if v.ndim < 2], "weight_decay": 0.0}], lr=lr, betas=(0.9, 0.95), eps=1e-8)
    losses, norms = [], []
    for i, (ids_, targets_) in enumerate(batches):
        opt.zero_grad()
        l = loss_of(forward(R, c, ids_), targets_)
        l.backward()
        losses.append(l.item())
        norms.append(torch.nn.utils.clip_grad_norm_(list(R.values()), 1.0).item())
        opt.step()
        out[f"train.input_ids.{i}"], out[f"train.targets.{i}"], out[f"train.attention_mask.{i}"] = ids_, targets_, ones
    out.update({"after3." + k: v for k, v in R.items()})
    story, gap = ids[0, :5].tolist(), math.inf
    with torch.no_grad():
        while len(story) < 24:
            best = forward(P, c, torch.tensor([story]))[0, -1].topk(2)
            gap = min(gap, (best.values[0] - best.values[1]).item())
            story.append(best.indices[0].item())
    assert gap > 1e-3, f"{name}: two tokens are almost alike, take another seed"
    d = os.path.join(root, name)
    os.makedirs(d, exist_ok=True)
    save(f"{d}/model.safetensors", {k: v.float() for k, v in P.items()})
    save(f"{d}/reference.safetensors", out)
    for file, what in (("config.json", c), ("reference.json", {
            "seed": seed, "batch": B, "seq_len": T, "loss": loss.item(), "adamw": {"lr": lr, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1},
            "step_losses": losses, "step_grad_norms_before_clip": norms, "greedy": {"prompt": story[:5], "ids": story, "min_top2_logit_gap": gap}})):
        with open(f"{d}/{file}", "w") as f:
            f.write(json.dumps(what, indent=1) + "\n")
    print(name, "loss %.4f" % loss.item(), "steps", ["%.3f" % x for x in losses], "gap %.3g" % gap)


def gpt(layers, width, n, window, context=24, vocab=23):
    return {"model_type": "gpt3", "n_layer": layers, "n_embd": width, "n_head": n, "n_positions": context, "vocab_size": vocab,
            "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new", "window": window}


def rotary(kind, layers, width, n, kv, hidden, tied, theta=10000.0, scaling=None, vocab=23):
    c = {"model_type": kind, "num_hidden_layers": layers, "hidden_size": width, "num_attention_heads": n, "num_key_value_heads": kv,
         "intermediate_size": hidden, "vocab_size": vocab, "max_position_embeddings": 24, "rms_norm_eps": 1e-6, "rope_theta": theta,
         "hidden_act": "silu", "tie_word_embeddings": tied}
    if scaling:
        c["rope_scaling"] = scaling
    return c


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 128}

if __name__ == "__main__":
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    case(root, "gpt3_band", gpt(3, 8, 2, window=5), 31)
    case(root, "gpt3_narrow_band", gpt(2, 8, 1, window=2), 32)
    case(root, "llama_linear", rotary("llama", 2, 8, 1, 1, 12, True, scaling={"type": "linear", "factor": 4.0}), 33)
    case(root, "llama_llama3", rotary("llama", 1, 16, 2, 1, 12, False, scaling=LLAMA3), 34)
    case(root, "qwen2", rotary("qwen2", 2, 8, 4, 2, 12, False, theta=1e6), 35)
    case(root, "qwen2_llama3", rotary("qwen2", 1, 16, 2, 2, 12, True, scaling=LLAMA3), 36)
