"""Fuzzes the readers of files that users receive, with damaged copies of good files.

    .venv/bin/python tests/fuzzing/fuzz_readers.py [--minutes 10] [--corpus build/fuzzing] [READER…]

Each reader gets that many minutes of processor time.

A reader may raise ValueError or OSError, which the command line prints as one line. Anything else
counts as a crash: another exception, a signal, more than 1 GiB of memory, more than 20 seconds.
Inputs with a new message are kept as seeds, from which a later run continues. Inputs that crash a
reader are kept under CORPUS/READER/crashes. Prints a table in Markdown. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import resource
import signal
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from seeds import READERS, Read, Reader

GIB = 1 << 30
SECONDS = 20
IN_A_ROW = 200
EXPECTED = (ValueError, OSError)
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40)
_TOKENS = (
    b"nan", b"inf", b"-1", b"1e999", b"null", b"[]", b"{}", b'""', b"[" * 3000, b"../../x", b'"',
    b"/etc/passwd", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"9" * 400, b"\r\n", b"\t",
)  # fmt: skip


def mutated(data: bytes, others: list[bytes], rng: np.random.Generator) -> bytes:
    """Returns a damaged copy. In a zip archive, mostly one member is damaged and put back."""
    if data[:2] == b"PK" and rng.random() < 0.6:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = {name: archive.read(name) for name in archive.namelist()}
            chosen = sorted(members)[rng.integers(len(members))]
            members[chosen] = _damaged(members[chosen], others, rng)
            written = io.BytesIO()
            with zipfile.ZipFile(written, "w", int(rng.choice([0, 8]))) as archive:
                for name, content in members.items():
                    archive.writestr(name, content)
            return written.getvalue()
        except Exception:  # noqa: BLE001  # a seed that is already damaged
            pass
    return _damaged(data, others, rng)


def _damaged(data: bytes, others: list[bytes], rng: np.random.Generator) -> bytes:
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        if not out:
            break
        # Damage to headers finds the most errors.
        end = len(out) if rng.random() < 0.5 else min(len(out), 512)
        at, kind = int(rng.integers(end)), rng.integers(8)
        if kind == 0:
            out[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            out[at] = int(rng.integers(256))
        elif kind == 2:
            form = str(rng.choice(["<H", "<I", "<Q", ">I"]))
            value = int(rng.choice(np.array(_NUMBERS, "u8"))) % (1 << 8 * struct.calcsize(form))
            out[at : at + struct.calcsize(form)] = struct.pack(form, value)
        elif kind == 3:
            del out[at:]
        elif kind == 4:
            del out[at : at + int(rng.integers(1, 64))]
        elif kind == 5:
            out[at:at] = out[at : at + int(rng.integers(1, 256))]
        elif kind == 6:
            out[at:at] = _TOKENS[rng.integers(len(_TOKENS))]
        else:
            other = others[rng.integers(len(others))]
            start = int(rng.integers(len(other) + 1))
            out[at : at + 64] = other[start : start + 64]
    return bytes(out)


def run(
    reader: Reader, read: Read, path: Path, seeds: list[bytes], first: int, report: Any
) -> None:
    """Runs some executions in the child process, and reports each before and after."""
    # Load everything first, so that late imports and compilation do not count as the file's time.
    path.write_bytes(seeds[-1])
    with contextlib.suppress(Exception):
        read(path)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGESIZE") + GIB
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for limited in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(limited, signal.SIG_DFL)
    for number in range(first, first + IN_A_ROW):
        rng = np.random.default_rng(number)
        data = mutated(seeds[rng.integers(len(seeds))], seeds, rng)
        path.write_bytes(data)
        limit = 3 * SECONDS if reader.slow else SECONDS
        # Processor time, because a busy machine needs longer for a harmless file. A reader that
        # waits needs none, so wall time has a limit too.
        signal.setitimer(signal.ITIMER_PROF, limit)
        signal.alarm(10 * limit)
        try:
            read(path)
            said, crash = "read", False
        except BaseException as error:  # noqa: BLE001
            causes = (error, error.__cause__, error.__context__)
            crash = not isinstance(error, EXPECTED) or any(
                isinstance(each, MemoryError) for each in causes
            )
            said = f"{type(error).__name__}: {error}"
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        report.write(json.dumps([number, crash, said[:2000], sum(os.times()[:4])]) + "\n")
        report.flush()


def fuzz(name: str, reader: Reader, folder: Path, seconds: float) -> dict[str, Any]:
    """Runs one reader, continuing from the last run, and returns its totals.

    `seconds` are processor time, because other programs can take most of the wall time.
    """
    for each in ("seeds", "crashes", "work"):
        (folder / each).mkdir(parents=True, exist_ok=True)
    state_file = folder / "state.json"
    state = {"executions": 0, "seconds": 0.0, "crashes": {}, "kinds": []}
    if state_file.is_file():
        state = json.loads(state_file.read_text())
    if not any((folder / "seeds").iterdir()):
        for number, data in enumerate(reader.seeds(folder / "work")):
            (folder / "seeds" / f"s{number}").write_bytes(data)
    read = reader.opened()
    path, devnull = folder / "work" / reader.file, os.open(os.devnull, 1)
    spent, begun = 0.0, sum(os.times()[:4])
    while spent < seconds:
        seeds = [file.read_bytes() for file in sorted((folder / "seeds").iterdir())]
        first, receiver = state["executions"], os.pipe()
        pid = os.fork()
        if pid == 0:
            os.dup2(devnull, 1)
            os.dup2(devnull, 2)
            try:
                with os.fdopen(receiver[1], "w") as report:
                    run(reader, read, path, seeds, first, report)
            finally:
                os._exit(0)
        os.close(receiver[1])
        before = spent
        with os.fdopen(receiver[0]) as lines:
            for line in lines:
                number, crash, said, used = json.loads(line)
                spent = before + used
                state["executions"] = number + 1
                _note(folder, state, seeds, number, crash, said)
                if spent > seconds:
                    os.kill(pid, signal.SIGKILL)
                    break
            else:
                said = ""
        _, status = os.waitpid(pid, 0)
        # With the time for making inputs and for processes that an input ended.
        spent = sum(os.times()[:4]) - begun
        code = os.waitstatus_to_exitcode(status)
        if said == "" and code < 0:
            # The execution that was running when the child ended.
            number = state["executions"]
            _note(folder, state, seeds, number, True, f"signal {signal.Signals(-code).name}")
            state["executions"] += 1
    state["seconds"] += spent
    state_file.write_text(json.dumps(state, indent=1))
    return state


def _note(
    folder: Path, state: dict[str, Any], seeds: list[bytes], number: int, crash: bool, said: str
) -> None:
    kind = re.sub(r"'[^']*'|\"[^\"]*\"|\S*/\S*|[\d,.]+|b'.*", "·", said.splitlines()[0])[:120]
    if not crash and kind in state["kinds"]:
        return
    rng = np.random.default_rng(number)
    data = mutated(seeds[rng.integers(len(seeds))], seeds, rng)
    if crash:
        state["crashes"][kind] = state["crashes"].get(kind, 0) + 1
        (folder / "crashes" / f"{number}").write_bytes(data)
        (folder / "crashes" / f"{number}.txt").write_text(said)
    elif len(state["kinds"]) < 200:
        state["kinds"].append(kind)
        if len(data) < 1 << 20:
            (folder / "seeds" / f"k{number}").write_bytes(data)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("readers", nargs="*", help=", ".join(READERS))
    parser.add_argument("--minutes", type=float, default=10, help="for each reader; 10 by default")
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzzing"))
    options = parser.parse_args()
    if unknown := set(options.readers) - set(READERS):
        parser.error(f"unknown readers: {', '.join(sorted(unknown))}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    print("| reader | seconds | executions | kinds of answers | crashes |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    for name in options.readers or READERS:
        state = fuzz(name, READERS[name], options.corpus / name, 60 * options.minutes)
        crashes = "; ".join(f"{count} × {kind}" for kind, count in state["crashes"].items()) or "0"
        print(f"| {name} | {state['seconds']:.0f} | {state['executions']:,} "
              f"| {len(state['kinds'])} | {crashes} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
