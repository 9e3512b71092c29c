"""A gallery that several threads or several processes use at once."""

import os
import signal
import stat
import threading
import time

import numpy as np
import pytest
from gallery_oracle import random_faces
from processes import start_python

from gfkeras.evaluation import COSINE, GROUP_AWARE
from gfkeras.inference import Embeddings, Gallery


def faces(*numbers):
    """Returns different directions of 16 dimensions."""
    return Embeddings(np.eye(16, dtype=np.float32)[list(numbers)])


def photos(path):
    kept = Gallery.load(path).templates()
    return dict(zip(kept.names, kept.photos.tolist(), strict=True))


@pytest.fixture
def path(tmp_path):
    gallery = Gallery(tmp_path / "faces.gallery")
    gallery.add(["Ann", "Bob", "Cleo"], faces(0, 1, 2))
    return gallery.save()


def test_threads_search_while_others_add_and_remove(tmp_path):
    known = random_faces(400, 0)
    gallery, errors, stop = Gallery(tmp_path / "faces.gallery"), [], threading.Event()
    gallery.add([f"p{n}" for n in range(400)], known)

    def search(number):
        rng = np.random.default_rng(number)
        for _ in range(60):
            rows = rng.integers(0, 400, 1 + number % 3)
            probe = Embeddings(known.embedding[rows], known.group_feature[rows])
            found = gallery.search(probe, 2, (COSINE, GROUP_AWARE)[number % 2])
            assert [matches[0].name for matches in found] == [f"p{row}" for row in rows]
            assert all(abs(matches[0].cosine - 1) < 1e-5 for matches in found)

    def change(number):
        step = 0
        while not stop.is_set():
            names = [f"new {number} {step} {part}" for part in range(20)]
            gallery.add(names, random_faces(20, 1000 * number + step))
            # Removing moves the last rows to the freed places, so all rows change.
            gallery.remove(names)
            if step % 20 == 0:
                gallery.save()
            assert len(gallery) >= 400
            assert "p7" in gallery
            step += 1

    def guarded(work, number):
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    jobs = [(search, n) for n in range(6)] + [(change, n) for n in (1, 2)]
    threads = [threading.Thread(target=guarded, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads[:6]:
        thread.join(120)
    stop.set()
    for thread in threads[6:]:
        thread.join(120)
    assert not errors, errors[0]
    assert len(gallery) == 400


def test_saving_keeps_what_others_saved(path):
    first, second = Gallery.load(path), Gallery.load(path)
    first.add("Dan", faces(3))
    first.update("Ann", faces(0))
    first.remove("Bob")
    second.add(["Eve", "Finn"], faces(4, 5))
    second.update("Ann", faces(0, 0))
    first.save()
    second.save()
    expected = {"Ann": 4, "Cleo": 1, "Dan": 1, "Eve": 1, "Finn": 1}
    assert photos(path) == expected
    # The gallery that saved last has the content of the file. The other one has what it wrote.
    assert second.names == sorted(expected)
    assert first.names == ["Ann", "Cleo", "Dan"]
    first.save()
    assert photos(path) == expected
    (found,) = first.search(faces(5), 1)
    assert found[0].name == "Finn"


def test_removed_people_stay_removed(path):
    holder, other = Gallery.load(path), Gallery.load(path)
    other.remove(["Ann", "Bob"])
    other.save()
    holder.add("Dan", faces(3))
    # Ann was removed by the other gallery, so her new photos must be dropped.
    holder.update(["Ann", "Dan"], faces(0, 3))
    holder.save()
    assert photos(path) == {"Cleo": 1, "Dan": 2}
    # Cleo is removed here while the other gallery adds photos of her.
    other.save()
    other.update("Cleo", faces(2))
    other.save()
    holder.remove("Cleo")
    holder.save()
    assert photos(path) == {"Dan": 2}


def test_removed_and_added_again_is_somebody_new(path):
    holder, other = Gallery.load(path), Gallery.load(path)
    holder.update("Ann", faces(0, 0, 0))
    holder.remove(["Ann", "Bob"])
    holder.add("Ann", faces(7))
    holder.update("Ann", faces(7))
    other.update(["Ann", "Cleo"], faces(0, 2))
    other.save()
    holder.save()
    assert photos(path) == {"Ann": 2, "Cleo": 2}
    np.testing.assert_allclose(
        Gallery.load(path).template("Ann").embedding, faces(7).embedding, atol=1e-6
    )


def test_two_who_enrol_the_same_person_count_both(tmp_path):
    place = tmp_path / "new" / "faces.gallery"
    both = [Gallery(place), Gallery(place)]
    for number, gallery in enumerate(both):
        gallery.add(["Ann", f"own {number}"], faces(0, number + 1))
        gallery.save()
    assert photos(place) == {"Ann": 2, "own 0": 1, "own 1": 1}


def test_a_file_that_became_another_one_is_left_alone(path, tmp_path):
    holder = Gallery.load(path)
    holder.add("Dan", faces(3))
    before = path.read_bytes()
    for other in (Gallery(storage="int8"), Gallery(metadata={"model": "b" * 64}), Gallery()):
        width = 16 if other.metadata or other.storage == "int8" else 8
        other.add("Zoe", Embeddings(np.eye(width, dtype=np.float32)[:1]))
        holder.metadata["model"] = "a" * 64
        written = other.save(path).read_bytes()
        with pytest.raises(ValueError, match=r"storage|another model|other widths"):
            holder.save()
        assert path.read_bytes() == written
        path.write_bytes(before)
    path.write_bytes(b"x" + before[1:])
    with pytest.raises(ValueError, match="not a gallery"):
        holder.save()
    path.unlink()
    with pytest.raises(ValueError, match=r"was deleted.*`path`"):
        holder.save()
    assert not path.exists()
    assert set(photos(holder.save(path))) == {"Ann", "Bob", "Cleo", "Dan"}
    # The file is truncated while it is open. The gallery is in memory and can be written again.
    with path.open("r+b") as file:
        file.truncate(1000)
    assert holder.search(faces(3), 1)[0][0].name == "Dan"
    holder.save()
    assert set(photos(path)) == {"Ann", "Bob", "Cleo", "Dan"}


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_only_the_owner_may_read(tmp_path):
    before = os.umask(0o022)
    try:
        place = tmp_path / "people" / "of today" / "faces.gallery"
        gallery = Gallery(place)
        gallery.add("Ann", faces(0))
        gallery.save()
        place.chmod(0o644)
        gallery.save()
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (place, place.parent, place.parents[1])]
    assert modes == [0o600, 0o700, 0o700]
    assert list(place.parent.iterdir()) == [place]


@pytest.mark.skipif(os.name != "posix", reason="symbolic links")
def test_a_link_stays_a_link_and_leftovers_of_killed_writers_go(path, tmp_path):
    link = tmp_path / "link.gallery"
    link.symlink_to(path)
    leftover = path.with_name(f".0123abcd.{path.name}")
    leftover.write_bytes(b"faces")
    # A lock file of a killed process blocks nobody.
    path.with_name(f".{path.name}.lock").write_text("1")
    gallery = Gallery(link)
    gallery.add("Dan", faces(3))
    gallery.save()
    assert link.is_symlink()
    assert "Dan" in photos(path)
    assert sorted(tmp_path.iterdir()) == sorted([path, link])


def test_another_models_gallery_is_refused(tmp_path):
    place = tmp_path / "faces.gallery"
    made = Gallery(place, metadata={"model": "a" * 64, "model_name": "one"})
    made.add("Ann", faces(0))
    made.save()
    with pytest.raises(ValueError, match=r"`model`.*one.*Received: bbbb"):
        Gallery.load(place, model="b" * 64)
    with pytest.raises(ValueError, match=r"`model`.*one"):
        Gallery(place, metadata={"model": "b" * 64})
    assert Gallery.load(place, model="a" * 64).names == ["Ann"]


def test_plain_arrays_and_invalid_embeddings():
    gallery = Gallery()
    gallery.add("Ann", faces(0).embedding)
    gallery.add(["Bob", "Cleo"], faces(1, 2).embedding.tolist())
    (found,) = gallery.search(faces(2).embedding, 1)
    assert found[0].name == "Cleo"
    for wrong in ("a.jpg", None, {"embedding": 1}, 5, object(), np.eye(3)[0], ["a"], [[None]]):
        with pytest.raises(ValueError, match="`embeddings`"):
            gallery.add("Dan", wrong)
        with pytest.raises(ValueError, match="`embeddings`"):
            gallery.search(wrong)


WRITER = """
import os, sys, time
import numpy as np
from gfkeras.inference import Embeddings, Gallery
path, log = sys.argv[1], sys.argv[2]
# One process after another works, until it is killed; starting Python anew would take longest.
while pid := os.fork():
    os.waitpid(pid, 0)
parent, turn = os.getppid(), 0
me = os.getpid()
with open(log, "a") as done:
    while os.getppid() == parent:
        gallery = Gallery(path)
        names = [f"{me}-{turn}-{n}" for n in range(5)]
        rows = np.random.default_rng([me, turn]).standard_normal((5, 64))
        gallery.add(names, Embeddings(rows.astype(np.float32)))
        if turn:
            gallery.remove(f"{me}-{turn - 1}-0")
        gallery.save()
        # Acknowledged: it must stay from here on, and whoever was removed must not return.
        done.write(f"{me} {turn}\\n")
        done.flush()
        turn += 1
"""


@pytest.mark.skipif(os.name != "posix", reason="kills processes")
@pytest.mark.parametrize("kills", [6, pytest.param(50, marks=pytest.mark.slow)])
def test_two_writers_who_are_killed_lose_nobody(tmp_path, kills, record_property):
    place, rng = tmp_path / "faces.gallery", np.random.default_rng(0)
    logs = [tmp_path / "0.log", tmp_path / "1.log"]
    writers = [start_python(WRITER, str(place), str(log)) for log in logs]

    def steps():
        """Returns (process, turn) of all acknowledged steps, from complete lines."""
        lines = [log.read_text().rpartition("\n")[0] for log in logs if log.exists()]
        return [tuple(map(int, line.split())) for text in lines for line in text.splitlines()]

    def wait_for(condition):
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.005)

    try:
        killed = set()
        for number in range(kills):
            log = logs[number % 2]

            def living(log=log):
                last = log.read_text().split("\n")[-2:-1] if log.exists() else []
                return int(last[0].split()[0]) if last else None

            wait_for(lambda: living() not in killed | {None})
            time.sleep(rng.uniform(0, 0.05))
            killed.add(living())
            os.kill(living(), signal.SIGKILL)
    finally:
        for writer in writers:
            writer.kill()
    # The last child of each process notices that its parent is gone.
    acknowledged, there = steps(), None
    while (now := Gallery.load(place).names) != there:
        there = now
        time.sleep(0.3)
    acknowledged, names = steps(), set(there)
    last = {}
    for process, turn in acknowledged:
        last[process] = max(turn, last.get(process, 0))
    wanted = {f"{p}-{t}-{n}" for p, t in acknowledged for n in range(1, 5)}
    # Each turn removes one person of the turn before. The last turn can be incomplete.
    wanted_away = {f"{p}-{t}-0" for p, t in acknowledged if t < last[p]}
    record_property("people_lost", len(wanted - names))
    assert len(killed) >= min(kills, 2)
    assert not wanted - names, f"{len(wanted - names)} of {len(wanted)} people lost"
    assert not wanted_away & names
    left = [each.name for each in tmp_path.iterdir() if each.name.endswith(".gallery")]
    assert len(left) <= 3
