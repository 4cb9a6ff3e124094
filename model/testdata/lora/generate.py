#!/usr/bin/python3
"""Reference numbers of LoRA adapters (Hu et al. 2021) on tiny GPT-1, GPT-2 and Llama models, in float64 with PyTorch:
logits, loss, gradients of A and B, three AdamW steps and the merged weights. Run it in this folder; it writes a folder per case:
config.json, model.safetensors (the base), adapter.safetensors, reference.json, reference.safetensors.
An adapted layer is written here as the layer with the merged matrix, so nothing is shared with an implementation that keeps
the factors apart."""
import json, math, os, struct
import numpy as np, torch
import torch.nn.functional as F

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
DTYPE = {"float64": "F64", "float32": "F32", "int64": "I64"}


def save(path, tensors):
    header, offset, data = {}, 0, []
    for name in sorted(tensors):
        a = tensors[name].detach().numpy()
        shape = list(a.shape)
        b = np.ascontiguousarray(a).tobytes()
        header[name] = {"dtype": DTYPE[a.dtype.name], "shape": shape, "data_offsets": [offset, offset + len(b)]}
        offset += len(b)
        data.append(b)
    h = json.dumps(header, separators=(",", ":")).encode()
    h += b" " * (-len(h) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(h)) + h + b"".join(data))


def attend(q, k, v, H, KV):
    heads = lambda x, n: x.view(x.shape[0], x.shape[1], n, -1).transpose(1, 2)
    q, k, v = heads(q, H), heads(k, KV), heads(v, KV)
    k, v = k.repeat_interleave(H // KV, 1), v.repeat_interleave(H // KV, 1)
    T = q.shape[2]
    s = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).masked_fill(~torch.ones(T, T).tril().bool(), -math.inf)
    return (torch.softmax(s, -1) @ v).transpose(1, 2).reshape(q.shape[0], T, -1)


def gelu(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gpt(P, c, ids, post):
    C, H = c["n_embd"], c["n_head"]
    tok, pos = ("tokens_embed.weight", "positions_embed.weight") if post else ("wte.weight", "wpe.weight")
    ln = lambda x, n: F.layer_norm(x, (C,), P[n + ".weight"], P[n + ".bias"], c["layer_norm_epsilon"])
    lin = lambda x, n: x @ P[n + ".weight"] + P[n + ".bias"]
    x = P[tok][ids] + P[pos][: ids.shape[1]]
    for i in range(c["n_layer"]):
        h = f"h.{i}."
        att = lambda n: lin(attend(*lin(n, h + "attn.c_attn").split(C, -1), H, H), h + "attn.c_proj")
        mlp = lambda n: lin(gelu(lin(n, h + "mlp.c_fc")), h + "mlp.c_proj")
        if post:
            x = ln(x + att(x), h + "ln_1")
            x = ln(x + mlp(x), h + "ln_2")
        else:
            x = x + att(ln(x, h + "ln_1"))
            x = x + mlp(ln(x, h + "ln_2"))
    return (x if post else ln(x, "ln_f")) @ P[tok].T


def rotate(x, n, theta):
    B, T, W = x.shape
    x = x.view(B, T, n, W // n)
    D = W // n
    f = torch.arange(T)[:, None] / theta ** (torch.arange(0, D, 2) / D)
    cos, sin = f.cos()[:, None], f.sin()[:, None]
    a, b = x[..., : D // 2], x[..., D // 2 :]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).reshape(B, T, W)


def llama(P, c, ids):
    H, KV, theta = c["num_attention_heads"], c["num_key_value_heads"], c["rope_theta"]
    rms = lambda x, n: x / torch.sqrt((x * x).mean(-1, keepdim=True) + c["rms_norm_eps"]) * P[n + ".weight"]
    x = P["model.embed_tokens.weight"][ids]
    for i in range(c["num_hidden_layers"]):
        h = f"model.layers.{i}."
        lin = lambda x, n: x @ P[h + n + "_proj.weight"].T
        n = rms(x, h + "input_layernorm")
        q, k = rotate(lin(n, "self_attn.q"), H, theta), rotate(lin(n, "self_attn.k"), KV, theta)
        x = x + lin(attend(q, k, lin(n, "self_attn.v"), H, KV), "self_attn.o")
        n = rms(x, h + "post_attention_layernorm")
        x = x + lin(F.silu(lin(n, "mlp.gate")) * lin(n, "mlp.up"), "mlp.down")
    return rms(x, "model.norm") @ P["model.embed_tokens.weight" if c["tie_word_embeddings"] else "lm_head.weight"].T


def shapes(c):
    S = {}
    if c["model_type"] == "llama":
        C, V, I, KV = c["hidden_size"], c["vocab_size"], c["intermediate_size"], c["num_key_value_heads"]
        kv = C // c["num_attention_heads"] * KV
        S["model.embed_tokens.weight"] = (V, C)
        for i in range(c["num_hidden_layers"]):
            h = f"model.layers.{i}."
            S |= {h + "input_layernorm.weight": (C,), h + "post_attention_layernorm.weight": (C,)}
            for n, s in {"self_attn.q": (C, C), "self_attn.k": (kv, C), "self_attn.v": (kv, C), "self_attn.o": (C, C), "mlp.gate": (I, C), "mlp.up": (I, C), "mlp.down": (C, I)}.items():
                S[h + n + "_proj.weight"] = s
        S["model.norm.weight"] = (C,)
        if not c["tie_word_embeddings"]:
            S["lm_head.weight"] = (V, C)
        return S
    C, V, T, post = c["n_embd"], c["vocab_size"], c["n_positions"], c["model_type"] == "openai-gpt"
    S |= {"tokens_embed.weight": (V, C), "positions_embed.weight": (T, C)} if post else {"wte.weight": (V, C), "wpe.weight": (T, C)}
    norms = [] if post else ["ln_f"]
    for i in range(c["n_layer"]):
        h = f"h.{i}."
        norms += [h + "ln_1", h + "ln_2"]
        for n, s in {"attn.c_attn": (C, 3 * C), "attn.c_proj": (C, C), "mlp.c_fc": (C, 4 * C), "mlp.c_proj": (4 * C, C)}.items():
            S |= {h + n + ".weight": s, h + n + ".bias": s[1:]}
    for n in norms:
        S |= {n + ".weight": (C,), n + ".bias": (C,)}
    return S


def forward(P, c, ids):
    if c["model_type"] == "llama":
        return llama(P, c, ids)
    return gpt(P, c, ids, c["model_type"] == "openai-gpt")


def make(name, c, rank, alpha, targets, seed, B=3, T=9, lr=3e-3):
    g = torch.Generator().manual_seed(seed)
    draw = lambda s, sd: (torch.randn(*s, generator=g) * sd).float().double()
    P = {}
    for n, s in shapes(c).items():
        norm = len(s) == 1 and n.endswith("weight")
        P[n] = (draw(s, 0.2) + norm).float().double()
    conv, A = c["model_type"] != "llama", {}
    modules = [n[:-7] for n in P if n.endswith(".weight") and n[:-7].split(".")[-1] in targets]
    for m in modules:
        s = P[m + ".weight"].shape
        fan_in, fan_out = s if conv else s[::-1]
        A[m + ".lora_A"], A[m + ".lora_B"] = draw((rank, fan_in), 0.3), draw((fan_out, rank), 0.2)

    def merged(A):
        Q = dict(P)
        for m in modules:
            d = alpha / rank * A[m + ".lora_B"] @ A[m + ".lora_A"]
            Q[m + ".weight"] = P[m + ".weight"] + (d.T if conv else d)
        return Q

    def loss_of(A, ids):
        logits = forward(merged(A), c, ids[:, :-1])
        lp = torch.log_softmax(logits, -1).gather(-1, ids[:, 1:, None])[..., 0]
        return logits, -lp.mean()

    leaf = lambda: {k: v.clone().requires_grad_(True) for k, v in A.items()}
    batches = [torch.randint(0, c["vocab_size"], (B, T + 1), generator=g) for _ in range(3)]
    X = leaf()
    logits, loss = loss_of(X, batches[0])
    loss.backward()
    out = {"logits": logits, "loss": loss} | {"grad." + k: v.grad for k, v in X.items()} | {f"ids.{i}": b for i, b in enumerate(batches)}
    out |= {"merged." + m: merged(A)[m + ".weight"] for m in modules}
    X, losses, norms = leaf(), [], []
    opt = torch.optim.AdamW(X.values(), lr=lr, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    for ids in batches:
        opt.zero_grad()
        _, loss = loss_of(X, ids)
        loss.backward()
        losses.append(float(loss))
        norms.append(float(torch.nn.utils.clip_grad_norm_(X.values(), 1.0)))
        opt.step()
    out |= {"after3." + k: v for k, v in X.items()}
    os.makedirs(name, exist_ok=True)
    save(f"{name}/model.safetensors", {k: v.float() for k, v in P.items()})
    save(f"{name}/adapter.safetensors", {k: v.float() for k, v in A.items()})
    save(f"{name}/reference.safetensors", out)
    for file, o in {"config": c, "reference": dict(seed=seed, lora=dict(rank=rank, alpha=alpha, targets=targets), adamw=dict(lr=lr), step_losses=losses, step_grad_norms_before_clip=norms)}.items():
        with open(f"{name}/{file}.json", "w") as f:
            json.dump(o, f, indent=1)
            f.write("\n")
    print(name, "loss", losses, "norms", norms)


gpt_shape = dict(n_layer=2, n_embd=8, n_head=2, n_positions=10, n_ctx=10, vocab_size=23, layer_norm_epsilon=1e-5)
llama_shape = dict(model_type="llama", num_hidden_layers=2, hidden_size=8, num_attention_heads=4, num_key_value_heads=2, intermediate_size=14, vocab_size=23, max_position_embeddings=10, rms_norm_eps=1e-5, rope_theta=10000.0)
make("gpt1_all", dict(gpt_shape, model_type="openai-gpt", afn="gelu"), 2, 3.0, ["c_attn", "c_proj", "c_fc"], 1)
make("gpt2_attention", dict(gpt_shape, model_type="gpt2"), 3, 6.0, ["c_attn"], 2)
make("gpt2_all", dict(gpt_shape, model_type="gpt2"), 2, 5.0, ["c_attn", "c_proj", "c_fc"], 3)
make("llama_qv", dict(llama_shape, tie_word_embeddings=True), 1, 2.0, ["q_proj", "v_proj"], 4)
make("llama_all", dict(llama_shape, tie_word_embeddings=False), 4, 8.0, ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], 5)
