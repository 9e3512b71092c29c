"""InsightFace's .bin files: every way in which they are written or could do harm."""

from __future__ import annotations

import os
import pickle
import pickletools
import struct
import subprocess
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gfkeras.data import ImageError
from gfkeras.data.file_bytes import FileBytes
from gfkeras.data.sources import (
    Item,
    Refused,
    UnsafePickleError,
    VerificationBinSource,
    restricted_pickle,
)
from gfkeras.data.sources.restricted_pickle import read_pickle

IMAGES = [bytes([i, 255, 0, 10, 39, 92]) * (i + 1) for i in range(23)] + [b"\\n'\"\r\n\x80\xff"]
SAME = [True, False, True] * 4


def source_of(path, content: bytes) -> VerificationBinSource:
    path = path / "set.bin"
    path.write_bytes(content)
    return VerificationBinSource(path)


def contents(source):
    return [source.read(item.locator) for item in source.items()]


def array(data):
    return np.frombuffer(data, np.uint8)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "image", [bytes, bytearray, array, lambda data: array(data)[:, None].copy()]
)
@pytest.mark.parametrize(
    "answers",
    [
        list,
        tuple,
        lambda same: np.array(same),
        lambda same: [np.bool_(value) for value in same],
        lambda same: [int(value) for value in same],
        lambda same: np.array(same)[:, np.newaxis],
        lambda same: np.array(same, np.int64),
        lambda same: np.array(same, ">i4")[:, np.newaxis],
        lambda same: np.array(same, np.float32),
        lambda same: [[value] for value in same],
        lambda same: [np.int64(value) for value in same],
        lambda same: [np.array([value]) for value in same],
    ],
)
def test_files_of_python_3(tmp_path, protocol, image, answers):
    content = (list(map(image, IMAGES)), answers(SAME))
    source = source_of(tmp_path, pickle.dumps(content, protocol))
    assert contents(source) == IMAGES
    assert [pair.same for pair in source.pairs()] == SAME


@pytest.mark.parametrize("protocol", range(6))
def test_numpy_before_version_2(tmp_path, protocol):
    content = pickle.dumps((list(map(array, IMAGES)), [np.bool_(v) for v in SAME]), protocol)
    # Frames and short texts have lengths, so the opcode is used to insert the old names.
    old = content.replace(b"numpy._core.", b"numpy.core.")
    for name in (b"multiarray", b"numeric"):
        new_size, old_size = (len(core + name) for core in (b"numpy._core.", b"numpy.core."))
        old = old.replace(
            b"\x8c" + bytes([new_size]) + b"numpy.core." + name,
            b"\x8c" + bytes([old_size]) + b"numpy.core." + name,
        )
    if protocol >= 4:
        shorter = len(content) - len(old)
        frame = struct.unpack_from("<Q", old, 3)[0]
        old = old[:3] + struct.pack("<Q", frame - shorter) + old[11:]
    assert old != content
    assert contents(source_of(tmp_path, old)) == IMAGES


def python_2(images, same, protocol: int) -> bytes:
    """Writes (images, same) with Python 2's `str`, as its cPickle does."""

    def text(value):
        if protocol == 0:
            return repr(value)[1:].encode("ascii") and b"S" + repr(value)[1:].encode() + b"\np1\n"
        size = len(value)
        return (b"U" + bytes([size]) if size < 256 else b"T" + struct.pack("<i", size)) + value

    if protocol == 0:
        listed = b"".join(text(image) + b"a" for image in images)
        answers = b"".join(b"I01\na" if value else b"I00\na" for value in same)
        return b"((lp2\n" + listed + b"(lp3\n" + answers + b"t."
    listed = b"".join(text(image) + b"q\x01" for image in images)
    answers = b"".join(b"\x88" if value else b"\x89" for value in same)
    return b"\x80\x02]q\x02(" + listed + b"e]q\x03(" + answers + b"e\x86q\x04."


@pytest.mark.parametrize("protocol", [0, 2])
def test_files_of_python_2(tmp_path, protocol):
    images = [*IMAGES[1:], bytes(range(256)) * 2]
    content = python_2(images, SAME, protocol)
    # Python's own reader gives these values for the assembled bytes.
    assert pickle.loads(content, encoding="bytes") == (images, SAME)
    source = source_of(tmp_path, content)
    assert contents(source) == images
    assert [pair.same for pair in source.pairs()] == SAME


def test_numpy_scalars_of_python_2(tmp_path):
    scalar = (
        b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n(U\x02b1K\x00K\x01tR"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbU\x01%c\x86R"
    )
    content = b"\x80\x02](U\x01aU\x01be](" + scalar % 1 + b"e\x86."
    assert [pair.same for pair in source_of(tmp_path, content).pairs()] == [True]


def test_items_and_folds(tmp_path):
    count = 26
    source = source_of(
        tmp_path, pickle.dumps(([b"%d" % i for i in range(2 * count)], [True, False] * 13))
    )
    items = list(source.items())
    assert len(source) == len(items) == 2 * count
    assert [item.name for item in items[:2]] == ["000000.jpg", "000001.jpg"]
    assert {item.identity for item in items} == {None}
    pairs = list(source.pairs())
    assert (pairs[3].first, pairs[3].second) == ("000006.jpg", "000007.jpg")
    folds = np.empty(count, int)
    model_selection = pytest.importorskip("sklearn.model_selection")
    for fold, (_, test) in enumerate(model_selection.KFold(10).split(np.zeros(count))):
        folds[test] = fold
    assert [pair.fold for pair in pairs] == folds.tolist()
    copy = pickle.loads(pickle.dumps(source))
    assert list(copy.items()) == items == list(source.items())
    assert list(copy.pairs()) == pairs
    assert contents(copy) == contents(source)
    assert copy.describe() == source.describe()


def test_empty_images_are_refused(tmp_path):
    first, second = source_of(tmp_path, pickle.dumps(([b"", b"x"], [False]))).items()
    assert first == Refused("000000.jpg", "no bytes")
    assert isinstance(second, Item)


def test_images_are_read_from_the_file_when_asked_for(tmp_path):
    content = pickle.dumps(([os.urandom(200_000) for _ in range(40)], [True] * 20))
    tracemalloc.start()
    source = source_of(tmp_path, content)
    del content
    tracemalloc.reset_peak()
    source = VerificationBinSource(source.path)
    assert len(list(source.items())) == 40
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([b"a", b"b"], "a list of images and one of booleans"),
        (([b"a", b"b"], [True], 3), "two lists"),
        (7, "two lists"),
        (([b"a"], [True]), "1 images and 1 answers"),
        (([b"a", b"b"] * 2, [True]), "4 images and 1 answers"),
        (([b"a", b"b"], [2]), "a boolean for each pair"),
        (([b"a", b"b"], [None]), "a boolean for each pair"),
        (([b"a", b"b"], [[True, True]]), "a boolean for each pair"),
        (([b"a", b"b"], np.array([0.5])), "0.5 for pair 0"),
        (([b"a", b"b"] * 2, np.array([1, -1])), "-1 for pair 1"),
        (([b"a", b"b"], np.array([np.nan])), "nan for pair 0"),
        (([b"a", b"b"], b"\x01"), "a list of images and one of booleans"),
        (([b"a", b"b"], array(b"\x02")), "2 for pair 0"),
        (([b"a", "text"], [True]), "image 1 as bytes"),
        (([b"a", [b"b"]], [True]), "image 1 as bytes"),
        (([b"a", np.array([True])], [True]), "image 1 as bytes"),
    ],
)
def test_other_contents_are_refused(tmp_path, content, words):
    with pytest.raises(ValueError, match=r"set\.bin: expected") as caught:
        source_of(tmp_path, pickle.dumps(content))
    assert words in str(caught.value)


# Attacks. Each would leave a file behind, or much worse, if `pickle.load` read it.


class Reduced:
    """An object that is pickled as a call of any function."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


def attacks(canary):
    command = f"touch {canary}"
    code = f"open({str(canary)!r}, 'w').close()"
    u1 = b"cnumpy\ndtype\n(X\x02\x00\x00\x00u1K\x00K\x01tR"
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\n"
    made = {
        "os.system": Reduced(os.system, (command,)),
        "subprocess": Reduced(subprocess.check_call, (["touch", str(canary)],)),
        "eval": Reduced(eval, (code,)),
        "exec": Reduced(exec, (code,)),
        "getattr": Reduced(getattr, ("x", "upper")),
        "open": Reduced(open, (str(canary), "w")),
        "numpy.load": Reduced(np.load, (str(canary), None, True)),
        "numpy.fromfile": Reduced(np.fromfile, (str(canary),)),
        "numpy.memmap": Reduced(np.memmap, (str(canary), "u1", "w+", 0, (1,))),
        "object array": np.array([Reduced(os.system, (command,))], object),
        "list items": Reduced(list, (), None, iter([Reduced(os.system, (command,))])),
        "dict": {"a": 1},
        "set": {1},
        "float": 1.5,
        "float array": np.zeros(2),
        "2-d array": np.zeros((2, 2), np.uint8),
        "0-d array": np.array(1, np.uint8),
        "object dtype": np.dtype("O"),
        "record dtype": np.dtype([("a", "u1")]),
    }
    for name, value in made.items():
        for protocol in range(6):
            yield f"{name}, protocol {protocol}", pickle.dumps(([value, b"x"], [True]), protocol)
    argument = b"(S" + repr(command).encode() + b"\ntR."
    yield "posix.system", b"cposix\nsystem\n" + argument
    yield "os.system", b"cos\nsystem\n" + argument
    yield "INST", b"(S" + repr(command).encode() + b"\nios\nsystem\n."
    yield "OBJ", b"(cos\nsystem\nS" + repr(command).encode() + b"\no."
    yield "NEWOBJ", b"\x80\x02cos\nsystem\nS" + repr(command).encode() + b"\n\x85\x81."
    yield "NEWOBJ_EX", b"\x80\x04cos\nsystem\n)}\x92."
    yield "EXT1", b"\x80\x02\x82\x01."
    yield "EXT4", b"\x80\x02\x84\x01\x00\x00\x00."
    yield "PERSID", b"Pid\n."
    yield "BINPERSID", b"K\x01Q."
    yield "NEXT_BUFFER", b"\x80\x05\x97."
    yield "DUP", b"K\x012\x86."
    yield "POP", b"K\x01K\x020."
    yield "dotted name", b"\x80\x04\x8c\x05numpy\x8c\x0bndarray.sum\x93."
    yield "name by bytes", b"\x80\x04C\x05numpyC\x05dtype\x93."
    yield "name by list", b"\x80\x04]]\x93."
    computed = b"c_codecs\nencode\n\x8c\x02os\x8c\x06latin1\x86R"
    yield "computed name", b"\x80\x04" + computed + b"\x8c\x06system\x93."
    yield "codec with effects", b"c_codecs\nencode\nX\x01\x00\x00\x00xX\x05\x00\x00\x00rot13\x86R."
    yield "a call of a value", b"]]\x85R."
    yield "a call of a name with a list", b"cnumpy\ndtype\n]R."
    yield "a call without arguments", b"cnumpy\nndarray\n)R."
    yield "state of a list", b"](K\x01tb."
    yield "state of a name", b"cnumpy\nndarray\n}b."
    yield "state of a function", b"c__builtin__\nbytes\nq\x00(h\x00)NNtbh\x00)R."
    yield "state of a class", b"cnumpy\ndtype\n(K\x03X\x01\x00\x00\x00|tb."
    yield "other type made", reconstruct + b"(cnumpy\ndtype\n(K\x00tC\x01btR."
    yield "matrix", reconstruct + b"(cnumpy\nmatrix\n(K\x00tC\x01btR."
    yield "other shape made", reconstruct + b"(cnumpy\nndarray\n(K\x05tC\x01btR."
    shell = reconstruct + b"(cnumpy\nndarray\n(K\x00tC\x01btR"
    for name, shape, data in (
        ("negative shape", b"(J\xff\xff\xff\xfft", b"C\x01x"),
        ("huge shape", b"(\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7ft", b"C\x01x"),
        ("overflowing shape", b"(J\x00\x00\x00\x40J\x00\x00\x00\x40t", b"C\x01x"),
        ("shape of lists", b"(]t", b"C\x01x"),
        ("other length", b"(K\x02t", b"C\x01x"),
        ("data is a list", b"(K\x01t", b"]K\x01a"),
        ("data is text", b"(K\x01t", b"X\x01\x00\x00\x00x"),
    ):
        yield name, shell + b"(K\x01" + shape + u1 + b"\x89" + data + b"tb."
    yield "second state", (shell + (b"(K\x01(K\x01t" + u1 + b"\x89C\x01xtb") * 2 + b".")
    yield "array without state", b"(](" + shell + b"C\x01xe](\x88et."
    yield "dtype with fields", u1 + b"(K\x03X\x01\x00\x00\x00|N]NK\x00K\x00K\x00tb."
    yield "big-endian dtype", u1 + b"(K\x03X\x01\x00\x00\x00>NNNK\x00K\x00K\x00tb."


def test_attacks_are_refused_and_run_nothing(tmp_path):
    canary = tmp_path / "canary"
    path = tmp_path / "set.bin"
    count = 0
    for name, content in attacks(canary):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"set\.bin") as caught:
            VerificationBinSource(path)
        assert type(caught.value) in (UnsafePickleError, ValueError), name
        assert not canary.exists(), name
        count += 1
    assert count > 140


def test_an_attack_would_have_run(tmp_path):
    """The attack runs if `pickle` itself reads the file."""
    canary = tmp_path / "canary"
    pickle.loads(pickle.dumps(Reduced(os.system, (f"touch {canary}",))))
    assert canary.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", r"byte 17: .*the name posix\.system"),
        (b"}.", "byte 0: .*the instruction EMPTY_DICT"),
        (b"K\x01\xff.", r"byte 2: .*the instruction unknown \(b'\\xff'\)"),
        (b"cnumpy\ndtype\n(X\x02\x00\x00\x00O8K\x00K\x01tR.", "byte 26: .*the dtype 'O8'"),
    ],
)
def test_unsafe_content_is_named_with_its_place(tmp_path, content, words):
    with pytest.raises(UnsafePickleError, match=words):
        source_of(tmp_path, content)


def bombs():
    huge = struct.pack("<Q", 10_000_000_000)
    yield "nested lists", b"]" * 120_000 + b"a" * 119_999 + b"."
    yield "nested lists by marks", b"(" * 120_000 + b"l" * 120_000 + b"."
    yield "nested tuples", b")" + b"\x85" * 120_000 + b"."
    yield "BINBYTES8", b"\x80\x04\x8e" + huge + b"x."
    yield "BYTEARRAY8", b"\x80\x05\x96" + huge + b"x."
    yield "BINUNICODE8", b"\x80\x04\x8d" + huge + b"x."
    yield "largest length", b"\x80\x04\x8e" + b"\xff" * 8 + b"x."
    yield "BINBYTES", b"\x80\x03B\xff\xff\xff\xffx."
    yield "negative BINSTRING", b"T\xff\xff\xff\xffx."
    yield "LONG4", b"\x8b\xff\xff\xff\x7fx."
    yield "negative LONG4", b"\x8b\xff\xff\xff\xffx."
    yield "LONG1", b"\x8a\xff" + b"x" * 255 + b"."
    yield "LONG", b"L" + b"9" * 100_000 + b"L\n."
    yield "FRAME", b"\x80\x04\x95" + huge + b"K\x01."
    yield "memo index", b"]r\xff\xff\xff\xff."
    # Each list contains the one before ten times: 10**200 elements in all.
    doubling = b"]q\x00" + b"".join(
        b"](" + b"h" + bytes([i]) * 1 + (b"h" + bytes([i])) * 9 + b"eq" + bytes([i + 1])
        for i in range(200)
    )
    yield "exponential lists", b"](" + doubling + b"e]\x86."
    yield "a list in itself", b"]q\x00h\x00ah\x00\x86."
    yield "many values", b"N" * 400_000 + b"."
    again = b"c_codecs\nencode\nq\x00X\x40\x42\x0f\x00" + b"x" * 1_000_000 + b"q\x01"
    encoded = b"h\x00h\x01X\x06\x00\x00\x00latin1\x86R"
    dtype = b"cnumpy\ndtype\n(X\x02\x00\x00\x00u1K\x00K\x01tRq\x02"
    each = b"cnumpy.core.numeric\n_frombuffer\n(" + encoded
    each += b"h\x02J\x40\x42\x0f\x00\x85X\x01\x00\x00\x00CtR"
    yield "one text decoded over and over", again + dtype + each * 2_000 + b"."


def test_bombs_take_little_time_and_memory(tmp_path, monkeypatch):
    # The real limit takes seconds to reach. Files of images are far below both limits.
    monkeypatch.setattr(restricted_pickle, "MAX_INSTRUCTIONS", 300_000)
    for name, content in bombs():
        path = tmp_path / "set.bin"
        path.write_bytes(content)
        started = time.process_time()
        with pytest.raises(ValueError, match=r"set\.bin"):
            VerificationBinSource(path)
        assert time.process_time() - started < 8, name
        if len(content) < 300_000:
            tracemalloc.start()
            with pytest.raises(ValueError, match=r"set\.bin"):
                VerificationBinSource(path)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 2_000_000 + 200 * len(content), name


@pytest.mark.parametrize("protocol", range(6))
def test_every_truncation_is_refused(tmp_path, protocol):
    content = pickle.dumps(([b"a" * 9, array(b"b" * 7)], [np.bool_(True)]), protocol)
    path = tmp_path / "set.bin"
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="expected"):
            VerificationBinSource(path)
    path.write_bytes(content + b"more")
    with pytest.raises(ValueError, match="4 more bytes"):
        VerificationBinSource(path)


WRITTEN = [
    *(
        pickle.dumps(([b"jpeg" * 3, array(b"png")], [np.bool_(True)]), protocol)
        for protocol in range(6)
    ),
    python_2([b"jpeg", b"png"], [False], 0),
    python_2([b"jpeg", b"png"], [False], 2),
]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(WRITTEN),
    st.lists(st.tuples(st.integers(0, 1 << 30), st.integers(0, 255)), min_size=1, max_size=4),
)
@example(WRITTEN[0], [(0, 0)])
def test_flipped_bytes_are_read_or_refused(tmp_path_factory, content, flips):
    changed = bytearray(content)
    for place, value in flips:
        changed[place % len(changed)] = value
    path = tmp_path_factory.getbasetemp() / "flipped.bin"
    path.write_bytes(changed)
    try:
        source = VerificationBinSource(path)
        list(source.pairs())
        for item in source.items():
            if isinstance(item, Item):
                source.read(item.locator)
    except ValueError as error:
        if "flipped.bin" not in str(error):
            raise


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]
            + [b"\x01", b"\x00", b"numpy\ndtype\n", b"1\n", b"'u1'\n", b"u1"]
        ),
        max_size=40,
    )
)
def test_random_programs_are_read_or_refused(tmp_path_factory, program):
    path = tmp_path_factory.getbasetemp() / "program.bin"
    path.write_bytes(b"".join(program) + b".")
    try:
        read_pickle(FileBytes(path))
    except ValueError as error:
        if "program.bin" not in str(error):
            raise


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=9)), min_size=1, max_size=5),
    st.integers(0, 5),
    st.sampled_from([bytes, bytearray, array]),
)
def test_round_trip(tmp_path_factory, pairs, protocol, image):
    folder = tmp_path_factory.mktemp("bin")
    images = [data for pair in pairs for data in pair]
    content = pickle.dumps(([image(data) for data in images], [True] * len(pairs)), protocol)
    source = source_of(folder, content)
    found = [
        source.read(item.locator) if isinstance(item, Item) else b"" for item in source.items()
    ]
    assert found == images


@pytest.mark.parametrize(
    "locator", ["", "x", "1:2", "0:99999999:raw", "-1:2:raw", "0:-1:raw", "0:1:zip", "3:1:utf8"]
)
def test_wrong_locators(tmp_path, locator):
    source = source_of(tmp_path, pickle.dumps(([b"\xff", b"\xff"], [True])))
    source.path.write_bytes(b"\xff" * source.path.stat().st_size)
    with pytest.raises(ImageError, match=r"set\.bin, image at"):
        source.read(locator)


def test_a_missing_file(tmp_path):
    with pytest.raises(ValueError, match=r"`path` must be a file: .* does not exist"):
        VerificationBinSource(tmp_path / "none.bin")
