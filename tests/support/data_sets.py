"""Small data sets of synthetic people in their official layouts."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from gfkeras.data.alignment.align import face_template
from gfkeras.data.synthetic import synthetic_faces

PEOPLE, EACH = 8, 4


def jpegs() -> list[bytes]:
    """JPEG files of eight people, four of each."""
    images, _ = synthetic_faces(num_identities=PEOPLE, images_per_identity=EACH, seed=0)
    found = []
    for image in images:
        stream = io.BytesIO()
        Image.fromarray(np.asarray(image, np.uint8)).save(stream, "JPEG", quality=95)
        found.append(stream.getvalue())
    return found


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_people(root: Path, faces: Sequence[bytes] | None = None) -> Path:
    """One folder per person: p0/p0_0001.jpg and so on."""
    for number, content in enumerate(faces or jpegs()):
        person = f"p{number // EACH}"
        write(root / person / f"{person}_{number % EACH + 1:04d}.jpg", content)
    return root


def write_youtube_faces(root: Path, faces: Sequence[bytes]) -> None:
    lines = ["split number, first, second, same"]
    for number, content in enumerate(faces):
        person, frame = number // EACH, number % EACH
        write(root / "aligned_images_DB" / f"P_{person}" / str(frame % 2) / f"{frame}.jpg", content)
    for person in range(PEOPLE):
        lines += [f"{person % 2 + 1}, P_{person}/0, P_{person}/1, 1",
                  f"{person % 2 + 1}, P_{person}/0, P_{(person + 1) % PEOPLE}/1, 0"]  # fmt: skip
    (root / "splits.txt").write_text("\n".join(lines))


def write_ijb(root: Path, faces: Sequence[bytes]) -> None:
    # The five points of an aligned face.
    points = " ".join(f"{value:.4f}" for value in face_template((112, 112)).reshape(-1))
    lists, scores = [], []
    for number, content in enumerate(faces):
        write(root / "loose_crop" / f"{number}.jpg", content)
        lists.append(f"{number}.jpg {10 * (number // EACH) + number % 2} {number}")
        scores.append(f"{number}.jpg {points} 0.{90 - number}")
    meta = root / "meta"
    meta.mkdir()
    (meta / "ijbc_face_tid_mid.txt").write_text("\n".join(lists))
    (meta / "ijbc_name_5pts_score.txt").write_text("\n".join(scores))
    ids = [10 * person + half for person in range(PEOPLE) for half in (0, 1)]
    pairs = [f"{a} {b} {int(a // 10 == b // 10)}" for i, a in enumerate(ids) for b in ids[:i]]
    (meta / "ijbc_template_pair_label.txt").write_text("\n".join(pairs))
    for name, chosen in (
        ("gallery_G1", [0, 10, 20]), ("gallery_G2", [30, 40, 50]),
        ("probe_mixed", [10 * person + 1 for person in range(PEOPLE)]),
    ):  # fmt: skip
        rows = ["TEMPLATE_ID,SUBJECT_ID,FILENAME", *(f"{t},{t // 10},x" for t in chosen)]
        (meta / f"ijbc_1N_{name}.csv").write_text("\n".join(rows))


def write_megaface(root: Path, faces: Sequence[bytes]) -> None:
    """Three actors. The other people are distractors."""
    actors, strangers = [], []
    for number, content in enumerate(faces):
        person, index = number // EACH, number % EACH
        if person < 3:
            actors.append(f"Actor_{person}/Actor_{person}_{index}.jpg")
            write(root / "facescrub_images" / actors[-1], content)
        else:
            strangers.append(f"100/{person}@N00/{index}.jpg")
            write(root / "megaface_images" / strangers[-1], content)
    (root / "facescrub_lst").write_text("\n".join(actors))
    (root / "megaface_lst").write_text("\n".join(strangers))
    (root / "facescrub_noises.txt").write_text("Actor_0_3.jpg\n")
    (root / "megaface_noises.txt").write_text(f"{strangers[0]}\n")


def write_cfp(images: Path, lists: Path, faces: Sequence[bytes]) -> None:
    """CFP's lists in `lists`, and images of eight people, two of each pose, in `images`.

    Each of the ten folds has two genuine and two impostor pairs, in both parts.
    """
    for person in range(PEOPLE):
        for number in range(EACH):
            pose = ("frontal", "profile")[number // 2]
            name = f"{person + 1:03d}/{pose}/{number % 2 + 1:02d}.jpg"
            write(images / name, faces[person * EACH + number])
    for letter, pose in (("F", "frontal"), ("P", "profile")):
        names = [f"{i // 2 + 1:03d}/{pose}/{i % 2 + 1:02d}.jpg" for i in range(2 * PEOPLE)]
        rows = [f"{i} ../Data/Images/{name}" for i, name in enumerate(names, start=1)]
        write(lists / f"Pair_list_{letter}.txt", "\n".join(rows).encode())
    for part in ("FF", "FP"):
        for fold in range(10):
            one, two = 2 * (fold % PEOPLE) + 1, 2 * ((fold + 1) % PEOPLE) + 1
            same = f"{one},{one + 1}\n{two},{two + 1}\n"
            place = lists / "Split" / part / f"{fold + 1:02d}"
            write(place / "same.txt", same.encode())
            write(place / "diff.txt", f"{one},{two}\n{two},{one}\n".encode())
