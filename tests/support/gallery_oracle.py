"""Brute-force search, and data for it."""

import numpy as np

from gfkeras.evaluation.similarity import unit
from gfkeras.inference import Embeddings, Match


def brute_force(gallery, probes, k, similarity):
    """Compares each probe with everyone. Equal similarities are sorted by name."""
    kept = gallery.templates()
    found = []
    for row in range(len(probes.embedding)):
        mine = np.repeat(unit(probes.embedding[row : row + 1]), len(kept), axis=0)
        group = None
        if probes.group_feature is not None:
            group = np.repeat(unit(probes.group_feature[row : row + 1]), len(kept), axis=0)
        scores = similarity(mine, kept.embedding, group, kept.group_feature)
        cosines = similarity.__class__(beta=0)(mine, kept.embedding, None, None)
        order = sorted(range(len(kept)), key=lambda i: (-scores[i], kept.names[i]))[:k]
        found.append(
            [
                Match(kept.names[i], float(scores[i]), float(cosines[i]), int(kept.photos[i]))
                for i in order
            ]
        )
    return found


def random_faces(count, seed, width=16, groups=8):
    rng = np.random.default_rng(seed)
    embedding = rng.standard_normal((count, width)).astype(np.float32)
    group = None if groups is None else rng.standard_normal((count, groups)).astype(np.float32)
    return Embeddings(embedding, group)


def adversarial_faces(count, seed, width=6, groups=4):
    """Duplicates, ties, opposites, unit vectors, neighbours at 1e-7, groups that agree or are 0."""
    rng = np.random.default_rng(seed)
    pool = np.concatenate([np.eye(width), -np.eye(width), rng.standard_normal((3, width))])
    embedding = pool[rng.integers(len(pool), size=count)]
    embedding = embedding + rng.choice([0, 0, 1e-7], size=(count, 1)) * rng.standard_normal(width)
    pool = np.concatenate([np.eye(groups), np.zeros((1, groups)), rng.standard_normal((2, groups))])
    group = pool[rng.integers(len(pool), size=count)]
    return Embeddings(embedding.astype(np.float32), group.astype(np.float32))
