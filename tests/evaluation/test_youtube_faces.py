"""YouTube Faces, compared with plain loops, from folders and lists in the official layout."""

import numpy as np
import pytest
from fake_faces import FakeFaces

from gfkeras.data.sources import YouTubeFacesSource
from gfkeras.evaluation import GROUP_AWARE, evaluate_pair_scores
from gfkeras.evaluation.youtube_faces import evaluate_youtube_faces

PEOPLE = [f"Person_{i}" for i in range(8)]


@pytest.fixture
def source(tmp_path):
    rng = np.random.default_rng(0)
    for person in PEOPLE:
        for video in ("0", "1"):
            folder = tmp_path / "aligned_images_DB" / person / video
            folder.mkdir(parents=True)
            for frame in range(rng.integers(1, 5)):
                (folder / f"aligned_detect_{video}.{frame * 7}.jpg").write_bytes(b"x")
    lines = ["split number, first name, second name, is same, …"]
    for i, person in enumerate(PEOPLE):
        lines.append(f"{i % 4 + 1}, {person}/0, {person}/1, 1")
        lines.append(f"{i % 4 + 1}, {person}/0, {PEOPLE[(i + 3) % 8]}/1, 0")
    (tmp_path / "splits.txt").write_text("\n".join(lines))
    return YouTubeFacesSource(tmp_path)


def frames_of(source):
    return [item.name for item in source.items()]


def by_loops(source, faces, most=99):
    frames, videos = frames_of(source), {}
    for pair in source.video_pairs():
        for video in pair[:2]:
            mine = [f for f in frames if f.startswith(f"{video}/") and f not in faces.broken]
            if len(mine) > most:
                mine = [mine[i] for i in np.linspace(0, len(mine) - 1, most).round().astype(int)]
            rows = np.array([faces.embedding[f] for f in mine], np.float64)
            videos[video] = rows.mean(axis=0) / np.linalg.norm(rows.mean(axis=0))
    pairs = list(source.video_pairs())
    scores = [float(videos[a] @ videos[b]) for a, b, _, _ in pairs]
    return evaluate_pair_scores(
        scores, [pair[2] for pair in pairs], np.array([pair[3] for pair in pairs])
    )


@pytest.mark.parametrize("most", [None, 1, 2])
def test_a_video_is_the_mean_of_its_frames(source, most):
    frames = frames_of(source)
    faces = FakeFaces(frames, person=[frame.split("/")[0] for frame in frames], noise=1.0)
    result = evaluate_youtube_faces(faces, frames, source.video_pairs(), max_frames=most)
    expected = by_loops(source, faces, most or 99)
    np.testing.assert_allclose(result.scores, expected.scores, atol=1e-6)
    assert result.accuracy == expected.accuracy
    assert len(result.folds.folds) == 4


def test_videos_that_cannot_be_read_are_skipped(source):
    frames = frames_of(source)
    broken = [frame for frame in frames if frame.startswith("Person_0/1/")]
    faces = FakeFaces(frames, person=[f.split("/")[0] for f in frames], broken=broken)
    result = evaluate_youtube_faces(faces, frames, source.video_pairs(), GROUP_AWARE)
    assert (result.skipped, result.pairs) == (2, 14)
    assert len(result.skipped_files) == len(broken)
    with pytest.raises(ValueError, match="`frames` must hold frames"):
        evaluate_youtube_faces(faces, ["Else/0/1.jpg"], source.video_pairs())
    with pytest.raises(ValueError, match="at least one pair"):
        evaluate_youtube_faces(faces, frames, [])
    with pytest.raises(ValueError, match="max_frames"):
        evaluate_youtube_faces(faces, frames, source.video_pairs(), max_frames=0)
