"""MXNet's RecordIO and InsightFace's use of it, compared with an independent writer."""

from __future__ import annotations

import pickle
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordio_writer import MAGIC_BYTES, RecordWriter, encode_record, pack, write_insightface

from gfkeras.data import ImageError
from gfkeras.data.sources import Item, MXNetRecordsSource, Refused
from gfkeras.data.sources.mxnet_records import RecordIOFile

M = MAGIC_BYTES
PEOPLE = [[b"a0", b"a1a", b"a2"], [b"b0"], [b"c0" + M * 3, M]]


def contents(source):
    return [source.read(item.locator) for item in source.items() if isinstance(item, Item)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"a",
        b"abcd",
        M,
        M * 3,
        M + b"tail",
        b"head" + M,
        b"head" + M + b"tail",
        b"head" + M + M + b"x",
        b"1" + M + b"unaligned",
        b"12" + M * 2 + b"three",
        b"123" + M,
        M[:3],
        b"abcd" + M[:2],
    ],
)
def test_the_magic_number_inside_of_data(tmp_path, data):
    file = tmp_path / "x.rec"
    file.write_bytes(encode_record(data) * 2)
    records = RecordIOFile(file)
    offsets = list(records.offsets())
    assert offsets == [0, len(encode_record(data))]
    assert [records.read(offset) for offset in offsets] == [data, data]
    for count in range(len(data) + 2):
        assert records.head(0, count) == (data[:count], len(data))


pieces = st.lists(st.one_of(st.just(M), st.binary(max_size=9), st.just(M[:2])), max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(pieces.map(b"".join), max_size=6))
def test_round_trip(tmp_path_factory, records):
    file = tmp_path_factory.mktemp("rec") / "x.rec"
    file.write_bytes(b"".join(map(encode_record, records)))
    reader = RecordIOFile(file)
    offsets = list(reader.offsets())
    assert [reader.read(offset) for offset in offsets] == records
    assert [reader.head(offset, 30) for offset in offsets] == [(r[:30], len(r)) for r in records]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            # Labels and keys whose bytes are the magic number put the cut into the header.
            st.one_of(
                st.integers(0, 99).map(float),
                st.lists(st.integers(0, 99).map(float), min_size=1, max_size=4),
                st.integers(0, 99).map(lambda label: [float(label), struct.unpack("<f", M)[0]]),
            ),
            st.one_of(st.integers(1, 1 << 40), st.just(0xCED7230A), st.just(0xCED7230A << 32)),
            pieces.map(b"".join).filter(bool),
        ),
        max_size=5,
        unique_by=lambda record: record[1],
    )
)
def test_images_round_trip_with_and_without_an_index(tmp_path_factory, records):
    folder = tmp_path_factory.mktemp("rec")
    writer = RecordWriter(folder)
    for label, key, image in records:
        writer.write(key, pack(label, key, image))
    writer.close()
    source = MXNetRecordsSource(folder)
    found = list(source.items())
    assert contents(source) == [image for _, _, image in records]
    labels = [label[0] if isinstance(label, list) else label for label, _, _ in records]
    assert [item.identity for item in found] == [str(int(label)) for label in labels]
    writer.idx.unlink()
    assert list(MXNetRecordsSource(folder).items()) == found


@pytest.mark.parametrize("index", [True, False])
def test_insightface_layout(tmp_path, index):
    write_insightface(tmp_path, PEOPLE, index)
    source = MXNetRecordsSource(tmp_path)
    items = list(source.items())
    assert [item.name for item in items] == [
        "0/000000001.jpg",
        "0/000000002.jpg",
        "0/000000003.jpg",
        "1/000000004.jpg",
        "2/000000005.jpg",
        "2/000000006.jpg",
    ]
    assert [item.identity for item in items] == ["0", "0", "0", "1", "2", "2"]
    assert contents(source) == [image for person in PEOPLE for image in person]
    assert (source.num_classes, source.image_size) == (3, (112, 112))
    assert list(source.items()) == items
    assert source.pairs() is None


def test_pickled_and_opened_by_its_file(tmp_path):
    write_insightface(tmp_path, PEOPLE)
    source = MXNetRecordsSource(tmp_path / "train.rec")
    contents(source)
    copy = pickle.loads(pickle.dumps(source))
    assert contents(copy) == contents(source)
    assert copy.describe() == source.describe() == MXNetRecordsSource(tmp_path).describe()


def test_record_0_may_be_an_image(tmp_path):
    writer = RecordWriter(tmp_path, "any")
    for key in range(3):
        writer.write(key, pack([float(key), 1.0], key, b"image %d" % key))
    writer.close()
    source = MXNetRecordsSource(tmp_path)
    assert [item.identity for item in source.items()] == ["0", "1", "2"]
    assert contents(source) == [b"image 0", b"image 1", b"image 2"]
    assert (source.num_classes, source.image_size) == (None, None)


def test_an_index_in_any_order(tmp_path):
    write_insightface(tmp_path, PEOPLE)
    usual = list(MXNetRecordsSource(tmp_path).items())
    lines = (tmp_path / "train.idx").read_text().splitlines(keepends=True)
    (tmp_path / "train.idx").write_text("".join(lines[::-1]))
    assert list(MXNetRecordsSource(tmp_path).items()) == usual[::-1]


def test_repeated_keys(tmp_path):
    writer = RecordWriter(tmp_path)
    for image in (b"first", b"second"):
        writer.write(5, pack(1.0, 5, image))
    writer.close()
    first, second = MXNetRecordsSource(tmp_path).items()
    assert isinstance(first, Item)
    assert isinstance(second, Refused)
    assert "twice" in second.reason
    writer.idx.unlink()
    names = [item.name for item in MXNetRecordsSource(tmp_path).items()]
    assert names == ["1/000000005.jpg", "1/000000005-40.jpg"]


def test_records_without_images_are_refused_one_by_one(tmp_path):
    writer = RecordWriter(tmp_path)
    writer.write(1, b"short")
    writer.write(2, pack(0.0, 2, b"12", count=1 << 31))
    writer.write(3, pack(float("nan"), 3, b"image"))
    writer.write(4, pack(1.0, 4, b""))
    writer.write(5, pack(2.0, 5, b"good"))
    writer.close()
    source = MXNetRecordsSource(tmp_path)
    *bad, good = source.items()
    assert all(isinstance(item, Refused) for item in bad)
    reasons = [item.reason for item in bad]
    for reason, words in zip(
        reasons,
        ["5 bytes, fewer", "2147483648 labels", "not a whole number", "without an image"],
        strict=True,
    ):
        assert words in reason
    assert source.read(good.locator) == b"good"
    for refused, (_, offset) in zip(bad[:2], writer.index[:2], strict=True):
        assert refused.name == f"record at byte {offset}"
        with pytest.raises(ImageError, match=f"byte {offset}"):
            source.read(str(offset))


def damage(content: bytearray, where: int, word: int) -> bytes:
    return bytes(content[:where]) + struct.pack("<I", word) + bytes(content[where + 4 :])


@pytest.fixture
def damaged(tmp_path):
    """Writes a .rec of three records, the second in three parts, and damages it with `change`."""

    def write(change):
        writer = RecordWriter(tmp_path)
        writer.write(1, pack(0.0, 1, b"first"))
        place = writer.write(2, pack(0.0, 2, M + b"abcd" + M))
        writer.write(3, pack(0.0, 3, b"third"))
        writer.content = bytearray(change(writer.content, place))
        writer.close(index=False)
        return MXNetRecordsSource(tmp_path), place

    return write


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c, p: damage(c, p, 0x12345678), "0a23d7ce. Received: 78563412"),
        (lambda c, p: damage(c, p + 4, 0x1FFFFFFF), "536870911 bytes"),
        (lambda c, p: damage(c, p + 4, 1 << 29 | 23), "whole four bytes"),
        (lambda c, p: damage(c, p + 4, 2 << 29 | 24), "flag 2"),
        (lambda c, p: damage(c, p + 4, 3 << 29 | 24), "flag 3"),
        (lambda c, p: damage(c, p + 4, 7 << 29 | 24), "flag 7"),
        # First the middle part has the flag of a whole record. Then it is missing.
        (lambda c, p: damage(c, p + 36, 0 << 29 | 4), "a further part"),
        (lambda c, p: c[: p + 32], "end of a file"),
        (lambda c, p: c[: p + 32] + c[-40:], "a further part"),
        (lambda c, p: c[: p + 5], "end of a file"),
        (lambda c, p: c + b"\0", "end of a file"),
    ],
)
def test_damaged_files_name_the_place(damaged, change, words):
    source, _ = damaged(change)
    with pytest.raises(ValueError, match=r"train\.rec, byte") as caught:
        list(source.items())
    assert words in str(caught.value)
    assert next(source.items()).identity == "0"
    with pytest.raises(ImageError, match="byte"):
        source.read(str(source._records.size - 4))


def test_every_truncation_is_noticed(tmp_path):
    write_insightface(tmp_path, PEOPLE, index=False)
    content = (tmp_path / "train.rec").read_bytes()
    starts = set(RecordIOFile(tmp_path / "train.rec").offsets())
    for size in set(range(1, len(content))) - starts:
        (tmp_path / "train.rec").write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"train\.rec, byte"):
            list(MXNetRecordsSource(tmp_path).items())


@pytest.mark.parametrize("locator", ["-8", "4", "99999999", "x", ""])
def test_wrong_locators(tmp_path, locator):
    write_insightface(tmp_path, PEOPLE)
    with pytest.raises(ImageError, match=r"train\.rec"):
        MXNetRecordsSource(tmp_path).read(locator)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1 0", "key, tab, offset"),
        ("1\t-4", "key, tab, offset"),
        ("x\t0", "key, tab, offset"),
        ("1\t9999999", "offset under"),
        ("1\t" + "9" * 5000, "key, tab, offset"),
    ],
)
def test_a_malformed_index_names_the_line(tmp_path, line, words):
    write_insightface(tmp_path, PEOPLE)
    with (tmp_path / "train.idx").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=r"train\.idx, line 11: expected") as caught:
        list(MXNetRecordsSource(tmp_path).items())
    assert words in str(caught.value)


def test_unusable_record_files(tmp_path):
    with pytest.raises(ValueError, match=r"`path` must be .* does not exist"):
        MXNetRecordsSource(tmp_path / "none")
    with pytest.raises(ValueError, match=r"has 0 \.rec files"):
        MXNetRecordsSource(tmp_path)
    write_insightface(tmp_path, PEOPLE)
    (tmp_path / "property").write_text("three\n")
    with pytest.raises(ValueError, match=r"property, line 1: .*'three'"):
        MXNetRecordsSource(tmp_path)


@pytest.mark.parametrize("index", [True, False])
def test_memory_does_not_grow_with_the_records(tmp_path, index):
    def peak(count):
        folder = tmp_path / str(count)
        writer = RecordWriter(folder)
        record = encode_record(pack(7.0, 0, b"x" * 20))
        for key in range(count):
            writer.index.append((key, len(record) * key))
        writer.content = bytearray(record * count)
        writer.close(index)
        source = MXNetRecordsSource(folder)
        tracemalloc.start()
        assert sum(1 for _ in source.items()) == count
        return tracemalloc.get_traced_memory()[1], tracemalloc.stop()

    small, large = peak(500)[0], peak(20_000)[0]
    assert large < small + 40_000
