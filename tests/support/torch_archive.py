"""A writer of PyTorch's file format, for files that PyTorch would not write."""

from __future__ import annotations

import zipfile


def torch_archive(path, data: bytes, storages: dict[str, bytes] | None = None) -> None:
    """Writes a zip archive in the layout of torch.save."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", b"3\n")
        for key, values in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", values)


def tensor_pickle(size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    """Returns a state dict {"w": tensor} in protocol 0, with a storage "0" of four floats."""

    def numbers(values: tuple[int, ...]) -> str:
        return "(" + "".join(f"I{value}\n" for value in values) + "t"

    storage = "(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI4\ntQ"
    rebuild = f"ctorch._utils\n_rebuild_tensor_v2\n({storage}I{offset}\n{numbers(size)}"
    return f"(dS'w'\n{rebuild}{numbers(stride)}I00\n(dtRs.".encode()
