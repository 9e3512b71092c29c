"""IJB, YouTube Faces and MegaFace in the layouts their publishers and InsightFace use."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from gfkeras.data import ImageError
from gfkeras.data.sources import (
    IJBMetadata,
    IJBSource,
    Item,
    MegaFaceSource,
    Refused,
    YouTubeFacesSource,
)

POINTS = "46.1 62.0 87.4 58.0 68.0 78.5 52.2 99.0 84.0 96.5"


def write(path, content: str | bytes = b"image"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def by_name(source):
    return {entry.name: entry for entry in source.items()}


@pytest.fixture(params=["IJBC", "IJBB"])
def ijb(request, tmp_path):
    name = request.param.lower()
    meta = tmp_path / "meta"
    rows = [("1.jpg", 1, 69544), ("2.jpg", 1, 69544), ("3.jpg", 7, -3)]
    write(meta / f"{name}_face_tid_mid.txt", "".join(f"{n} {t} {m}\n" for n, t, m in rows))
    write(
        meta / f"{name}_name_5pts_score.txt",
        "".join(f"{n} {POINTS} 0.9{i}\n" for i, (n, _, _) in enumerate(rows)),
    )
    write(meta / f"{name}_template_pair_label.txt", "1 7 0\n1 1 1\n")
    letter = "G" if request.param == "IJBC" else "S"
    header = "TEMPLATE_ID,SUBJECT_ID,FILENAME,FACE_X\n"
    write(meta / f"{name}_1N_gallery_{letter}1.csv", header + "1,500,a.jpg,3\n1,500,b.jpg,4\n")
    write(meta / f"{name}_1N_gallery_{letter}2.csv", header + "7,501,a.jpg,3\n")
    write(meta / f"{name}_1N_probe_mixed.csv", header + "1,500,c.jpg,3\n7,501,c.jpg,3\n")
    for number in (1, 2, 3):
        write(tmp_path / "loose_crop" / f"{number}.jpg", b"%d" % number)
    return tmp_path, request.param


def test_ijb_images(ijb):
    root, subset = ijb
    source = IJBSource(root)
    items = list(source.items())
    assert source.subset == subset
    assert [item.name for item in items] == ["1.jpg", "2.jpg", "3.jpg"]
    assert {item.identity for item in items} == {None}
    assert items[0].landmarks[0] == (46.1, 62.0)
    assert items[0].landmarks[4] == (84.0, 96.5)
    assert source.read(items[2].locator) == b"3"
    assert source.pairs() is None
    copy = pickle.loads(pickle.dumps(source))
    assert list(copy.items()) == items
    assert copy.describe() == source.describe() == IJBSource(root, subset).describe()
    with pytest.raises(ImageError, match="climbs"):
        source.read("../meta/x")


def test_ijb_metadata(ijb):
    root, subset = ijb
    meta = IJBMetadata.load(root)
    assert meta.subset == subset
    assert meta.names.tolist() == ["1.jpg", "2.jpg", "3.jpg"]
    assert meta.templates.tolist() == [1, 1, 7]
    assert meta.medias.tolist() == [69544, 69544, -3]
    assert meta.landmarks.shape == (3, 5, 2)
    np.testing.assert_allclose(meta.landmarks[1, 1], [87.4, 58.0])
    np.testing.assert_allclose(meta.scores, [0.90, 0.91, 0.92])
    assert [part.tolist() for part in meta.pairs()] == [[1, 1], [7, 1], [False, True]]
    assert [part.tolist() for part in meta.gallery(1)] == [[1], [500]]
    assert [part.tolist() for part in meta.gallery(2)] == [[7], [501]]
    assert [part.tolist() for part in meta.probes()] == [[1, 7], [500, 501]]
    with pytest.raises(ValueError, match=r"`number` must be 1 or 2. Received: number=3"):
        meta.gallery(3)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("face_tid_mid.txt", "1.jpg 1\n", "line 1: expected name, template, media"),
        ("face_tid_mid.txt", "1.jpg one 2\n", "line 1: expected name, template, media"),
        ("face_tid_mid.txt", "1.jpg 1 2\n9.jpg 1 2\n3.jpg 1 2", "line 2: expected '9.jpg'"),
        ("face_tid_mid.txt", "1.jpg 1 2\n", "line 2: expected no line"),
        ("name_5pts_score.txt", f"1.jpg {POINTS}\n", "line 1: expected name, x1"),
        ("name_5pts_score.txt", f"1.jpg {POINTS} nan\n", "line 1: expected name, x1"),
        ("name_5pts_score.txt", f"1.jpg {POINTS} 0.9\n", "expected 3 images"),
        ("template_pair_label.txt", "1 2 1\n\n1 2\n", "line 3: expected template, template"),
        ("template_pair_label.txt", "1 2 1\n1 2 3\n", "line 2: expected template, template"),
        ("template_pair_label.txt", "1 2 1\n1 x 1\n", "line 2: expected template, template"),
        ("template_pair_label.txt", "1 2 1 4\n", "line 1: expected template, template"),
        ("1N_probe_mixed.csv", "TEMPLATE,SUBJECT\n", "line 1: expected the header"),
        ("1N_probe_mixed.csv", "TEMPLATE_ID,SUBJECT_ID\n1,x\n", "line 2: expected TEMPLATE_ID"),
        ("1N_probe_mixed.csv", "TEMPLATE_ID,SUBJECT_ID\n1,2\n1,3\n", "line 3: .*of one subject"),
    ],
)
def test_malformed_ijb_lists(ijb, file, text, words):
    root, subset = ijb
    path = root / "meta" / f"{subset.lower()}_{file}"
    path.write_text(text)

    def read_all():
        meta = IJBMetadata.load(root)
        return meta.pairs(), meta.probes()

    with pytest.raises(ValueError, match=words) as caught:
        read_all()
    assert f"{subset.lower()}_" in str(caught.value)


def test_long_lists_of_pairs(ijb):
    root, subset = ijb
    path = root / "meta" / f"{subset.lower()}_template_pair_label.txt"
    lines = [f"{i} {i + 1} {i % 2}\n" for i in range(150_000)]
    path.write_text("".join(lines))
    first, second, same = IJBMetadata.load(root).pairs()
    assert (first == np.arange(150_000)).all()
    assert (second == first + 1).all()
    assert (same == (first % 2 == 1)).all()
    path.write_text("".join([*lines[:120_000], "1 2\n", *lines]))
    with pytest.raises(ValueError, match="line 120001"):
        IJBMetadata.load(root).pairs()


def test_which_ijb(ijb, tmp_path):
    root, subset = ijb
    other = {"IJBC": "ijbb", "IJBB": "ijbc"}[subset]
    with pytest.raises(ValueError, match="`subset` must be one of 'IJBB', 'IJBC'"):
        IJBSource(root, "IJBA")
    write(root / "meta" / f"{other}_face_tid_mid.txt", "")
    with pytest.raises(ValueError, match="with IJBB and IJBC"):
        IJBSource(root)
    assert IJBSource(root, subset).subset == subset
    with pytest.raises(ValueError, match="must contain meta/ijbb"):
        IJBSource(root / "meta")


def test_ijb_names_stay_under_the_root(ijb):
    root, subset = ijb
    path = root / "meta" / f"{subset.lower()}_name_5pts_score.txt"
    path.write_text(f"../meta/x.jpg {POINTS} 0.9\n2.jpg {POINTS} 0.9\n")
    bad, good = IJBSource(root).items()
    assert isinstance(bad, Refused)
    assert isinstance(good, Item)


@pytest.fixture
def youtube(tmp_path):
    for folder, stem in (("frame_images_DB", ""), ("aligned_images_DB", "aligned_detect_")):
        for person, video, frame in (("A_B", 0, "0.10"), ("A_B", 0, "0.9"), ("C_D", 12, "12.1")):
            path = tmp_path / folder / person / str(video) / f"{stem}{frame}.jpg"
            write(path, f"{folder} {person} {frame}")
    write(
        tmp_path / "frame_images_DB" / "A_B.labeled_faces.txt",
        "A_B\\0\\0.9.jpg,0,155.5,103,71,72,0,0\nA_B\\0\\0.10.jpg,0,1,2,3,4,0,0\n",
    )
    write(
        tmp_path / "splits.txt",
        "split number, first name, second name, is same\n1, A_B/0, C_D/12, 0\n10, A_B/0, A_B/1, 1",
    )
    return tmp_path


def test_youtube_faces(youtube):
    source = YouTubeFacesSource(youtube)
    items = list(source.items())
    assert [item.name for item in items] == ["A_B/0/0.9.jpg", "A_B/0/0.10.jpg", "C_D/12/12.1.jpg"]
    assert [item.identity for item in items] == ["A_B", "A_B", "C_D"]
    assert source.read(items[2].locator) == b"frame_images_DB C_D 12.1"
    assert list(source.video_pairs()) == [
        ("A_B/0", "C_D/12", False, 0),
        ("A_B/0", "A_B/1", True, 9),
    ]
    assert list(source.face_boxes("A_B")) == [
        ("A_B/0/0.9.jpg", (155.5, 103.0, 71.0, 72.0)),
        ("A_B/0/0.10.jpg", (1.0, 2.0, 3.0, 4.0)),
    ]
    assert source.pairs() is None
    aligned = pickle.loads(pickle.dumps(YouTubeFacesSource(youtube, images="aligned_images_DB")))
    assert next(aligned.items()).name == "A_B/0/aligned_detect_0.9.jpg"
    assert aligned.read("C_D/12/aligned_detect_12.1.jpg").startswith(b"aligned")
    assert aligned.describe() != source.describe()


def test_refused_files_of_youtube_faces(youtube):
    write(youtube / "frame_images_DB" / "A_B" / "loose.jpg")
    write(youtube / "frame_images_DB" / "A_B" / "0" / "notes.txt")
    write(youtube / "frame_images_DB" / "README.md")
    refused = {e.name for e in YouTubeFacesSource(youtube).items() if isinstance(e, Refused)}
    assert refused == {"A_B/loose.jpg", "A_B/0/notes.txt", "README.md"}
    with pytest.raises(ValueError, match="`images` must be one of 'frame_images_DB'"):
        YouTubeFacesSource(youtube, images="frames")
    with pytest.raises(ValueError, match=r"frame_images_DB.*does not exist"):
        YouTubeFacesSource(youtube / "frame_images_DB")
    for person in ("../x", "nobody"):
        with pytest.raises(ValueError, match="`person` must"):
            list(YouTubeFacesSource(youtube).face_boxes(person))


@pytest.mark.parametrize(
    "line", ["1, A_B/0, C_D/12", "x, A/0, B/1, 1", "0, A/0, B/1, 1", "1, A/0, B/1, 2", "1, A, B, 1"]
)
def test_malformed_splits(youtube, line):
    (youtube / "splits.txt").write_text(f"split number, first name, second name\n{line}\n")
    with pytest.raises(ValueError, match=r"splits\.txt, line 2: expected split number"):
        list(YouTubeFacesSource(youtube).video_pairs())


@pytest.fixture
def insightface_pack(tmp_path):
    for name in ("Actor_A/Actor_A_1.png", "Actor_B/Actor_B_10.png", "Actor_B/Actor_B_9.png"):
        write(tmp_path / "facescrub_images" / name, name)
    for name in ("507/1@N00/a_0.jpg", "507/1@N00/b_0.jpg", "600/2@N00/a_0.jpg"):
        write(tmp_path / "megaface_images" / name, name)
    write(tmp_path / "facescrub_lst", "Actor_B/Actor_B_10.png\nActor_A/Actor_A_1.png\n")
    write(tmp_path / "megaface_lst", "600/2@N00/a_0.jpg\n507/1@N00/a_0.jpg\n")
    write(tmp_path / "facescrub_noises.txt", "#noises\nActor_A_1.png\n")
    write(tmp_path / "megaface_noises.txt", "#noises\n3\t507/1@N00/a_0.jpg\n")
    return tmp_path


def test_megaface_as_insightface_packs_it(insightface_pack):
    source = MegaFaceSource(insightface_pack)
    items = list(source.items())
    assert [(item.name, item.identity) for item in items] == [
        ("facescrub/Actor_B/Actor_B_10.png", "Actor_B"),
        ("facescrub/Actor_A/Actor_A_1.png", "Actor_A"),
        ("megaface/600/2@N00/a_0.jpg", None),
        ("megaface/507/1@N00/a_0.jpg", None),
    ]
    assert source.read(items[2].locator) == b"600/2@N00/a_0.jpg"
    copy = pickle.loads(pickle.dumps(source))
    assert list(copy.items()) == items
    assert copy.describe() == source.describe()
    assert source.pairs() is None
    only = MegaFaceSource(insightface_pack, part="facescrub")
    assert list(only.items()) == items[:2]


def test_the_refined_lists(insightface_pack):
    source = MegaFaceSource(insightface_pack, refined=True)
    kept = [entry.name for entry in source.items() if isinstance(entry, Item)]
    assert kept == ["facescrub/Actor_B/Actor_B_10.png", "megaface/600/2@N00/a_0.jpg"]
    refused = [entry for entry in source.items() if isinstance(entry, Refused)]
    assert {entry.reason for entry in refused} == {"named in the list of noises"}
    (insightface_pack / "megaface_noises.txt").unlink()
    with pytest.raises(ValueError, match=r"megaface_noises\.txt.* does not exist"):
        MegaFaceSource(insightface_pack, refined=True)


def test_megaface_without_lists(insightface_pack):
    for name in ("facescrub_lst", "megaface_lst"):
        (insightface_pack / name).unlink()
    write(insightface_pack / "megaface_images/507/1@N00/a_0.jpg.json", "{}")
    write(insightface_pack / "facescrub_images/loose.png")
    found = by_name(MegaFaceSource(insightface_pack))
    assert list(found) == [
        "facescrub/Actor_A/Actor_A_1.png",
        "facescrub/Actor_B/Actor_B_9.png",
        "facescrub/Actor_B/Actor_B_10.png",
        "facescrub/loose.png",
        "megaface/507/1@N00/a_0.jpg",
        "megaface/507/1@N00/b_0.jpg",
        "megaface/600/2@N00/a_0.jpg",
    ]
    assert found["facescrub/loose.png"].reason == "not in an actor's folder"


@pytest.fixture
def official_kit(tmp_path):
    for name in ("507/1@N00/a_0.jpg", "600/2@N00/b_0.jpg"):
        write(tmp_path / "FlickrFinal2" / name, name)
    write(tmp_path / "facescrub" / "Actor_A" / "Actor_A_1.png")
    lists = tmp_path / "templatelists"
    write(
        lists / "facescrub_features_list.json",
        json.dumps({"path": ["Actor_A/Actor_A_1.png"], "id": ["Actor_A"]}),
    )
    paths = ["FlickrFinal2/600/2@N00/b_0.jpg", "507/1@N00/a_0.jpg", "../../secret.jpg"]
    for size, number in ((10, 1), (1000, 1), (1000, 2)):
        count = {(10, 1): 1, (1000, 1): 3, (1000, 2): 2}[size, number]
        content = json.dumps({"path": paths[:count], "id": paths[:count]})
        write(lists / f"megaface_features_list.json_{size}_{number}", content)
    return tmp_path


def test_megaface_as_published(official_kit):
    source = MegaFaceSource(official_kit)
    *items, bad = source.items()
    assert [(item.name, item.identity, item.locator) for item in items] == [
        ("facescrub/Actor_A/Actor_A_1.png", "Actor_A", "facescrub/Actor_A/Actor_A_1.png"),
        ("megaface/600/2@N00/b_0.jpg", None, "FlickrFinal2/600/2@N00/b_0.jpg"),
        ("megaface/507/1@N00/a_0.jpg", None, "FlickrFinal2/507/1@N00/a_0.jpg"),
    ]
    assert isinstance(bad, Refused)
    assert source.describe()["lists"]["megaface"] == "megaface_features_list.json_1000_1"
    name = "megaface_features_list.json_10_1"
    fewer = MegaFaceSource(official_kit, part="megaface", distractors=name)
    assert list(fewer.items()) == items[1:2]


@pytest.mark.parametrize("content", ["", "[]", '{"id": []}', '{"path": [1]}', "[" * 100_000])
def test_malformed_json_lists(official_kit, content):
    (official_kit / "templatelists" / "facescrub_features_list.json").write_text(content)
    with pytest.raises(ValueError, match=r"facescrub_features_list\.json: expected"):
        list(MegaFaceSource(official_kit).items())


def test_unusable_folders_of_megaface(official_kit):
    with pytest.raises(ValueError, match="`part` must be one of 'facescrub', 'megaface'"):
        MegaFaceSource(official_kit, part="distractors")
    with pytest.raises(ValueError, match="`distractors` must be a file"):
        MegaFaceSource(official_kit, distractors="megaface_features_list.json_7_1")
    with pytest.raises(ValueError, match="`distractors` must name a list"):
        MegaFaceSource(official_kit, distractors="../list")
    with pytest.raises(ValueError, match="must contain one of the folders facescrub_images"):
        MegaFaceSource(official_kit / "templatelists")
