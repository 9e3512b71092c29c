"""Templates and IJB's protocols, compared with plain loops, from files in the official layout."""

import numpy as np
import pytest
from fake_faces import FakeFaces

from gfkeras.data.sources import IJBMetadata
from gfkeras.evaluation.embedded import embed_images
from gfkeras.evaluation.ijb import (
    evaluate_ijb_identification,
    evaluate_ijb_verification,
    ijb_templates,
)
from gfkeras.evaluation.similarity import COSINE, GROUP_AWARE
from gfkeras.evaluation.template_pooling import Pooling, pool_templates

# Subjects 1…6 have two templates each, one in gallery 1 or 2 and one probe. 7 and 8 are strangers.
SUBJECTS = {10 * subject + part: subject for subject in range(1, 9) for part in (1, 2)}
GALLERIES = {1: [11, 21, 31], 2: [41, 51, 61]}
PROBES = [*(10 * subject + 2 for subject in range(1, 9)), 71, 81]


@pytest.fixture
def protocol(tmp_path):
    """Files like those of IJB-C, with one to four images per template, some from one video."""
    rng = np.random.default_rng(0)
    meta = tmp_path / "meta"
    meta.mkdir()
    (tmp_path / "loose_crop").mkdir()
    lists, points, media = [], [], 0
    for template in SUBJECTS:
        for _ in range(rng.integers(1, 5)):
            media += rng.integers(0, 2)
            name = f"{len(lists) + 1}.jpg"
            lists.append(f"{name} {template} {media}")
            points.append(f"{name} 1 2 3 4 5 6 7 8 9 10 {rng.uniform(0.3, 1):.4f}")
    order = rng.permutation(len(lists))
    (meta / "ijbc_face_tid_mid.txt").write_text("\n".join(lists[i] for i in order))
    (meta / "ijbc_name_5pts_score.txt").write_text("\n".join(points[i] for i in order))
    ids = list(SUBJECTS)
    pairs = [(a, b) for i, a in enumerate(ids) for b in ids[:i]]
    lines = [f"{a} {b} {int(SUBJECTS[a] == SUBJECTS[b])}" for a, b in pairs]
    (meta / "ijbc_template_pair_label.txt").write_text("\n".join(lines))
    for number, gallery in GALLERIES.items():
        rows = [f"{template},{SUBJECTS[template]},x.jpg" for template in gallery]
        file = meta / f"ijbc_1N_gallery_G{number}.csv"
        file.write_text("\n".join(["TEMPLATE_ID,SUBJECT_ID,FILENAME", *rows]))
    rows = [f"{template},{SUBJECTS[template]},x.jpg" for template in PROBES]
    text = "\n".join(["TEMPLATE_ID,SUBJECT_ID,FILENAME", *rows])
    (meta / "ijbc_1N_probe_mixed.csv").write_text(text)
    return IJBMetadata.load(tmp_path)


def faces_of(protocol, broken=()):
    person = [SUBJECTS[template] for template in protocol.templates.tolist()]
    return FakeFaces(protocol.names.tolist(), person=person, broken=broken)


def template_by_loops(protocol, faces, template, pooling, column):
    medias = {}
    for i, name in enumerate(protocol.names.tolist()):
        if protocol.templates[i] != template or name in faces.broken:
            continue
        row = getattr(faces, column)[name].astype(np.float64)
        row = row / np.linalg.norm(row)
        row *= protocol.scores[i] if pooling.detector else 1
        row *= faces.norm[name] if pooling.norm and column == "embedding" else 1
        medias.setdefault(protocol.medias[i] if pooling.media else name, []).append(row)
    total = sum(np.mean(rows, axis=0) for rows in medias.values())
    return total / np.linalg.norm(total)


@pytest.mark.parametrize("media", [True, False])
@pytest.mark.parametrize("detector", [True, False])
@pytest.mark.parametrize("norm", [True, False])
def test_templates_are_those_of_plain_loops(protocol, media, detector, norm):
    pooling = Pooling(media, detector, norm)
    faces = faces_of(protocol, broken=[protocol.names[3]])
    templates, skipped = ijb_templates(faces, protocol, pooling)
    assert skipped == [(protocol.names[3], "truncated")]
    for row, template in enumerate(templates.ids.tolist()):
        for column in ("embedding", "group_feature"):
            expected = template_by_loops(protocol, faces, template, pooling, column)
            np.testing.assert_allclose(getattr(templates, column)[row], expected, atol=2e-6)


def test_a_template_by_hand():
    faces = FakeFaces(["a", "b", "c"], width=2)
    faces.embedding = {"a": [1, 0], "b": [0, 1], "c": [0, 1]}
    faces.norm = {"a": 2, "b": 1, "c": 3}
    embedded = embed_images(faces, ["a", "b", "c"])
    # b and c are one video: (1·[0, 1] + 3·[0, 1]) / 2 = [0, 2]. With a it is [2, 0] + [0, 2].
    pooled = pool_templates(embedded, [5, 5, 5], [1, 2, 2], None, Pooling(detector=False))
    np.testing.assert_allclose(pooled.embedding, [[0.5**0.5, 0.5**0.5]], atol=1e-6)
    # Without media, each photo counts: [2, 0] + [0, 1] + [0, 3].
    pooled = pool_templates(embedded, [5, 5, 5], pooling=Pooling(False, False, True))
    np.testing.assert_allclose(pooled.embedding, [np.array([2, 4]) / 20**0.5], atol=1e-6)
    with pytest.raises(ValueError, match=r"`medias`.*3 images.*none"):
        pool_templates(embedded, [5, 5, 5], pooling=Pooling(detector=False))
    with pytest.raises(ValueError, match=r"`scores`.*shape \(2,\)"):
        pool_templates(embedded, [5, 5, 5], [1, 2, 2], [0.5, 0.5])


@pytest.mark.parametrize("similarity", [COSINE, GROUP_AWARE], ids=["cosine", "group-aware"])
def test_verification_is_that_of_plain_loops(protocol, similarity):
    templates, _ = ijb_templates(faces_of(protocol), protocol)
    result = evaluate_ijb_verification(
        templates, protocol.pairs(), similarity, (0.01, 0.05, 0.2, 1e-3)
    )
    row = {template: i for i, template in enumerate(templates.ids.tolist())}
    kinds = {True: [], False: []}
    for a, b, same in zip(*protocol.pairs(), strict=True):
        i, j = [row[a]], [row[b]]
        score = similarity(templates.embedding[i], templates.embedding[j],
                           templates.group_feature[i], templates.group_feature[j])  # fmt: skip
        kinds[bool(same)].append(score[0])
    genuine, impostor = np.array(kinds[True]), np.array(kinds[False])
    assert (result.curve.genuine, result.curve.impostor) == (8, 112)
    assert result.tar_at_far["1e-3"] is None
    for name, far in (("1e-2", 0.01), ("5e-2", 0.05), ("2e-1", 0.2)):
        allowed = [t for t in {*genuine, *impostor} if (impostor >= t).mean() <= far]
        assert result.tar_at_far[name] == max((genuine >= t).mean() for t in allowed)


@pytest.mark.parametrize("similarity", [COSINE, GROUP_AWARE], ids=["cosine", "group-aware"])
def test_identification_is_that_of_plain_loops(protocol, similarity):
    templates, _ = ijb_templates(faces_of(protocol), protocol)
    result = evaluate_ijb_identification(templates, protocol, similarity)
    row = {template: i for i, template in enumerate(templates.ids.tolist())}
    for number, found in zip((1, 2), result.galleries, strict=True):
        gallery = GALLERIES[number]
        ranks, outside = [], []
        for probe in PROBES:
            i, j = [row[probe]] * 3, [row[template] for template in gallery]
            scores = similarity(templates.embedding[i], templates.embedding[j],
                                templates.group_feature[i], templates.group_feature[j])  # fmt: skip
            mates = [SUBJECTS[template] == SUBJECTS[probe] for template in gallery]
            if any(mates):
                mate = scores[mates.index(True)]
                others = [s for s, m in zip(scores, mates, strict=True) if not m]
                ranks.append(1 + sum(s >= mate for s in others))
            else:
                outside.append(max(scores))
        assert (found.mated, found.non_mated, found.gallery) == (3, 7, 3)
        assert found.cmc[:3].tolist() == [sum(r <= k for r in ranks) / 3 for k in (1, 2, 3)]
        np.testing.assert_allclose(np.sort(found.scores.impostor), np.sort(outside), atol=1e-6)
    assert result.rank["5"] == 1
    assert result.to_json()["fnir_at_fpir"] == {"1e-2": None, "1e-1": None}
    assert ("Gallery 2", "3 templates; 3 mated and 7 non-mated probes") in result.summary()


def test_templates_without_images_are_listed_and_their_pairs_left_out(protocol):
    lost = protocol.templates[0]
    broken = protocol.names[protocol.templates == lost].tolist()
    templates, skipped = ijb_templates(faces_of(protocol, broken), protocol)
    result = evaluate_ijb_verification(templates, protocol.pairs(), skipped_files=skipped)
    assert result.missing == [lost]
    assert result.skipped == 15
    assert result.to_json()["pairs"] == 120 - 15
    assert len(result.skipped_files) == len(broken)
    everything = protocol.names.tolist()
    with pytest.raises(ValueError, match="None of the"):
        ijb_templates(faces_of(protocol, everything), protocol)


def test_pairs_of_one_kind_only_are_refused(protocol):
    templates, _ = ijb_templates(faces_of(protocol), protocol)
    with pytest.raises(ValueError, match="1 genuine, 0 impostor"):
        evaluate_ijb_verification(templates, ([11], [12], [1]))
    faces = faces_of(protocol)
    faces.embedding[protocol.names[2]] = np.full(12, np.nan, np.float32)
    with pytest.raises(ValueError, match=rf"embedding of {protocol.names[2]} is not finite"):
        ijb_templates(faces, protocol)


def test_intervals_draw_subjects(protocol):
    templates, _ = ijb_templates(faces_of(protocol), protocol)
    subjects = list(SUBJECTS), list(SUBJECTS.values())
    result = evaluate_ijb_verification(
        templates, protocol.pairs(), fars=(0.1, 1e-4), subjects=subjects, replicates=50
    )
    low, high = result.intervals["tar_at_far"]["1e-1"]
    assert low <= result.tar_at_far["1e-1"] <= high
    assert result.intervals["tar_at_far"]["1e-4"] is None
    text = dict(result.summary())
    assert "95%" in text["TAR @ FAR 1e-1"]
    assert text["TAR @ FAR 1e-4"] == "too few impostor pairs"


def test_probes_with_an_unreadable_mate_are_left_out(protocol):
    broken = protocol.names[protocol.templates == GALLERIES[1][0]].tolist()
    templates, _ = ijb_templates(faces_of(protocol, broken), protocol)
    result = evaluate_ijb_identification(templates, protocol)
    first, second = result.galleries
    # The mate of subject 1 is unreadable. Its probe is not a stranger to gallery 1 and is left out.
    assert (first.mated, first.non_mated, first.gallery, first.skipped) == (2, 7, 2, 1)
    assert (second.mated, second.non_mated, second.gallery, second.skipped) == (3, 7, 3, 0)
    assert result.missing == [11]
    text = "2 templates; 2 mated and 7 non-mated probes, 1 left out"
    assert ("Gallery 1", text) in result.summary()
    broken = protocol.names[np.isin(protocol.templates, PROBES)].tolist()
    templates, _ = ijb_templates(faces_of(protocol, broken), protocol)
    with pytest.raises(ValueError, match="at least one probe"):
        evaluate_ijb_identification(templates, protocol)


def test_a_template_without_listed_images_is_missing(protocol):
    templates, _ = ijb_templates(faces_of(protocol), protocol)
    result = evaluate_ijb_verification(templates, ([11, 11, 99], [12, 22, 12], [1, 0, 0]))
    assert (result.skipped, result.missing, result.to_json()["pairs"]) == (1, [99], 2)


@pytest.mark.parametrize("similarity", [COSINE, GROUP_AWARE], ids=["cosine", "group-aware"])
def test_short_and_long_lists_are_scored_alike(protocol, similarity, monkeypatch):
    templates, _ = ijb_templates(faces_of(protocol), protocol)
    results = []
    for sparse in (0, 10**9):
        monkeypatch.setattr("gfkeras.evaluation.ijb._SPARSE", sparse)
        monkeypatch.setattr("gfkeras.evaluation.ijb._TEMPLATES", 5)
        monkeypatch.setattr("gfkeras.evaluation.ijb._PAIRS", 7)
        results.append(evaluate_ijb_verification(templates, protocol.pairs(), similarity))
    short, long = (result.curve for result in results)
    np.testing.assert_allclose(short.thresholds, long.thresholds, atol=1e-6)
    np.testing.assert_array_equal(short.tar, long.tar)


def test_equal_scores_everywhere(protocol):
    faces = faces_of(protocol)
    same = faces.embedding[protocol.names[0]]
    faces.embedding = dict.fromkeys(faces.embedding, same)
    templates, _ = ijb_templates(faces, protocol)
    # The sums of one and of four photos can differ in the last bit, so make all rows equal.
    templates.embedding[:] = templates.embedding[0]
    result = evaluate_ijb_verification(templates, protocol.pairs(), fars=(0.1,))
    assert (result.curve.auc, result.curve.eer, result.tar_at_far) == (0.5, 0.5, {"1e-1": 0.0})
    found = evaluate_ijb_identification(templates, protocol)
    assert found.rank == {"1": 0.0, "5": 1.0, "10": 1.0}


def test_a_template_without_direction_and_scores_that_cannot_weigh():
    faces = FakeFaces(["a", "b"], width=2)
    faces.embedding = {"a": [1, 0], "b": [-1, 0]}
    faces.group_feature = {"a": [0, 0], "b": [0, 0]}
    embedded = embed_images(faces, ["a", "b"])
    pooled = pool_templates(embedded, [5, 5], pooling=Pooling(False, False, False))
    assert pooled.embedding.tolist() == pooled.group_feature.tolist() == [[0, 0]]
    for bad in (np.nan, -0.5):
        with pytest.raises(ValueError, match=rf"`scores` must be finite.*{bad}"):
            pool_templates(embedded, [5, 5], [1, 2], [0.5, bad])
    with pytest.raises(ValueError, match="`subjects` must hold"):
        evaluate_ijb_verification(pooled, ([5, 5], [5, 5], [1, 0]), subjects=([], []), replicates=5)
