"""Golden numbers for the options of the ranking loss, by PyTorch in float64.

    python3 loss.py > ../loss_options.json

Written from the formulas alone: probabilities are computed naively and autograd gives the gradients.
"""
import json
import torch

torch.manual_seed(7)
torch.set_default_dtype(torch.float64)


def probability(d, c):
    """P(the first is preferred), P(tie)."""
    ties = c.get("ties", "")
    if ties == "rao-kupper":
        theta = torch.exp(torch.tensor(c["tie"]))
        win, lose = torch.exp(d) / (torch.exp(d) + theta), 1 / (1 + theta * torch.exp(d))
        return win, 1 - win - lose
    if ties == "davidson":
        a, b = torch.exp(d), torch.ones(())
        root = c["tie"] * torch.sqrt(a * b)
        return a / (a + b + root), root / (a + b + root)
    return torch.sigmoid(d), torch.zeros(())


def pair(d, tied, m, c):
    if tied:
        return -torch.log(probability(d, c)[1])
    e, noise = c.get("flip", 0.0), c.get("noise", "")
    right, wrong = probability(d - m, c)[0], probability(-d, c)[0]
    if noise == "conservative":
        return -(1 - e) * torch.log(right) - e * torch.log(wrong)
    if noise == "mixture":
        return -torch.log((1 - e) * right + e * wrong)
    return -torch.log(right)


def margin(w, l, ranks, strength, c):
    kind, size = c.get("margin", ""), c.get("margin_size", 0.0)
    if kind == "constant":
        return size
    if kind == "rank":
        return size * (ranks[l] - ranks[w]) / (len(ranks) - 1)
    if kind == "strength":
        return size * {0: 0, 1: 0, 2: 1 / 3, 3: 2 / 3, 4: 1}[strength]
    return 0.0


def group(r, rankings, strengths, weights, c):
    total, norm = torch.zeros(()), 0.0
    for ranks, s, w in zip(rankings, strengths, weights):
        losses = []
        for i in range(len(ranks)):
            for j in range(len(ranks)):
                tied = ranks[i] == ranks[j]
                if tied and i < j and c.get("ties", "") != "":
                    losses.append(pair(r[i] - r[j], True, 0.0, c))
                elif ranks[i] < ranks[j]:
                    losses.append(pair(r[i] - r[j], False, margin(i, j, ranks, s, c), c))
        if losses:
            total, norm = total + w * sum(losses) / len(losses), norm + w
    return total / norm


options = [{}]
for ties in [{"ties": "rao-kupper", "tie": 0.4}, {"ties": "davidson", "tie": 0.7}]:
    options += [ties, {**ties, "noise": "conservative", "flip": 0.1}, {**ties, "noise": "mixture", "flip": 0.25}]
options += [{"margin": k, "margin_size": s} for k, s in [("constant", 0.5), ("rank", 1.5), ("strength", 3.0)]]
options += [{"noise": "conservative", "flip": 0.1}, {"noise": "mixture", "flip": 0.25}, {"noise": "mixture", "flip": 0.01}]

cases = []
for c in options:
    for k in [2, 3, 5, 9]:
        r = (2 * torch.randn(k)).requires_grad_()
        rankings = [torch.randint(1, k + 1, (k,)).tolist() for _ in range(3)]
        rankings[0] = [1 + (i + 1) % k for i in range(k)]  # one without ties
        strengths, weights = torch.randint(0, 5, (3,)).tolist(), [1.0, 0.25, 2.5]
        loss = group(r, rankings, strengths, weights, c)
        loss.backward()
        cases.append({"options": c, "rewards": r.tolist(), "rankings": rankings, "strengths": strengths, "weights": weights,
                      "loss": loss.item(), "grad": r.grad.tolist()})
print(json.dumps(cases, indent=0))
