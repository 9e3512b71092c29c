"""YouTube Faces: verification of videos by the mean of their frames."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from gfkeras.errors import positive_int
from gfkeras.evaluation.embedded import Embed, embed_images
from gfkeras.evaluation.metrics import FARS
from gfkeras.evaluation.pairs import evaluate_pair_scores
from gfkeras.evaluation.pairs_result import PairsResult
from gfkeras.evaluation.similarity import COSINE, Similarity
from gfkeras.evaluation.template_pooling import Pooling, pool_templates


def evaluate_youtube_faces(
    embed: Embed,
    frames: Iterable[str],
    pairs: Iterable[tuple[str, str, bool, int]],
    similarity: Similarity = COSINE,
    fars: Sequence[float] = FARS,
    max_frames: int | None = None,
    replicates: int = 0,
) -> PairsResult:
    """Runs ten-fold verification of videos.

    The template of a video is the mean of the unit embeddings of its frames, normalised. Pairs with
    a video that has no readable frame are skipped.

    Args:
        embed: takes names of frames and returns `ImageEmbeddings`.
        frames: names "Person/VIDEO/FRAME", such as `YouTubeFacesSource.items` returns.
        pairs: (first video, second video, same, fold), such as `YouTubeFacesSource.video_pairs`
            returns.
        similarity, fars, replicates: see `evaluate_pairs`.
        max_frames: how many frames of each video to use, evenly spread. All by default.
    """
    listed = list(pairs)
    if not listed:
        raise ValueError("`pairs` must hold at least one pair of videos. Received: no pairs")
    videos_in_pairs = dict.fromkeys(video for pair in listed for video in pair[:2])
    number = {video: place for place, video in enumerate(videos_in_pairs)}
    of_video: list[list[str]] = [[] for _ in number]
    for frame in frames:
        video = frame.rpartition("/")[0]
        # Embed only the frames of videos that occur in the pairs.
        if video in number:
            of_video[number[video]].append(frame)
    if max_frames is not None:
        positive_int("max_frames", max_frames)
        of_video = [_spread(found, max_frames) for found in of_video]
    names = [frame for found in of_video for frame in found]
    if not names:
        raise ValueError(
            "`frames` must hold frames of the videos in `pairs`. Received: no such frames"
        )
    videos = np.repeat(np.arange(len(number)), [len(found) for found in of_video])
    faces = embed_images(embed, names)
    # Without weights, the pooled template is the plain mean of the frames.
    templates = pool_templates(faces, videos, pooling=Pooling(False, False, False))
    rows = templates.rows(np.arange(len(number)))
    left = rows[[number[pair[0]] for pair in listed]]
    right = rows[[number[pair[1]] for pair in listed]]
    readable = (left >= 0) & (right >= 0)
    left, right = left[readable], right[readable]
    same = np.array([pair[2] for pair in listed], np.bool_)[readable]
    fold = np.array([pair[3] for pair in listed], np.int64)[readable]
    group = templates.group_feature
    groups = (None, None) if group is None else (group[left], group[right])
    scores = similarity(templates.embedding[left], templates.embedding[right], *groups)
    result = evaluate_pair_scores(scores, same, fold, fars, replicates)
    return dataclasses.replace(
        result, skipped=int((~readable).sum()), skipped_files=list(faces.skipped)
    )


def _spread(frames: list[str], count: int) -> list[str]:
    if len(frames) <= count:
        return frames
    return [frames[i] for i in np.linspace(0, len(frames) - 1, count).round().astype(int)]
