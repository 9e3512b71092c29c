"""Embedding and comparison of faces with an .onnx file, NumPy and ONNX Runtime.

    python face_embedding.py face.onnx a.png b.png

The images are faces of 112×112 pixels, aligned by five points. See README.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np


class Runtime:
    """ONNX Runtime on the CPU. Takes float32 images and returns float32 arrays by name.

    The layers inside can be float32, float16 or int8.

    Args:
        path: the .onnx file.
        threads: threads of ONNX Runtime. By default, ONNX Runtime chooses.

    Attributes:
        input_shape: [batch or None, height, width, 3].
        input_dtype: "float32".
        output_names: names of the outputs.
    """

    # A small batch fits into the cache of the processor.
    good_batch = 8

    def __init__(self, path: Path, threads: int | None):
        import onnxruntime as ort

        options = ort.SessionOptions()
        # Errors only: the warnings of ONNX Runtime do not help users.
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or 0
        try:
            providers = ["CPUExecutionProvider"]
            self._session = ort.InferenceSession(str(path), options, providers=providers)
        # The exceptions of ONNX Runtime have no common base class except Exception.
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0]
            raise ValueError(f"{path} cannot be read as an ONNX model: {reason}") from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)":
            kinds = [f"{i.name} {i.type}" for i in inputs]
            raise ValueError(f"{path} is not a face model: its inputs are {kinds}")
        self._input = inputs[0].name
        # A free dimension has a name instead of a number.
        self.input_shape = [d if isinstance(d, int) else None for d in inputs[0].shape]
        self.input_dtype = "float32"
        self.output_names = [output.name for output in self._session.get_outputs()]

    def embedded_card(self) -> str | bytes | None:
        """Returns the card inside the artefact, which is used if there is no card next to it."""
        return self._session.get_modelmeta().custom_metadata_map.get("gfkeras.card")

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        outputs = self._session.run(self.output_names, {self._input: images})
        return dict(zip(self.output_names, outputs, strict=True))


# == The common part of the Python kits. `make kits` copies it from python-litert. =================


@dataclass(frozen=True)
class Faces:
    """Embeddings of N faces. Indexing, such as `faces[0]` or `faces[2:]`, returns Faces too.

    Attributes:
        embedding: (N, D) float32, L2-normalised.
        group_feature: (N, G) float32, or None for a model without groups.
        group: (N,) int, the most probable group, or None.
    """

    embedding: np.ndarray
    group_feature: np.ndarray | None = None
    group: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.embedding)

    def __getitem__(self, rows: int | slice | np.ndarray) -> Faces:
        rows = np.atleast_1d(np.arange(len(self))[rows])
        parts = (self.embedding, self.group_feature, self.group)
        return Faces(*(None if part is None else part[rows] for part in parts))

    @classmethod
    def of(cls, outputs: dict[str, np.ndarray]) -> Faces:
        """Returns the faces in a model's outputs. A single output is the embedding."""
        if len(outputs) == 1:
            outputs = {"embedding": next(iter(outputs.values()))}
        # A model without groups has neither logits nor group features.
        logits = outputs.get("group_logits")
        group = None if logits is None else logits.argmax(axis=1)
        return cls(_unit(outputs["embedding"]), outputs.get("group_feature"), group)


class FaceEmbedder:
    """Embeds aligned faces with an exported model.

    Args:
        path: the artefact. If its card, PATH.json, exists, the artefact is checked against it.
        threads: threads of the runtime. By default, the runtime chooses.

    Attributes:
        size: height and width of the images in pixels.
        card: the content of the card, or {} without a card.
        thresholds: the thresholds in PATH.thresholds.json or in the card, or None.

    Raises:
        ValueError: if the file is not a face model, or does not match its card.
    """

    def __init__(self, path: str | Path, threads: int | None = None):
        path = Path(path)
        if not path.exists():
            raise ValueError(f"{path}: no such model")
        self.card = _read_card(path)
        self._runtime = Runtime(path, threads)
        shape, names = list(self._runtime.input_shape), self._runtime.output_names
        if len(shape) != 4 or shape[1] != shape[2] or not shape[1] or shape[3] != 3:
            raise ValueError(f"{path} is not a face model: its input has the shape {shape}")
        if len(names) != 1 and "embedding" not in names:
            raise ValueError(f"{path} is not a face model: its outputs are {sorted(names)}")
        for given in self.card.get("inputs", [])[:1]:
            stated = (given.get("shape"), given.get("dtype"))
            if stated != (shape, self._runtime.input_dtype):
                raise ValueError(
                    f"{path} takes {shape} {self._runtime.input_dtype}, but its card says {stated}"
                )
        if not self.card and (inside := self._runtime.embedded_card()):
            self.card = _parsed(inside, f"the card inside {path}")
        self.batch_size, self.size = shape[:2]
        self.thresholds = _read_thresholds(path, self.card)

    def embed(self, images: np.ndarray) -> Faces:
        """Embeds images, (N, size, size, 3) RGB, 0…255, uint8 or float. N can be any number."""
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[1:] != (self.size, self.size, 3) or not len(images):
            raise ValueError(
                f"`images` must be (N, {self.size}, {self.size}, 3). Received: {images.shape}"
            )
        if not (images.min() >= 0 and images.max() <= 255):
            raise ValueError(
                "`images` must be pixels from 0 to 255, because the model normalises them. "
                f"Received: {images.min()} to {images.max()}"
            )
        step, parts = self.batch_size or Runtime.good_batch, []
        for start in range(0, len(images), step):
            part = images[start : start + step].astype(np.float32)
            # Fill up a fixed batch with black images, and cut off their outputs.
            missing = step - len(part) if self.batch_size else 0
            outputs = self._runtime.run(np.pad(part, ((0, missing), (0, 0), (0, 0), (0, 0))))
            parts.append({name: value[: len(part)] for name, value in outputs.items()})
        return Faces.of({name: np.concatenate([p[name] for p in parts]) for name in parts[0]})


def compare(
    a: Faces,
    b: Faces,
    group_aware: bool = False,
    beta: float = 0.1,
    gamma: float = 1 / 3,
    distance: str = "l2",
) -> np.ndarray:
    """Returns the similarities of faces row by row, (N,).

    A single face in `a` or `b` is compared with all faces of the other.

    The similarity is the cosine, or with `group_aware` cos − β·D^γ (arXiv 2005.10497), where D is
    the "l2", "squared-l2" or "cosine" distance of the normalised group features.
    """
    cosine = (a.embedding * b.embedding).sum(axis=1)
    if not group_aware or beta == 0:
        return cosine
    if a.group_feature is None or b.group_feature is None:
        raise ValueError("`group_aware` requires a model with groups. Received: one without")
    first, second = _unit(a.group_feature), _unit(b.group_feature)
    squared = ((first - second) ** 2).sum(axis=1)
    apart = {"l2": np.sqrt(squared), "squared-l2": squared, "cosine": squared / 2}[distance]
    return cosine - beta * apart**gamma


def read_face(path: str | Path, size: int = 112) -> np.ndarray:
    """Reads an aligned face, (size, size, 3) uint8 RGB, from an image file or a .npy file."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if path.suffix != ".npy":
        from PIL import Image
    try:
        if path.suffix == ".npy":
            pixels = np.load(path, allow_pickle=False)
        else:
            with Image.open(path) as image:
                wrong = image.size != (size, size)
                if wrong or image.mode not in ("RGB", "L") or "transparency" in image.info:
                    raise ValueError(f"it has {image.width}x{image.height} pixels ({image.mode})")
                pixels = np.asarray(image.convert("RGB"))
        if pixels.shape != (size, size, 3) or pixels.dtype != np.uint8:
            raise ValueError(f"it has the shape {pixels.shape} and type {pixels.dtype}")
    # A damaged image can make a decoder raise nearly any exception.
    except Exception as error:
        raise ValueError(
            f"{path} must be an aligned face of {size}x{size}, RGB or grey, 8 bits: {error}"
        ) from error
    return pixels


def threshold_at(
    thresholds: dict, far: float | None = None, force: bool = False
) -> tuple[str, float]:
    """Returns (FAR, threshold) for a false accept rate.

    By default, `far` is the smallest available FAR that is at least 1e-3. A FAR with fewer than ten
    expected false accepts among the impostor pairs is unreliable, and available only with `force`.
    """
    names, impostor = {float(name): name for name in thresholds["at_far"]}, thresholds["impostor"]
    # The factor allows for the rounding of, for example, 1e-3 · 10000.
    offered = [value for value in names if force or value * impostor >= 10 * (1 - 1e-9)]
    if far is None and offered:
        far = min((value for value in offered if value >= 1e-3), default=max(offered))
    nearest = max(names) if far is None else min(names, key=lambda value: abs(value - far))
    if far is not None and not abs(nearest - far) <= 1e-6 * far:
        raise ValueError(f"`far` must be one of {', '.join(names.values())}. Received: {far:g}")
    if nearest not in offered:
        raise ValueError(
            f"`far` must be larger, because fewer than ten of the {impostor:,} impostor pairs are "
            f"expected to be accepted. To use it anyway, set `force` (--force). "
            f"Received: {nearest:g}"
        )
    return names[nearest], thresholds["at_far"][names[nearest]]


def far_interval(far: float, impostor: int) -> tuple[float, float]:
    """Returns Wilson's 95 % interval of a FAR, for independent impostor pairs."""
    z = 1.959964
    middle, scale = far + z * z / (2 * impostor), 1 + z * z / impostor
    half = z * (far * (1 - far) / impostor + z * z / (4 * impostor * impostor)) ** 0.5
    return max((middle - half) / scale, 0.0), min((middle + half) / scale, 1.0)


def check_threshold(value: float, similarity: dict) -> float:
    """Returns a threshold if the similarity can reach it. Raises ValueError otherwise.

    The cosine can reach −1 to 1, the group-aware similarity less than −1.
    """
    farthest = 4 if similarity["distance"] == "squared-l2" else 2
    least = -1 - similarity["beta"] * farthest ** similarity["gamma"]
    if isinstance(value, (bool, str)) or not least - 1e-6 <= value <= 1 + 1e-6:
        raise ValueError(
            f"`threshold` must be a finite number from {least:.4g} to 1. Received: {value}"
        )
    return float(value)


def _unit(rows: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    # The maximum avoids a division by zero.
    return rows / np.maximum(norm, np.finfo(np.float32).tiny)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parsed(content: str | bytes, name: str) -> dict:
    try:
        return dict(json.loads(content))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{name} is damaged: {error}") from error


def _read_json(path: Path) -> dict:
    return _parsed(path.read_bytes(), str(path))


def _read_card(path: Path) -> dict:
    beside = path.with_name(f"{path.name}.json")
    if not beside.is_file():
        return {}
    card = _read_json(beside)
    hashes = card.get("sha256")
    # The card of a folder has one hash for each file.
    for name, expected in (hashes if isinstance(hashes, dict) else {"": hashes}).items():
        file = path / name
        if not file.is_file() or _sha256(file) != expected:
            raise ValueError(
                f"{file} is damaged or was replaced: its SHA-256 is not the one in {beside}"
            )
    return card


def _read_thresholds(path: Path, card: dict) -> dict | None:
    beside = path.with_name(f"{path.name}.thresholds.json")
    found = _read_json(beside) if beside.is_file() else card.get("thresholds")
    if found is None:
        return None
    try:
        similarity = {key: found["similarity"][key] for key in ("beta", "gamma", "distance")}
        at_far = {str(k): check_threshold(v, similarity) for k, v in found["at_far"].items()}
        if not at_far or not all(0 < float(name) <= 1 for name in at_far):
            raise ValueError(f"false accept rates {list(at_far)}")
        if not isinstance(found["impostor"], int) or not 1 <= found["impostor"] <= 10**20:
            raise ValueError(f"{found['impostor']!r} impostor pairs")
        of, origin = str(found.get("model", "")), str(found["origin"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"the thresholds of {path} are damaged: {error!r}") from error
    # The thresholds in a card are for the float model, at every precision.
    models = [card.get("fingerprint")]
    if beside.is_file():
        # A model rounded to int8 is another model and needs thresholds of its own.
        models = models if card.get("precision") in ("fp32", "fp16") else []
        models += [_sha256(path)] if path.is_file() else []
    if of and models and of not in models:
        name = beside if beside.is_file() else f"the card of {path}"
        raise ValueError(f"the thresholds in {name} are for another model")
    kept = {"similarity": similarity, "impostor": found["impostor"], "origin": origin}
    return {"at_far": at_far, **kept}


def result_of(
    embedder: FaceEmbedder,
    faces: Faces,
    group_aware: bool,
    far: float | None,
    by_hand: float | None,
    force: bool = False,
) -> dict:
    """Returns similarity, groups and decision for two faces.

    The first threshold in this order decides, as in gfkeras: `by_hand`, PATH.thresholds.json, the
    card.
    """
    if by_hand is not None and far is not None:
        raise ValueError(
            f"`threshold` cannot be combined with `far`. Received: threshold={by_hand}, far={far}"
        )
    known = embedder.thresholds
    known_by_groups = bool(known and known["similarity"]["beta"])
    score = {"group_aware": group_aware}
    if known_by_groups and (group_aware or by_hand is None):
        score = {"group_aware": True, **known["similarity"]}
    result: dict = {"cosine": float(compare(faces[0], faces[1])[0])}
    similarity = float(compare(faces[0], faces[1], **score)[0])
    if score["group_aware"]:
        result["group_aware_similarity"] = similarity
    if faces.group is not None:
        result["groups"] = faces.group.tolist()
    if by_hand is not None:
        of = {"beta": 0.1 if group_aware else 0.0, "gamma": 1 / 3, "distance": "l2"} | score
        result |= {"threshold": check_threshold(by_hand, of), "origin": "given by the user"}
    elif known and known_by_groups == score["group_aware"]:
        result["far"], result["threshold"] = threshold_at(known, far, force)
        result["origin"], result["impostor_pairs"] = known["origin"], known["impostor"]
        result["far_interval"] = far_interval(float(result["far"]), known["impostor"])
    elif far is not None:
        raise ValueError(
            "`far` requires thresholds for this model and this similarity. Received: none"
        )
    if "threshold" in result:
        result["same"] = similarity >= result["threshold"]
    return result


def _printable(text: str) -> str:
    """Returns the text in one line, with control characters escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))


def _print(result: dict) -> None:
    # Only the score that decides is shown: the threshold does not apply to another score.
    if "group_aware_similarity" in result:
        print(f"Group-aware    {result['group_aware_similarity']:.4f}")
    else:
        print(f"Cosine         {result['cosine']:.4f}")
    if "groups" in result:
        print("Groups         {} and {}".format(*result["groups"]))
    decision = "none, because there are no thresholds for this similarity (use --threshold)"
    if "same" in result:
        at = f" at FAR {result['far']}" if "far" in result else ""
        decision = ("same person" if result["same"] else "different people") + at
        decision += f", threshold {result['threshold']:.4f} ({result['origin']})"
    print(f"Decision       {_printable(decision)}")
    if "far_interval" in result:
        low, high = result["far_interval"]
        print(f"Measured on    {result['impostor_pairs']:,} impostor pairs: ", end="")
        print(f"FAR {low:.1e} to {high:.1e} (95 %)")
    print(f"Latency        {result['latency_ms']:.2f} ms per image, median of {result['runs']}")


def main(arguments: list[str] | None = None) -> int:
    """Compares two aligned faces. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Compare two aligned faces.")
    parser.add_argument("model", help="a file or folder that gfkeras exported")
    parser.add_argument("images", nargs=2, metavar="IMAGE", help="an aligned face of 112x112")
    parser.add_argument("--group-aware", action="store_true", help="score with cos − β·D^γ")
    parser.add_argument("--far", type=float, help="decide at this FAR, such as 1e-3")
    parser.add_argument("--threshold", type=float, help="decide at this similarity")
    parser.add_argument(
        "--force",
        action="store_true",
        help="use thresholds with fewer than ten expected false accepts",
    )
    parser.add_argument("--threads", type=int, help="threads of the runtime")
    parser.add_argument("--runs", type=int, default=20, help="runs to measure the latency")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    given = parser.parse_args(arguments)
    try:
        for name in ("threads", "runs"):
            if (value := getattr(given, name)) is not None and value < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {value}")
        embedder = FaceEmbedder(given.model, given.threads)
        images = np.stack([read_face(path, embedder.size) for path in given.images])
        faces = embedder.embed(images)
        asked = (given.group_aware, given.far, given.threshold, given.force)
        result = result_of(embedder, faces, *asked)
        times = []
        for run in range(given.runs + 1):
            start = time.perf_counter()
            embedder.embed(images[run % 2 : run % 2 + 1])
            times.append(1000 * (time.perf_counter() - start))
    except (ValueError, OSError, ImportError) as error:
        print(f"{parser.prog}: error: {_printable(str(error))}", file=sys.stderr)
        return 2
    # Leave out the first run: it prepares the runtime for a batch of one.
    result |= {"latency_ms": float(np.median(times[1:])), "runs": given.runs}
    print(json.dumps(result)) if given.json else _print(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
