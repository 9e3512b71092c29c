"""An embedder that knows its images by name, for protocols."""

from types import SimpleNamespace

import numpy as np


class FakeFaces:
    """Looks up the embeddings of names in a table. Names in `broken` are unreadable.

    Attributes:
        embedding, group_feature, norm: rows by name.
    """

    def __init__(self, names, seed=0, person=None, broken=(), width=12, groups=6, noise=0.6):
        rng = np.random.default_rng(seed)
        person = list(range(len(names))) if person is None else list(person)
        centers = {p: rng.standard_normal(width) for p in dict.fromkeys(person)}
        rows = np.array([centers[p] for p in person]) + noise * rng.standard_normal(
            (len(names), width)
        )
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        self.embedding = dict(zip(names, rows.astype(np.float32), strict=True))
        group = rng.standard_normal((len(names), groups)).astype(np.float32)
        self.group_feature = dict(zip(names, group, strict=True))
        self.norm = dict(zip(names, rng.uniform(1, 9, len(names)).astype(np.float32), strict=True))
        self.broken = set(broken)

    def __call__(self, names):
        kept = [i for i, name in enumerate(names) if name not in self.broken]
        columns = {
            column: np.array([getattr(self, column)[names[i]] for i in kept], np.float32)
            for column in ("embedding", "group_feature", "norm")
        }
        if not kept:
            columns |= {"embedding": np.zeros((0, 0), np.float32), "group_feature": None}
        return SimpleNamespace(
            **columns,
            index=np.array(kept),
            skipped=[(name, "truncated") for name in names if name in self.broken],
        )
