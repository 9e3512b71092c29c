"""Good files and the function that reads them, for each reader in `fuzz_readers.py`."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Read = Callable[[Path], Any]


@dataclasses.dataclass(frozen=True)
class Reader:
    """A file name, good contents (made in a folder), and a factory of the function to fuzz."""

    file: str
    seeds: Callable[[Path], Iterable[bytes]]
    opened: Callable[[], Read]
    slow: bool = False


def jpeg(side: int = 16) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), 90, np.uint8)).save(file, "JPEG")
    return file.getvalue()


# == Lists and data sets ===========================================================================


def _items() -> Read:
    from gfkeras.data.sources import open_source

    def read(path: Path) -> None:
        options = {"root": path.parent} if path.suffix == ".txt" else {}
        source = open_source(path, **options)
        for number, item in enumerate(source.items()):
            if number > 100:
                break
            if hasattr(item, "locator"):
                try:
                    source.read(item.locator)
                except (ValueError, OSError):
                    continue
        if (pairs := source.pairs()) is not None:
            list(pairs)

    return read


def _csv(folder: Path) -> Iterable[bytes]:
    yield b"path,identity,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\na.jpg,anna,1,2,3,4,5,6,7,8,9,10\n"
    yield b'\xef\xbb\xbfpath\tlabel\r\n"b c.png"\t7\r\n'


def _lst(folder: Path) -> Iterable[bytes]:
    yield b"0\t3\ta/b.jpg\n1\t4\tc.jpg\n"
    yield b"1\ta/b.jpg\t3\n1\tc.jpg\t4\t0\t0\t10\t10\n"


def _celeba(folder: Path) -> Iterable[bytes]:
    yield b"000001.jpg 2880\n000002.jpg 2937\r\n"


def _pairs(folder: Path) -> Iterable[bytes]:
    yield b"2\t2\nAnna\t1\t2\nBen\t1\t3\nAnna\t1\tBen\t2\nAnna\t2\tBen\t3\n" * 2


def _bin(folder: Path) -> Iterable[bytes]:
    image = jpeg()
    for protocol in (0, 2, 4):
        yield pickle.dumps(([image] * 4, [True, False]), protocol)
    yield pickle.dumps(([np.frombuffer(image, np.uint8)] * 2, np.array([True])), 2)


def _rec(folder: Path) -> Iterable[bytes]:
    content = b""
    for key in range(3):
        data = struct.pack("<IfQQ", 0, float(key), key, 0) + jpeg()
        content += struct.pack("<II", 0xCED7230A, len(data)) + data + bytes(-len(data) % 4)
    yield content


# == Weights =======================================================================================


def _weights(kind: str) -> Callable[[], Read]:
    def opened() -> Read:
        from gfkeras.zoo.foreign.importing import import_weights, read_network
        from gfkeras.zoo.loading import load

        def read(path: Path) -> None:
            read_network(path, kind)
            import_weights(path)
            if kind == "keras":
                load(path)

        return read

    return opened


def _keras(suffix: str) -> Callable[[Path], Iterable[bytes]]:
    def seeds(folder: Path) -> Iterable[bytes]:
        import keras
        from keras import layers

        images = layers.Input((112, 112, 3))
        x = layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(images)
        x = layers.PReLU(shared_axes=[1, 2])(layers.BatchNormalization()(x))
        x = layers.Dense(8)(layers.GlobalAveragePooling2D()(x))
        keras.Model(images, x).save(folder / f"seed{suffix}")
        yield (folder / f"seed{suffix}").read_bytes()

    return seeds


def _pt(folder: Path) -> Iterable[bytes]:
    def tensor(key: str, size: tuple[int, ...], stride: tuple[int, ...]) -> str:
        def numbers(values: tuple[int, ...]) -> str:
            return "(" + "".join(f"I{value}\n" for value in values) + "t"

        storage = f"(S'storage'\nctorch\nFloatStorage\nS'{key}'\nS'cpu'\nI4\ntQ"
        rebuild = f"ctorch._utils\n_rebuild_tensor_v2\n({storage}I0\n{numbers(size)}"
        return f"{rebuild}{numbers(stride)}I00\n(dtR"

    named = f"S'conv1.weight'\n{tensor('0', (2, 2), (2, 1))}sS'b'\n{tensor('1', (4,), (1,))}s"
    for head in ("(d", "ccollections\nOrderedDict\n(tR"):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", f"{head}{named}.")
            archive.writestr("archive/version", "3\n")
            for key in "01":
                archive.writestr(f"archive/data/{key}", bytes(16))
        yield file.getvalue()
    parts = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    legacy = b"".join(pickle.dumps(part, 2) for part in parts)
    storages = b"".join(struct.pack("<q", 4) + bytes(16) for _ in "01")
    yield legacy + f"(d{named}.".encode() + pickle.dumps(["0", "1"], 2) + storages


def _safetensors(folder: Path) -> Iterable[bytes]:
    from safetensors.numpy import save

    yield save({"conv1.weight": np.zeros((4, 3, 3, 3), "f4"), "b": np.zeros(4, "f2")})


# == Embeddings, galleries, recipes ================================================================


def _npz(folder: Path) -> Iterable[bytes]:
    rng = np.random.default_rng(0)
    arrays = {
        "embedding": rng.normal(size=(3, 4)).astype("f4"),
        "path": np.array(["a", "b", "c"]),
        "images": rng.integers(0, 255, (3, 4, 4, 3)).astype("u1"),
        "group": np.arange(3, dtype="i4"),
    }
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, **arrays)
        yield file.getvalue()


def _read_npz() -> Read:
    from gfkeras.archives import read_npz
    from gfkeras.experiments.inversion.targets import of_templates
    from gfkeras.zoo.golden import Golden

    def read(path: Path) -> None:
        read_npz(path, "arrays", ["embedding"], ["path", "images", "group"])
        of_templates(path)
        Golden.load(path)

    return read


def _gallery(folder: Path) -> Iterable[bytes]:
    from gfkeras import Gallery

    for storage in ("float32", "int8"):
        gallery = Gallery(storage=storage)
        gallery.add(["anna", "ben"], _embeddings())
        gallery.save(folder / f"{storage}.gallery")
        yield (folder / f"{storage}.gallery").read_bytes()


def _embeddings() -> Any:
    from gfkeras.inference import Embeddings

    return Embeddings(np.eye(2, 8, dtype=np.float32))


def _read_gallery() -> Read:
    from gfkeras import Gallery

    found = _embeddings()

    def read(path: Path) -> None:
        gallery = Gallery.load(path)
        try:
            gallery.search(found, 1)
        finally:
            gallery.close()

    return read


def _recipe(folder: Path) -> Iterable[bytes]:
    from importlib.resources import files

    for file in files("gfkeras.training").joinpath("recipes").iterdir():
        if file.name.endswith(".toml"):
            yield file.read_bytes()


def _read_recipe() -> Read:
    from gfkeras.training.recipe import Recipe

    return Recipe.read


# == Artefacts =====================================================================================


def _tflite(folder: Path) -> Iterable[bytes]:
    import keras
    import tensorflow as tf

    from gfkeras.cards import embed_card

    images = keras.Input((112, 112, 3), batch_size=1)
    x = keras.layers.Conv2D(4, 3, strides=4)(images)
    x = keras.layers.PReLU(shared_axes=[1, 2])(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.DepthwiseConv2D(3)(x))
    model = keras.Model(images, keras.layers.Dense(8)(x))
    path = folder / "seed.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    embed_card(path, _CARD)
    yield path.read_bytes()


_CARD = {"format": "tflite", "precision": "fp32", "mode": None, "fingerprint": "0" * 64}


def _onnx(folder: Path) -> Iterable[bytes]:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from gfkeras.cards import embed_card

    kernel = numpy_helper.from_array(np.ones((4, 3, 8, 8), "f4"), "w")
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], strides=[8, 8], kernel_shape=[8, 8]),
             helper.make_node("GlobalAveragePool", ["c"], ["p"]),
             helper.make_node("Flatten", ["p"], ["y"])]  # fmt: skip
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 112, 112])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])
    graph = helper.make_graph(nodes, "g", [given], [made], [kernel])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "seed.onnx")
    embed_card(folder / "seed.onnx", _CARD)
    yield (folder / "seed.onnx").read_bytes()


def _card_beside(folder: Path) -> Iterable[bytes]:
    yield json.dumps({**_CARD, "sha256": "0" * 64, "measured": [], "inputs": []}).encode()


def _read_card_inside() -> Read:
    from gfkeras.cards import read_card

    return read_card


def _read_card_beside() -> Read:
    from gfkeras.cards import read_card, recordable_card

    def read(path: Path) -> None:
        artefact = path.with_name("face.tflite")
        artefact.write_bytes(b"")
        read_card(artefact)
        recordable_card(artefact)

    return read


def _embed() -> Read:
    from gfkeras.inference import Embedder

    faces = np.zeros((1, 112, 112, 3), np.uint8)

    def read(path: Path) -> None:
        Embedder(path, num_threads=1, input_range="any")(faces)

    return read


READERS = {
    "list": Reader("list.csv", _csv, _items),
    "lst": Reader("list.lst", _lst, _items),
    "celeba": Reader("identity_CelebA.txt", _celeba, _items),
    "pairs": Reader("pairs.txt", _pairs, _items),
    "bin": Reader("set.bin", _bin, _items),
    "rec": Reader("train.rec", _rec, _items),
    "h5": Reader("model.h5", _keras(".h5"), _weights("keras")),
    "keras": Reader("model.keras", _keras(".keras"), _weights("keras")),
    "pt": Reader("model.pt", _pt, _weights("torch")),
    "safetensors": Reader("model.safetensors", _safetensors, _weights("safetensors")),
    "onnx_import": Reader("face.onnx", _onnx, _weights("onnx")),
    "npz": Reader("embeddings.npz", _npz, _read_npz),
    "onnx_card": Reader("face.onnx", _onnx, _read_card_inside),
    "tflite_card": Reader("face.tflite", _tflite, _read_card_inside),
    "card_beside": Reader("face.tflite.json", _card_beside, _read_card_beside),
    "tflite": Reader("face.tflite", _tflite, _embed, slow=True),
    "onnx": Reader("face.onnx", _onnx, _embed, slow=True),
    "gallery": Reader("people.gallery", _gallery, _read_gallery),
    "recipe": Reader("recipe.toml", _recipe, _read_recipe),
}
