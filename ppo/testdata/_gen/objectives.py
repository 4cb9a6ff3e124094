#!/usr/bin/env python3
"""Reference numbers of the objectives that have no published fixture, by autograd in float64.

    python3 ppo/testdata/_gen/objectives.py > ppo/testdata/objectives.json

Written from the papers' equations, not from the Go code: DPO (Rafailov 2023 eq. 7), cDPO (Mitchell 2023), IPO (Azar 2024 eq. 17),
GRPO (Shao 2024 eq. 3 and 4, Liu 2025), RLOO (Ahmadian 2024 eq. 8), k2 and k3 (Schulman 2020), dual clip (Ye 2020 eq. 5), and Adam as
TensorFlow has it.
"""
import json
import torch

torch.set_default_dtype(torch.float64)
torch.manual_seed(20260101)
LENGTHS = [5, 1, 7, 3, 2, 6]


def rows(scale=1.0, shift=0.0):
    return [scale * torch.randn(n) + shift for n in LENGTHS]


def lists(rs):
    return [r.tolist() for r in rs]


def grads(loss, rs):
    return lists(torch.autograd.grad(loss, rs))


def leaf(rs):
    return [r.clone().requires_grad_() for r in rs]


out = {}
old = rows(0.7, -2.0)
ref = [o + 0.3 * torch.randn(len(o)) for o in old]
new = [o + 0.25 * torch.randn(len(o)) for o in old]
out["old"], out["ref"], out["new"] = lists(old), lists(ref), lists(new)

# KL estimators: values, and mean over tokens with its gradient
out["kl"] = {}
for name, f in {"k1": lambda d: d, "k2": lambda d: d ** 2 / 2, "k3": lambda d: torch.exp(-d) - 1 + d}.items():
    x = leaf(new)
    terms = [f(a - b) for a, b in zip(x, ref)]
    loss = torch.cat(terms).mean()
    out["kl"][name] = {"terms": lists([t.detach() for t in terms]), "loss": loss.item(), "grad": grads(loss, x)}

# dual clip, on tokens
adv = rows(2.0)
far = [o + 1.5 * torch.randn(len(o)) for o in old]
x = leaf(far)
terms = []
for n, o, a in zip(x, old, adv):
    ratio = torch.exp(n - o)
    inner = torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a)
    terms.append(-torch.where(a < 0, torch.maximum(inner, 3.0 * a), inner))
loss = torch.cat(terms).mean()
out["dual_clip"] = {"new": lists(far), "advantages": lists(adv), "dual": 3.0, "clip": 0.2, "loss": loss.item(), "grad": grads(loss, x)}

# GRPO: two groups of three
scores = torch.tensor([1.0, -0.5, 2.0, 0.1, 0.1, 0.4])
groups = scores.view(2, 3)
out["scores"] = scores.tolist()
out["group_std"] = ((groups - groups.mean(1, keepdim=True)) / groups.std(1, unbiased=False, keepdim=True)).view(-1).tolist()
out["group_plain"] = (groups - groups.mean(1, keepdim=True)).view(-1).tolist()
out["grpo"] = []
for std in (True, False):
    a = torch.tensor(out["group_std"] if std else out["group_plain"])
    for reduce in ("sequence", "token", "constant"):
        for form in ("k3", "k2"):
            x = leaf(new)
            per, pg = [], []
            for n, o, r, ai in zip(x, old, ref, a):
                ratio = torch.exp(n - o)
                surr = torch.minimum(ratio * ai, ratio.clamp(0.8, 1.2) * ai)
                d = n - r
                kl = torch.exp(r - n) - (r - n) - 1 if form == "k3" else d ** 2 / 2
                per.append(-(surr - 0.04 * kl))
            if reduce == "sequence":
                loss = torch.stack([p.mean() for p in per]).mean()
            elif reduce == "token":
                loss = torch.cat(per).mean()
            else:
                loss = torch.stack([p.sum() / 8 for p in per]).mean()
            out["grpo"].append({"std": std, "reduce": reduce, "form": form, "beta": 0.04, "clip": 0.2, "max_tokens": 8,
                                "loss": loss.item(), "grad": grads(loss, x)})

# RLOO: rewards with the KL of whole responses, leave-one-out baseline, REINFORCE gradient at ratio 1 and the clipped surrogate
kl = torch.stack([(o - r).sum() for o, r in zip(old, ref)])
reward = scores - 0.1 * kl
g = reward.view(2, 3)
loo = (g - (g.sum(1, keepdim=True) - g) / 2).view(-1)
out["rloo"] = {"beta": 0.1, "kl": kl.tolist(), "advantages": loo.tolist()}
x = leaf(old)
loss = -torch.stack([ai * xi.sum() for ai, xi in zip(loo, x)]).mean()
out["rloo"]["reinforce"] = grads(loss, x)
for clip in (0.0, 0.2):
    x = leaf(new)
    terms = []
    for n, o, ai in zip(x, old, loo):
        ratio = torch.exp((n - o).sum())
        terms.append(-torch.minimum(ratio * ai, ratio.clamp(1 - clip, 1 + clip) * ai) if clip else -ratio * ai)
    loss = torch.stack(terms).mean()
    out["rloo"]["clip" if clip else "free"] = {"loss": loss.item(), "grad": grads(loss, x)}

# DPO and its kin, on sums
c, r = torch.randn(8) * 4 - 20, torch.randn(8) * 4 - 22
rc, rr = c + torch.randn(8), r + torch.randn(8)
out["pairs"] = {"chosen": c.tolist(), "rejected": r.tolist(), "ref_chosen": rc.tolist(), "ref_rejected": rr.tolist()}
out["dpo"] = []
ls = torch.nn.functional.logsigmoid
for loss_name, beta, eps in (("sigmoid", 0.1, 0.0), ("sigmoid", 0.5, 0.0), ("sigmoid", 0.3, 0.2), ("ipo", 0.1, 0.0), ("ipo", 0.7, 0.0)):
    cc, rj = c.clone().requires_grad_(), r.clone().requires_grad_()
    h = (cc - rc) - (rj - rr)
    if loss_name == "ipo":
        loss = ((h - 1 / (2 * beta)) ** 2).mean()
    else:
        loss = (-(1 - eps) * ls(beta * h) - eps * ls(-beta * h)).mean()
    dc, dr = torch.autograd.grad(loss, (cc, rj))
    out["dpo"].append({"loss_form": loss_name, "beta": beta, "smoothing": eps, "loss": loss.item(), "chosen": dc.tolist(), "rejected": dr.tolist(),
                       "accuracy": (h > 0).double().mean().item(), "margin": (beta * h).mean().item()})

# best of k from n draws: the mean over all subsets
from itertools import combinations
draws = torch.randn(7).tolist() + [0.25, 0.25]
out["best_of"] = {"scores": draws, "means": [sum(max(s) for s in combinations(draws, k)) / len(list(combinations(draws, k))) for k in range(1, 10)]}

# Adam as TensorFlow has it: lr_t = lr sqrt(1-b2^t)/(1-b1^t), p -= lr_t m/(sqrt(v)+eps)
p, m, v, b1, b2, eps, lr = torch.tensor([0.5, -1.0, 2.0]), torch.zeros(3), torch.zeros(3), 0.9, 0.999, 1e-5, 1e-2
steps = []
for t in range(1, 6):
    gr = torch.tensor([1e-4, -3e-6, 0.2]) * t
    m = b1 * m + (1 - b1) * gr
    v = b2 * v + (1 - b2) * gr ** 2
    p = p - lr * (1 - b2 ** t) ** 0.5 / (1 - b1 ** t) * m / (v.sqrt() + eps)
    steps.append({"grad": gr.tolist(), "after": p.tolist()})
out["adam_tensorflow"] = {"start": [0.5, -1.0, 2.0], "beta1": b1, "beta2": b2, "eps": eps, "lr": lr, "steps": steps}
print(json.dumps(out, indent=1))
