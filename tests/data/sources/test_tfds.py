"""A prepared data set of TensorFlow Datasets, made here from local images."""

from __future__ import annotations

import io
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from gfkeras.data import ImageError
from gfkeras.data.sources import TFDSSource

COUNT = 7


def pixels(index: int) -> np.ndarray:
    return np.full((8, 6, 3), index * 9, np.uint8)


def jpeg(index: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels(index)).save(content, "JPEG")
    return content.getvalue()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    tfds = pytest.importorskip("tensorflow_datasets")

    class TinyFaces(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(
                    {
                        "image": tfds.features.Image(shape=(None, None, 3)),
                        "array": tfds.features.Tensor(shape=(8, 6, 3), dtype=np.uint8),
                        "label": tfds.features.ClassLabel(names=["Ana", "Bo B"]),
                        "title": tfds.features.Text(),
                        "number": np.int64,
                    }
                ),
            )

        def _split_generators(self, manager):
            return {"train": self._generate_examples(), "test": self._generate_examples()}

        def _generate_examples(self):
            for index in range(COUNT):
                yield (
                    index,
                    {
                        "image": io.BytesIO(jpeg(index)),
                        "array": pixels(index),
                        "label": index % 2,
                        "title": f"title {index}",
                        "number": index,
                    },
                )

    folder = tmp_path_factory.mktemp("tfds")
    builder = TinyFaces(data_dir=folder)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(try_download_gcs=False, num_shards=3)
    )
    return builder.data_path


def test_items_and_their_own_bytes(prepared):
    source = TFDSSource(prepared)
    items = list(source.items())
    assert [item.name for item in items] == [f"train/{i:08d}" for i in range(COUNT)]
    assert {item.identity for item in items} == {"Ana", "Bo B"}
    found = [source.read(item.locator) for item in items]
    # The order of the file is shuffled. Each image is there once, byte for byte.
    assert sorted(found) == sorted(map(jpeg, range(COUNT)))
    for item, content in zip(items, found, strict=True):
        index = list(map(jpeg, range(COUNT))).index(content)
        assert item.identity == ("Ana", "Bo B")[index % 2]
    order = [5, 0, 6, 3, 3, 1]
    assert [source.read(str(i)) for i in order] == [found[i] for i in order]
    copy = pickle.loads(pickle.dumps(source))
    assert copy.read("4") == found[4]
    assert list(copy.items()) == items
    assert copy.describe() == source.describe()
    assert source.pairs() is None


def test_arrays_texts_and_parts_of_splits(prepared):
    whole = TFDSSource(prepared, image="array", label="title")
    titles = [item.identity for item in whole.items()]
    assert sorted(titles) == [f"title {i}" for i in range(COUNT)]
    image = Image.open(io.BytesIO(whole.read("2")))
    assert image.format == "PNG"
    assert np.array_equal(np.asarray(image), pixels(int(titles[2].split()[1])))
    part = TFDSSource(prepared, split="train[2:5]", label="number")
    assert len(list(part.items())) == 3
    assert [f"title {item.identity}" for item in part.items()] == titles[2:5]
    assert part.read("1") == TFDSSource(prepared).read("3")


def test_a_damaged_file(prepared, tmp_path):
    folder = tmp_path / "1.0.0"
    shutil.copytree(prepared, folder)
    for shard in folder.glob("*-train.tfrecord*"):
        content = bytearray(shard.read_bytes())
        content[len(content) // 2] ^= 255
        shard.write_bytes(content)
    source = TFDSSource(folder)
    with pytest.raises(ValueError, match=r"train, record \d: damaged"):
        list(source.items())
    with pytest.raises(ImageError, match="damaged"):
        [source.read(str(number)) for number in range(COUNT)]


def test_unusable_records(prepared, tmp_path):
    source = TFDSSource(prepared)
    for locator in ("7", "x", "-1"):
        with pytest.raises(ImageError, match=f"record {locator}"):
            source.read(locator)
    with pytest.raises(ValueError, match="Unknown split 'tran'; did you mean 'train'"):
        TFDSSource(prepared, split="tran")
    with pytest.raises(ValueError, match="Unknown feature 'imag'; did you mean 'image'"):
        TFDSSource(prepared, image="imag")
    with pytest.raises(ValueError, match="`name` must be a data set"):
        TFDSSource("no_such_data_set", data_dir=tmp_path)
    with pytest.raises(ValueError, match="`name` must be a data set that is prepared on disk"):
        TFDSSource("lfw", data_dir=tmp_path)
