"""Margin heads in float64 NumPy, one target at a time, with the formulas of their papers."""

from __future__ import annotations

import math

import numpy as np


def unit(vectors: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(norm == 0, 1, norm)


def cosines(embedding: np.ndarray, centers: np.ndarray) -> np.ndarray:
    return np.clip(unit(embedding) @ unit(centers).T, -1, 1)


def with_targets(cosine, labels, target, scale=64.0):
    """Returns s·cos, with `target(row, θ)` instead of the cosine of each label."""
    logits = cosine.astype("float64").copy()
    for row, label in enumerate(labels):
        logits[row, label] = target(row, math.acos(cosine[row, label]))
    return scale * logits


def arcface_target(theta, margin, threshold=True, easy_margin=False):
    if easy_margin:
        return math.cos(theta + margin) if math.cos(theta) > 0 else math.cos(theta)
    if threshold and theta + margin >= math.pi:
        return math.cos(theta) - margin * math.sin(margin)
    return math.cos(theta + margin)


def psi(angle):
    k = math.floor(angle / math.pi)
    return (-1) ** k * math.cos(angle) - 2 * k


def norm_softmax(embedding, centers, labels, scale=64.0):
    return scale * cosines(embedding, centers)


def softmax(embedding, centers, labels, bias=0.0):
    return embedding @ centers.T + bias


def arcface(embedding, centers, labels, scale=64.0, margin=0.5, **rule):
    return with_targets(
        cosines(embedding, centers),
        labels,
        lambda row, theta: arcface_target(theta, margin, **rule),
        scale,
    )


def cosface(embedding, centers, labels, scale=64.0, margin=0.35):
    return with_targets(
        cosines(embedding, centers), labels, lambda row, theta: math.cos(theta) - margin, scale
    )


def combined(embedding, centers, labels, m1, m2, m3, scale=64.0, threshold=True):
    def target(row, theta):
        angle = m1 * theta + m2
        if not threshold or angle < math.pi:
            return math.cos(angle) - m3
        if m1 == 1:
            return math.cos(theta) - m2 * math.sin(m2) - m3
        return psi(angle) - m3

    return with_targets(cosines(embedding, centers), labels, target, scale)


def sphereface(embedding, centers, labels, iteration, margin=4.0):
    annealing = max(5.0, 1000.0 / (1 + 0.12 * iteration))
    cosine = cosines(embedding, centers)
    norm = np.linalg.norm(embedding, axis=1, keepdims=True)
    blended = with_targets(
        cosine,
        labels,
        lambda row, theta: (annealing * math.cos(theta) + psi(margin * theta)) / (1 + annealing),
        1.0,
    )
    return norm * blended


def sphereface_r(embedding, centers, labels, scale=30.0, margin=1.5):
    def target(row, theta):
        factor = margin if theta == 0 else min(margin, math.pi / theta)
        return math.cos(factor * theta)

    return with_targets(cosines(embedding, centers), labels, target, scale)


def subcenter(embedding, centers, labels, pooling="max", temperature=0.1, scale=64.0, margin=0.5):
    each = np.clip(np.einsum("bd,nkd->bnk", unit(embedding), unit(centers)), -1, 1)
    if pooling == "max":
        cosine = each.max(axis=-1)
    else:
        weights = np.exp(each / temperature)
        cosine = (weights / weights.sum(axis=-1, keepdims=True) * each).sum(axis=-1)
    return with_targets(cosine, labels, lambda row, theta: arcface_target(theta, margin), scale)


def curricular(embedding, centers, labels, t, scale=64.0, margin=0.5):
    cosine = cosines(embedding, centers)
    logits = cosine.copy()
    for row, label in enumerate(labels):
        theta = math.acos(cosine[row, label])
        for j in range(len(centers)):
            if j == label:
                logits[row, j] = arcface_target(theta, margin)
            elif cosine[row, j] > math.cos(theta + margin):
                logits[row, j] = cosine[row, j] * (t + cosine[row, j])
    return scale * logits


def adaface_quality(embedding, mean, std, h=0.333):
    norm = np.clip(np.linalg.norm(embedding, axis=1), 1e-3, 100)
    return np.clip((norm - mean) / (std + 1e-3) * h, -1, 1)


def adaface(embedding, centers, labels, quality, scale=64.0, margin=0.4):
    def target(row, theta):
        angle = min(max(theta - margin * quality[row], 0), math.pi)
        return math.cos(angle) - (margin * quality[row] + margin)

    return with_targets(cosines(embedding, centers), labels, target, scale)


def magface_magnitude(embedding, low, high):
    return np.clip(np.linalg.norm(embedding, axis=1), low, high)


def magface(embedding, centers, labels, low=1.0, high=4.0, scale=64.0):
    a = magface_magnitude(embedding, low, high)
    margin = 0.45 + (0.8 - 0.45) / (high - low) * (a - low)
    return with_targets(
        cosines(embedding, centers),
        labels,
        lambda row, theta: arcface_target(theta, margin[row]),
        scale,
    )


def magface_regularization(embedding, low=1.0, high=4.0, weight=35.0):
    a = magface_magnitude(embedding, low, high)
    return weight * np.mean(1 / a + a / high**2)


def cross_entropy(logits, labels):
    top = logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]
    return np.mean([log_sum[row] - logits[row, label] for row, label in enumerate(labels)])
