"""Weight files that refer to other files or promise too many bytes."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
import zlib

import h5py
import numpy as np
import pytest
from bounded import refusal
from torch_archive import tensor_pickle, torch_archive

import gfkeras
from gfkeras.archives import read_member, read_npz
from gfkeras.zoo import import_weights
from gfkeras.zoo.foreign import read_torch_state
from gfkeras.zoo.foreign.network import Op, Ops
from gfkeras.zoo.golden import Golden

LAYERS = [
    {
        "class_name": "InputLayer",
        "name": "i",
        "inbound_nodes": [],
        "config": {"name": "i", "batch_input_shape": [None, 112, 112, 3]},
    },
    {
        "class_name": "Conv2D",
        "name": "c",
        "inbound_nodes": [[["i", 0, 0, {}]]],
        "config": {"name": "c", "kernel_size": [3, 3], "strides": [1, 1], "padding": "same"},
    },
]
CONFIG = {"class_name": "Functional", "config": {"name": "m", "layers": LAYERS}}


def external_storage(group, folder):
    group.create_dataset("k", (3, 3, 3, 8), "f4", external=[(str(folder / "other.h5"), 0, 864)])


def external_link(group, folder):
    group["k"] = h5py.ExternalLink("other.h5", "kernel")


def soft_link(group, folder):
    group.file["elsewhere"] = h5py.ExternalLink("other.h5", "/")
    group["k"] = h5py.SoftLink("/elsewhere/kernel")


def virtual(group, folder):
    layout = h5py.VirtualLayout((3, 3, 3, 8), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "kernel", (3, 3, 3, 8))
    group.create_virtual_dataset("k", layout)


def virtual_without_an_end(group, folder):
    # HDF5 would open the sources to find the shape.
    layout = h5py.VirtualLayout((3, 3, 3, 8), "f4", maxshape=(3, 3, 3, None))
    source = h5py.VirtualSource("other.h5", "kernel", (3, 3, 3, 8), maxshape=(3, 3, 3, None))
    layout[:, :, :, : h5py.h5s.UNLIMITED] = source[:, :, :, : h5py.h5s.UNLIMITED]
    group.create_virtual_dataset("k", layout)


def never_written(group, folder):
    shape = (3, 3, 3, 20_000_000)
    group.create_dataset("k", shape, "f4", chunks=(3, 3, 3, 4096), compression="gzip")


def large_chunk(group, folder):
    group.create_dataset("k", (3, 3, 3, 8), "f4", chunks=(3, 3, 3, 8), compression="gzip")
    group["k"].id.write_direct_chunk((0, 0, 0, 0), zlib.compress(bytes(MUCH), 1))


def one_by_many_names(group, folder):
    group.create_dataset("k", (3, 3, 3, 100_000), "f4", chunks=(3, 3, 3, 4096))
    for number in range(100):
        group[f"again{number}"] = group["k"]


def one_text_by_many_places(group, folder):
    # In the file 8 MiB, as an array of texts 24 GiB.
    texts = np.array(["x" * MUCH] + ["short"] * 3000, object)
    group.create_dataset("k", (3, 3, 3, 8), "f4")
    group.attrs.create("weight_names", texts, dtype=h5py.string_dtype())


MUCH = 8 << 20
HOSTILE = {
    external_storage: "in another file",
    external_link: "leads elsewhere",
    soft_link: "leads elsewhere",
    virtual: "virtual data set",
    virtual_without_an_end: "virtual data set",
    never_written: "promises 2,160,000,000 bytes",
    large_chunk: "unpacks to more than it promises",
    one_by_many_names: "promise",
    one_text_by_many_places: "promise",
}


def hdf5(path, put):
    """A complete model with one convolution. A function writes its kernel."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(CONFIG)
        group = file.create_group("model_weights/c")
        group.attrs["weight_names"] = [b"k"]
        put(group, path.parent)
    return path


@pytest.mark.parametrize("put", HOSTILE, ids=lambda put: put.__name__)
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_hostile_hdf5_is_refused(put, suffix, tmp_path):
    # Opening a named pipe blocks forever.
    os.mkfifo(tmp_path / "other.h5")
    path = hdf5(tmp_path / "m.h5", put)
    if suffix == ".keras":
        content = path.read_bytes()
        path = tmp_path / "m.keras"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("metadata.json", "{}")
            archive.writestr("config.json", json.dumps(CONFIG))
            archive.writestr("model.weights.h5", content)
    for read in (import_weights, gfkeras.load):
        said = refusal(read, path)
        assert str(path) in said
        assert HOSTILE[put] in said


def test_weights_that_many_layers_name_are_counted_each_time(tmp_path):
    def put(group, folder):
        group.create_dataset("k", (3, 3, 3, 64), "f4")
        group.attrs["weight_names"] = [b"k"] * 1000

    said = refusal(import_weights, hdf5(tmp_path / "m.h5", put))
    assert "more than 8 arrays" in said
    (tmp_path / "small").write_bytes(bytes(100))
    ops, kernel = Ops(tmp_path / "small"), np.zeros(16 << 20, "f4")
    for number in range(4):
        ops.append(Op("dense", str(number), [], "", kernel=kernel))
    with pytest.raises(ValueError, match="promise"):
        ops.append(Op("dense", "one more", [], "", kernel=kernel))


def test_a_description_is_no_longer_than_descriptions_are(tmp_path):
    path = tmp_path / "m.keras"
    members = {"metadata.json": b"{}", "config.json": b"[" + b"{}," * (30 << 20) + b"0]"}
    weights = hdf5(tmp_path / "m.h5", lambda group, folder: None).read_bytes()
    zipped(path, members | {"model.weights.h5": weights})
    for read in (import_weights, gfkeras.load):
        assert "bytes of JSON" in refusal(read, path)


def test_compressed_weights_are_read(tmp_path):
    values = np.random.default_rng(0).normal(size=(3, 3, 3, 64)).astype("f4")

    def put(group, folder):
        group.create_dataset(
            "k",
            data=values,
            chunks=(3, 3, 3, 16),
            compression="gzip",
            shuffle=True,
            fletcher32=True,
        )

    from gfkeras.zoo.foreign.keras_file import read_keras_network

    (op,) = read_keras_network(hdf5(tmp_path / "m.h5", put)).ops
    np.testing.assert_array_equal(op.kernel, values)


def test_a_heap_that_never_ends_is_refused(tmp_path):
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "{}"
    data = bytearray(path.read_bytes())
    at = data.find(b"GCOL") + 16
    while index := int.from_bytes(data[at : at + 2], "little"):
        assert index < 9
        at += 16 + -(-int.from_bytes(data[at + 8 : at + 16], "little") // 8) * 8
    # Free space of size 0: HDF5 would walk over it forever.
    data[at + 8 : at + 16] = bytes(8)
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged heap"):
        import_weights(path)


def test_groups_that_hold_themselves_end(tmp_path):
    def put(group, folder):
        group.create_dataset("k", data=np.zeros((3, 3, 3, 4), "f4"))
        group["again"] = group

    with pytest.raises(ValueError, match=r"m\.h5"):
        import_weights(hdf5(tmp_path / "m.h5", put))


def zipped(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def understated(path, member, stated):
    """Changes the stated size of a member in both places of the archive."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        found = archive.getinfo(member)
    place = content.index(b"PK\x01\x02")
    while bytes(content[place + 46 : place + 46 + len(member)]) != member.encode():
        place = content.index(b"PK\x01\x02", place + 4)
    struct.pack_into("<I", content, place + 24, stated)
    struct.pack_into("<I", content, found.header_offset + 22, stated)
    path.write_bytes(content)
    return path


def test_a_keras_archive_that_unpacks_to_more_is_refused(tmp_path):
    members = {"metadata.json": "{}", "config.json": json.dumps(CONFIG)}
    path = zipped(tmp_path / "m.keras", {**members, "model.weights.h5": bytes(300 << 20)})
    for read in (import_weights, gfkeras.load):
        assert "promise" in refusal(read, path)
    understated(path, "model.weights.h5", 100)
    for read in (import_weights, gfkeras.load):
        said = refusal(read, path)
        assert "Bad CRC-32" in said or "the stated 100 bytes" in said


def test_members_beside_a_network_are_refused(tmp_path):
    members = {"metadata.json": "{}", "config.json": "{}", "model.weights.h5": "", "assets/x": ""}
    with pytest.raises(ValueError, match="Received: 'assets/x' too"):
        gfkeras.load(zipped(tmp_path / "m.keras", members))


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def test_an_array_is_as_large_as_its_header_says(tmp_path):
    def header(kind, shape):
        return npy(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}", bytes(16))

    values = {"good": header("<f4", (4,)), "promises": header("<f4", (1 << 40,)),
              "endless": header("<f4", (1 << 62, 1 << 62)), "below": header("<f4", (-4,)),
              "objects": header("|O", (2,)), "nothing": header("|S0", (1 << 40,)),
              "nested": npy("(" * 110), "text": b"text"}  # fmt: skip
    for name, content in values.items():
        path = zipped(tmp_path / f"{name}.npz", {"embedding.npy": content})
        if name == "good":
            assert read_npz(path, "arrays", ["embedding"])["embedding"].shape == (4,)
        else:
            said = refusal(lambda path: read_npz(path, "arrays", ["embedding"]), path)
            assert str(path) in said
    path = zipped(tmp_path / "bomb.npz", {"embedding.npy": bytes(300 << 20)})
    assert "promise" in refusal(lambda path: read_npz(path, "arrays", ["embedding"]), path)


def test_text_that_is_not_unicode_is_refused(tmp_path):
    text = np.array(["ab", "c"])
    text.view(np.uint32)[1] = 0x110000
    np.savez(tmp_path / "e.npz", path=text, big=text.astype(">U2"))
    for name in ("path", "big"):
        with pytest.raises(ValueError, match="not Unicode"):
            read_npz(tmp_path / "e.npz", "embeddings", [name])


def test_a_member_cannot_hold_less_than_it_promises(tmp_path):
    path = understated(zipped(tmp_path / "a.zip", {"a": b"12345"}), "a", 9)
    with (
        zipfile.ZipFile(path) as archive,
        pytest.raises((ValueError, zipfile.BadZipFile, EOFError)),
    ):
        read_member(archive, "a")


@pytest.mark.parametrize(
    "changed",
    [
        {"images": np.zeros((2, 8, 8, 3), "f4")},
        {"embedding": np.zeros((2, 4), "i4")},
        {"embedding": np.zeros((3, 4), "f4")},
        {"group": np.zeros(2, "S3")},
    ],
)
def test_golden_arrays_of_another_type_are_refused(changed, tmp_path):
    arrays = {"images": np.zeros((2, 8, 8, 3), "u1"), "embedding": np.zeros((2, 4), "f4")}
    np.savez(tmp_path / "golden.npz", **(arrays | changed))
    with pytest.raises(ValueError, match=r"golden\.npz is damaged: expected"):
        Golden.load(tmp_path / "golden.npz")


# == PyTorch =======================================================================================


def pt(folder, data, values=bytes(16)):
    torch_archive(folder / "t.pt", data, {"0": values})
    return folder / "t.pt"


def test_a_memo_needs_no_more_memory_than_the_file(tmp_path):
    for data in (b"\x80\x02}r" + struct.pack("<I", 1 << 30) + b".", b"}p2000000000\n."):
        assert "one state dict" in refusal(read_torch_state, pt(tmp_path, data))


@pytest.mark.parametrize(
    ("size", "stride"), [((512, 512), (0, 0)), ((2, 3), (1, 1)), ((2, 2), (2, 2)), ((3,), (0,))]
)
def test_tensors_whose_numbers_share_places_are_refused(size, stride, tmp_path):
    with pytest.raises(ValueError, match="overlaps itself"):
        read_torch_state(pt(tmp_path, tensor_pickle(size, stride)))


def test_one_storage_for_many_tensors_is_refused(tmp_path):
    tensor = tensor_pickle((512, 512), (1, 512)).decode()[2:-1]
    body = "".join(tensor.replace("S'w'", f"S'w{number}'") for number in range(2000))
    path = pt(tmp_path, f"(d{body}.".encode(), bytes(4 * 512 * 512))
    assert "many times as large" in refusal(read_torch_state, path)


@pytest.mark.parametrize(
    "poison",
    [
        b"ctorch\nFloatStorage\n(dS'name'\nS'IntStorage'\nsb.",
        b"ctorch._utils\n_rebuild_tensor_v2\n(dS'__defaults__'\n(tsb.",
        b"ctorch._utils\n_rebuild_tensor_v2\n(N(dS'__kwdefaults__'\nNstb.",
        b"ccollections\nOrderedDict\n(dS'update'\nNsb.",
        b"(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI4\ntQ(dS'kind'\nS'IntStorage'\nsb.",
    ],
)
def test_a_pickle_cannot_change_how_the_next_is_read(poison, tmp_path):
    with pytest.raises(ValueError, match=r"t\.pt"):
        read_torch_state(pt(tmp_path, poison))
    values = np.array([1.5, -2.0, 3.25, 0.5], "<f4")
    found = read_torch_state(pt(tmp_path, tensor_pickle((4,), (1,)), values.tobytes()))["w"]
    np.testing.assert_array_equal(found, values)


def test_a_file_from_before_pytorch_1_6_is_read(tmp_path):
    parts = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    tensor = tensor_pickle((4,), (1,)).decode()[2:-1]
    data = f"ccollections\nOrderedDict\n(tR{tensor}(dS'_metadata'\n(dsb."
    values = np.array([1.5, -2.0, 3.25, 0.5], "<f4")
    content = b"".join(pickle.dumps(part, 2) for part in parts) + data.encode()
    content += pickle.dumps(["0"], 2) + struct.pack("<q", 4) + values.tobytes()
    (tmp_path / "old.pt").write_bytes(content)
    np.testing.assert_array_equal(read_torch_state(tmp_path / "old.pt")["w"], values)


def test_attributes_of_a_state_dict_mean_nothing(tmp_path):
    tensor = tensor_pickle((4,), (1,)).decode()[2:-1]
    data = f"ccollections\nOrderedDict\n(tR{tensor}(dS'items'\nS'x'\nsb."
    assert list(read_torch_state(pt(tmp_path, data.encode()))) == ["w"]


@pytest.mark.parametrize(
    "data",
    [
        b"(" + b"t" + b"\x85" * 200_000 + b"K\x01d.",
        b"}" + b"(t" + b"\x85" * 200_000 + b"K\x01s.",
        b"(d" + b"(t" + b"\x85" * 200_000 + b"Q.",
        b"(S'storage'\n(t" + b"\x85" * 200_000 + b"S'0'\nS'cpu'\nI4\ntQ.",
        b"N" * 2_000_000 + b".",
        b"\x80\x04\x95" + struct.pack("<Q", 2_000_000) + b"N" * 2_000_000 + b".",
        b"\x8b" + struct.pack("<i", 1 << 20) + bytes(1 << 20) + b".",
        b"I" + b"9" * 100_000 + b"\n.",
        b"(lp0\ng0\na.",
    ],
)
def test_deep_long_and_large_pickles_end(data, tmp_path):
    assert "t.pt" in refusal(read_torch_state, pt(tmp_path, data))
    (tmp_path / "t.pt").write_bytes(data)
    assert "t.pt" in refusal(read_torch_state, tmp_path / "t.pt")


def test_a_deflated_storage_larger_than_stated_is_refused(tmp_path):
    path = tmp_path / "t.pt"
    members = {
        "a/data.pkl": tensor_pickle((4,), (1,)),
        "a/data/0": io.BytesIO(bytes(300 << 20)).read(),
    }
    assert "promise" in refusal(read_torch_state, zipped(path, members))
