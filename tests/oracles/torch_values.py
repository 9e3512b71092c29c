"""Reference values of ArcFace and CosFace in PyTorch from their formulas, and of PyTorch's SGD.

    python torch_values.py torch.npz

`make oracles` runs this in an environment with PyTorch. README.md lists the keys. Inputs are
float32, and all results are computed in float64.
"""

from __future__ import annotations

import json
import math
import platform
import sys

import numpy as np
import torch
import torch.nn.functional as F

SEED = 20240531
ARCFACE = ((64.0, 0.5), (30.0, 0.3))  # scale, margin
COSFACE = ((64.0, 0.35), (30.0, 0.2))


def cosines(embeddings: torch.Tensor, centers: torch.Tensor) -> torch.Tensor:
    embeddings = embeddings / embeddings.norm(dim=1, keepdim=True)
    centers = centers / centers.norm(dim=1, keepdim=True)
    return (embeddings @ centers.T).clamp(-1.0, 1.0)


def arcface(cosine: torch.Tensor, margin: float, rule: str) -> torch.Tensor:
    """Returns the cosine of the label with the margin: cos(θ + m), if the rule allows it."""
    added = torch.cos(torch.acos(cosine) + margin)
    if rule == "threshold":  # Above θ + m = π, cos(θ + m) would rise again.
        linear = cosine - margin * math.sin(margin)
        return torch.where(cosine > math.cos(math.pi - margin), added, linear)
    if rule == "easy":
        return torch.where(cosine > 0, added, cosine)
    return added


def cosface(cosine: torch.Tensor, margin: float) -> torch.Tensor:
    return cosine - margin


def margin_logits(
    embeddings: torch.Tensor,
    labels: torch.Tensor,
    centers: torch.Tensor,
    scale: float,
    margin: float,
    rule: str,
) -> torch.Tensor:
    """Returns scaled cosines, with the margin on the label."""
    cosine = cosines(embeddings, centers)
    replaced = cosface(cosine, margin) if rule == "cosface" else arcface(cosine, margin, rule)
    chosen = F.one_hot(labels, len(centers)).bool()
    return scale * torch.where(chosen, replaced, cosine)


def settings() -> list[tuple[str, float, float, str]]:
    """Returns key, scale, margin and rule of every form."""
    found = []
    for family, pairs, rules in (
        ("arcface", ARCFACE, ("threshold", "easy", "none")),
        ("cosface", COSFACE, ("cosface",)),
    ):
        for rule in rules:
            name = family if rule == family else f"{family}-{rule}"
            found += [(f"{name}/s{s:g}-m{m:g}", s, m, rule) for s, m in pairs]
    return found


def random(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns rows of any length. The last four have angles above π − 0.3 to their centers."""
    centers = rng.normal(size=(7, 8))
    labels = rng.permutation(np.arange(16) % 7)
    embeddings = rng.normal(size=(16, 8))
    embeddings[4:8] += 2 * centers[labels[4:8]]
    noise = rng.normal(size=(4, 8))
    noise *= np.array([0.02, 0.1, 0.15, 0.2])[:, None] / np.linalg.norm(noise, axis=1)[:, None]
    far = -centers[labels[12:]]
    embeddings[12:] = far / np.linalg.norm(far, axis=1, keepdims=True) + noise
    embeddings[12:] *= np.array([0.5, 1.0, 2.0, 4.0])[:, None]
    return embeddings, labels, centers


def edges(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns rows at angles of 0 (equal and twice as long), π and exactly π/2 to their centers."""
    centers = rng.normal(size=(7, 8)).astype("float32")
    centers[3] = [1, 0, 0, 0, 0, 0, 0, 0]
    labels = np.array([0, 1, 2, 3, 3])
    embeddings = centers[labels]
    embeddings[1] *= 2
    embeddings[2] *= -1
    embeddings[3] = [0, 3, 0, 0, 0, 0, 0, 0]
    embeddings[4] = [-4, 0, 0, 0, 0, 0, 0, 0]
    return embeddings, labels, centers


def values_of(case: str, draw: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
    """Returns the inputs, logits, losses and gradients of a case."""
    rows, classes, weights = draw
    rows, weights = rows.astype("float32"), weights.astype("float32")
    values = {"embeddings": rows, "labels": classes.astype("int32"), "centers": weights}
    embeddings = torch.tensor(rows, dtype=torch.float64, requires_grad=True)
    centers = torch.tensor(weights, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor(classes, dtype=torch.int64)
    values["cosines"] = cosines(embeddings, centers).detach().numpy()
    for key, scale, margin, rule in settings():
        logits = margin_logits(embeddings, labels, centers, scale, margin, rule)
        loss = F.cross_entropy(logits, labels)
        values[f"{key}/logits"] = logits.detach().numpy()
        values[f"{key}/loss"] = loss.detach().numpy()
        # At angles of 0 and π, cos(θ + m) has a kink and no gradient.
        if case != "edges" or rule == "cosface":
            by_embeddings, by_centers = torch.autograd.grad(loss, (embeddings, centers))
            values[f"{key}/gradient/embeddings"] = by_embeddings.numpy()
            values[f"{key}/gradient/centers"] = by_centers.numpy()
    return {f"{case}/{key}": value for key, value in values.items()}


def sgd_values() -> dict[str, np.ndarray]:
    """Returns a least-squares problem, and its weights in 1,000 steps of PyTorch's SGD.

    The batches of 16 rows follow in a cycle. The momentum is 0.9 and the L2 decay 5e-3.
    """
    rng = np.random.default_rng([SEED, 2])
    problem = {"start": (8,), "rows": (64, 8), "targets": (64,)}
    found = {key: rng.normal(size=shape).astype("float32") for key, shape in problem.items()}
    rows, targets = (torch.tensor(found[key], dtype=torch.float64) for key in ("rows", "targets"))
    for nesterov in (False, True):
        weights = torch.tensor(found["start"], dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD(
            [weights], lr=0.02, momentum=0.9, weight_decay=5e-3, nesterov=nesterov
        )
        kept = []
        for step in range(1000):
            batch = slice(step % 4 * 16, step % 4 * 16 + 16)
            optimizer.zero_grad()
            (0.5 * (rows[batch] @ weights - targets[batch]) ** 2).mean().backward()
            optimizer.step()
            kept.append(weights.detach().numpy().copy())
        found[f"weights/{'nesterov' if nesterov else 'plain'}"] = np.stack(kept[9::10])
    return {f"sgd/{key}": value for key, value in found.items()}


def main(target: str) -> None:
    torch.set_num_threads(1)
    versions = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__.split("+")[0],
        "seed": SEED,
    }
    values = {"versions": np.array(json.dumps(versions))}
    for number, (case, draw) in enumerate((("random", random), ("edges", edges))):
        values |= values_of(case, draw(np.random.default_rng([SEED, number])))
    values |= sgd_values()
    np.savez_compressed(target, **values)


if __name__ == "__main__":
    main(sys.argv[1])
