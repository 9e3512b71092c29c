"""Job of a `prepare` run: the source and options that determine its files."""

import json
import shutil
from pathlib import Path
from typing import Any

from gfkeras.data.prepare.options import PrepareOptions
from gfkeras.data.records.manifest import MANIFEST_FILE, Manifest
from gfkeras.data.sources import Source
from gfkeras.errors import wrong
from gfkeras.files import json_values, parsed_json, sha256, write_json
from gfkeras.version import __version__

WORK_FOLDER = ".prepare"
LOCK_FILE = ".prepare.lock"
JOB_FILE = "job.json"
CATALOGUE_FILE = "catalogue.sqlite"


def job_of(source: Source, options: PrepareOptions) -> dict[str, Any]:
    """Returns, as JSON, the inputs that determine the bytes of the result."""
    settings = options.to_json()
    if options.detector is not None and Path(options.detector).is_file():
        # The content of the file counts, not its path.
        settings["detector"] = sha256(options.detector)
    job = {"format": 1, "gfkeras": __version__, "source": source.describe(), "options": settings}
    # The round trip makes the job equal to one that was read from a file, where tuples are lists.
    return json_values(json.loads(json.dumps(job)))


def begin_job(out: Path, job: dict[str, Any]) -> bool:
    """Returns whether `out` contains an earlier run of the same job. If not, notes this job there.

    Raises ValueError if `out` contains anything else.
    """
    work = out / WORK_FOLDER
    if (out / MANIFEST_FILE).is_file():
        # A finished run has no job file any more, but its manifest has the same entries.
        manifest = Manifest.read(out)
        found = {"source": manifest.source, "options": manifest.options}
        _same_job(out, {**job, **found}, job)
        return True
    if (work / JOB_FILE).is_file():
        earlier = parsed_json((work / JOB_FILE).read_text(encoding="utf-8"))
        if not (work / CATALOGUE_FILE).is_file() and isinstance(earlier.get("options"), dict):
            # Until the catalogue exists, nothing depends on the number of people held out. So a
            # run that was refused because of it can be repeated with another number.
            earlier["options"]["holdout"] = job["options"]["holdout"]
        _same_job(out, earlier, job)
        write_json(work / JOB_FILE, job)
        _remove_leftovers(out)
        _remove_leftovers(work)
        return True
    strange = [entry.name for entry in out.iterdir() if entry.name not in (WORK_FOLDER, LOCK_FILE)]
    if strange:
        received = f"out={str(out)!r}, which contains {strange[0]!r}"
        raise wrong("out", "be new, empty or from an earlier run of prepare", received)
    # A work folder without a job file is from a run that was killed at its very start.
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    write_json(work / JOB_FILE, job)
    return False


def _same_job(out: Path, earlier: dict[str, Any], job: dict[str, Any]) -> None:
    for part in ("source", "options", "gfkeras", "format"):
        before, now = earlier.get(part), job[part]
        if before == now:
            continue
        if isinstance(before, dict) and isinstance(now, dict):
            part, before, now = next(
                (f"{part}.{key}", before.get(key), now.get(key))
                for key in {**before, **now}
                if before.get(key) != now.get(key)
            )
        raise ValueError(
            f"`out` contains a run with another {part}, {before!r}. Use another folder, or remove "
            f"that one. Received: out={str(out)!r}, {part}={now!r}"
        )


def _remove_leftovers(folder: Path) -> None:
    """Removes unfinished files of a stopped run. `replacing` gives them names with a dot."""
    for path in (*folder.glob(".*"), *folder.glob("chunks/.*")):
        if path.is_file() and path.name != LOCK_FILE:
            path.unlink(missing_ok=True)
