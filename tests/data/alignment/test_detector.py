"""Detection in real photos: determinism, sizes, threads, processes, broken files."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from gfkeras.data.alignment import Detections, FaceDetector, choose_faces
from gfkeras.data.photos import read_photo


def same(first: Detections, second: Detections) -> bool:
    return (
        np.array_equal(first.boxes, second.boxes)
        and np.array_equal(first.landmarks, second.landmarks)
        and np.array_equal(first.scores, second.scores)
    )


def detect_in_process(detector: FaceDetector, photo: np.ndarray) -> Detections:
    return detector.detect(photo)


def test_detections(detector, photos):
    counts = []
    for path in photos[:60]:
        found = detector.detect(read_photo(path))
        counts.append(len(found))
        assert found.photo_size == (250, 250)
        assert found.boxes.shape == (len(found), 4)
        assert found.landmarks.shape == (len(found), 5, 2)
        assert (np.diff(found.scores) <= 0).all()
        assert (found.scores >= 0.6).all()
        eye_left, eye_right, _, mouth_left, mouth_right = np.moveaxis(found.landmarks, 1, 0)
        assert (eye_left[:, 0] < eye_right[:, 0]).all()
        assert (mouth_left[:, 1] > eye_left[:, 1]).all()
        assert (mouth_right[:, 1] > eye_right[:, 1]).all()
    assert min(counts) == 1
    assert max(counts) > 1


def test_the_same_photo_gives_the_same_faces(detector, photos):
    images = [read_photo(path) for path in photos[:12]]
    # Other sizes in between, because one network is set to the size of each photo.
    images += [image[:150, 20:] for image in images[:6]]
    alone = [FaceDetector(detector.model).detect(image) for image in images]
    for order in (range(len(images)), reversed(range(len(images)))):
        for index in order:
            assert same(alone[index], detector.detect(images[index]))
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(detector.detect, images * 3))
    assert all(same(a, b) for a, b in zip(alone * 3, threaded, strict=True))
    assert same(alone[0], pickle.loads(pickle.dumps(detector)).detect(images[0]))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for index in (0, 13):
            found = pool.apply(detect_in_process, (detector, images[index]))
            assert same(alone[index], found)


def test_cores_do_not_change_the_result(detector, photos):
    image = read_photo(photos[3])
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        one = detector.detect(image)
        cv2.setNumThreads(2)
        assert same(one, detector.detect(image))
    finally:
        cv2.setNumThreads(before)


def test_each_thread_has_its_own_network(detector):
    networks = []
    thread = threading.Thread(target=lambda: networks.append(detector._network()))
    thread.start()
    thread.join()
    assert detector._network() is detector._network()
    assert networks[0] is not detector._network()


@pytest.mark.parametrize("scale", [0.4, 1.5, 4, 12])
def test_large_and_small_photos(detector, photos, scale):
    """Landmarks are in the photo's own pixels, within YuNet's 2 % of the face."""
    errors = []
    for path in photos[10:14]:
        image = read_photo(path)
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        scaled = cv2.resize(image, None, fx=scale, fy=scale, interpolation=way)
        (plain,) = choose_faces(expected := detector.detect(image), "central")
        (index,) = choose_faces(found := detector.detect(scaled), "central")
        assert found.photo_size == scaled.shape[:2]
        difference = found.landmarks[index] - ((expected.landmarks[plain] + 0.5) * scale - 0.5)
        errors.append(np.abs(difference) / (scale * expected.boxes[plain, 2]))
        # The middle of the boxes, roughly.
        shift = found.boxes[index] / scale - expected.boxes[plain]
        assert np.abs(shift).max() < 0.15 * expected.boxes[plain, 2]
    assert np.mean(errors) < 0.05


def test_a_face_that_fills_a_large_photo(detector, photos):
    image = read_photo(photos[0])
    (index,) = choose_faces(found := detector.detect(image), "central")
    x, y, width, height = found.boxes[index].astype(int)
    closeup = cv2.resize(image[y : y + height, x : x + width], (2400, 2800))
    big = FaceDetector(detector.model, max_size=1600)
    assert len(detector.detect(closeup)) == 1
    assert len(big.detect(closeup)) == 1


@pytest.mark.parametrize(
    "shape", [(1, 1), (2, 3), (31, 33), (1, 700), (700, 1), (3, 5000), (64, 64), (9000, 40)]
)
def test_odd_photos_have_no_face_and_no_trouble(detector, shape):
    for value in (0, 200):
        found = detector.detect(np.full((*shape, 3), value, np.uint8))
        assert len(found) == 0
        assert found.landmarks.shape == (0, 5, 2)
        assert found.boxes.shape == (0, 4)


def test_a_face_in_a_panorama(detector, photos):
    panorama = np.full((250, 2500, 3), 90, np.uint8)
    panorama[:, 1000:1250] = read_photo(photos[0])
    assert any(1000 < x < 1250 for x in detector.detect(panorama).boxes[:, 0])


def test_thresholds_and_sizes_leave_faces_out(detector, photos):
    images = [read_photo(path) for path in photos[:60]]
    few = FaceDetector(detector.model, score_threshold=0.9)
    large = FaceDetector(detector.model, min_face_size=60)
    everything = [len(detector.detect(image)) for image in images]
    assert sum(len(few.detect(image)) for image in images) < sum(everything)
    for image, count in zip(images[:20], everything, strict=False):
        found = large.detect(image)
        assert len(found) <= count
        assert (found.boxes[:, 2:] >= 60).all()


@pytest.mark.parametrize(
    "arguments",
    [
        {"score_threshold": 1.5},
        {"score_threshold": "high"},
        {"nms_threshold": -0.1},
        {"max_size": 0},
        {"min_face_size": -1},
    ],
)
def test_wrong_arguments(yunet, arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"`{name}` must be .*Received: {name}="):
        FaceDetector(yunet, **arguments)


def test_broken_networks_are_refused(tmp_path, yunet, monkeypatch, capfd):
    content = yunet.read_bytes()
    for wrong in (b"", b"text" * 99, content[:100_000], content[:-50]):
        broken = tmp_path / "broken.onnx"
        broken.write_bytes(wrong)
        with pytest.raises(ValueError, match=r"`model` must be the ONNX.*Received: .*broken.onnx"):
            FaceDetector(broken)
    with pytest.raises(ValueError, match=r"`model` must name.*No such file"):
        FaceDetector(tmp_path / "none.onnx")
    monkeypatch.setenv("GFKERAS_YUNET", str(tmp_path))
    with pytest.raises(ValueError, match=r"GFKERAS_YUNET must name.*Is a directory"):
        FaceDetector()
    assert capfd.readouterr() == ("", "")


def test_another_network_is_refused(tmp_path):
    helper = pytest.importorskip("onnx.helper")
    value = [helper.make_tensor_value_info(name, 1, [1, 3, 32, 32]) for name in ("input", "output")]
    node = helper.make_node("Relu", ["input"], ["output"])
    graph = helper.make_graph([node], "other", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"YuNet face detector.*other\.onnx"):
        FaceDetector(tmp_path / "other.onnx")


def test_nothing_is_printed_and_the_log_level_is_kept(yunet, photos):
    script = (
        "import sys, cv2\n"
        "from gfkeras.data.alignment import FaceDetector\n"
        "from gfkeras.data.photos import read_photo\n"
        "before = cv2.utils.logging.getLogLevel()\n"
        "found = FaceDetector().detect(read_photo(sys.argv[1]))\n"
        "assert len(found) and cv2.utils.logging.getLogLevel() == before\n"
        "assert not {'keras', 'tensorflow', 'jax', 'rich'} & set(sys.modules)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(photos[0])],
        env={"GFKERAS_YUNET": str(yunet), "KERAS_BACKEND": "none"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (run.stdout, run.stderr) == ("", "")


def detections(boxes, size=(100, 200)) -> Detections:
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    scores = np.linspace(0.9, 0.7, len(boxes), dtype=np.float32)
    return Detections(boxes, np.zeros((len(boxes), 5, 2), np.float32), scores, size)


def test_choosing():
    found = detections([[0, 0, 30, 30], [90, 40, 20, 20], [150, 10, 31, 30]])
    assert choose_faces(found).tolist() == [2]
    assert choose_faces(found, "central").tolist() == [1]
    assert choose_faces(found, "all").tolist() == [0, 1, 2]
    ties = detections([[0, 40, 20, 20], [180, 40, 20, 20]])
    assert choose_faces(ties).tolist() == choose_faces(ties, "central").tolist() == [0]
    for choice in ("largest", "central", "all"):
        assert choose_faces(detections([]), choice).tolist() == []
    with pytest.raises(ValueError, match="did you mean 'largest'"):
        choose_faces(found, "larges")
