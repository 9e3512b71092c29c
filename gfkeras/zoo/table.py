"""The table of presets in the README."""

from collections.abc import Iterable
from pathlib import Path

from gfkeras.files import PathLike, write_text
from gfkeras.zoo.registry import Preset, Result

BEGIN = "<!-- zoo: written by `gfkeras zoo list --markdown README.md` -->"
END = "<!-- /zoo -->"
_HEAD = ("model", "network", "accuracy", "size", "latency", "licence of the weights")


def markdown_table(presets: Iterable[Preset]) -> str:
    """Returns a table of presets in Markdown."""
    rows = [_HEAD, ("---",) * len(_HEAD)]
    rows += [_row(preset) for preset in presets]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def network(preset: Preset) -> str:
    """Returns class, backbone, number of groups and embedding dimensions as text."""
    architecture = preset.architecture
    arguments = architecture.arguments
    backbone = arguments.get("backbone")
    name = architecture.name
    if isinstance(backbone, dict):
        mode = "H-" if arguments.get("mode") == "hard" else "S-"
        name = f"{mode}{name} on {backbone['name']}, K = {arguments.get('num_groups', 32)}"
    dim = arguments.get("embedding_dim")
    return name if dim is None else f"{name}, {dim}-d"


def result_text(result: Result) -> str:
    """Returns a result as text, with its spread and its source if others measured it."""
    spread = "" if result.spread is None else f" ± {result.spread:.2f}"
    by = f" (by {result.by})" if result.by else ""
    return f"{result.protocol}: {result.metric} {result.value:.2f}{spread} {result.unit}{by}"


def size_text(size: int) -> str:
    """Returns a number of bytes as text in MiB."""
    return f"{size / 2**20:.1f} MiB"


def write_into(path: PathLike, presets: Iterable[Preset]) -> bool:
    """Replaces the table between the marks of a Markdown file. Returns whether it changed."""
    path = Path(path)
    text = path.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"{path} must have the lines {BEGIN!r} and {END!r} once, in this order")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    new = f"{before}{BEGIN}\n{markdown_table(presets)}{END}{after}"
    if new != text:
        write_text(path, new)
    return new != text


def _row(preset: Preset) -> tuple[str, ...]:
    link = f"[`{preset.name}`](zoo/{preset.name}/README.md)"
    shipped = [export for export in preset.exports if export.size_bytes]
    # A bundled preset runs from its artefacts, any other from its weights.
    sizes = [f"{size_text(export.size_bytes or 0)} {export.precision}" for export in shipped]
    size = f"{', '.join(sizes)} (bundled)" if shipped else size_text(preset.weights.size_bytes)
    latencies = [
        f"{export.latency_ms:.2f} ms {export.precision}" for export in shipped if export.latency_ms
    ]
    latency = ", ".join(latencies) or "not measured"
    return link, network(preset), _accuracy(preset), size, latency, preset.licence.name


def _accuracy(preset: Preset) -> str:
    # A measurement of this project comes before a claim of others.
    results = [result for result in preset.results if result.metric == "accuracy"]
    for result in sorted(results, key=lambda result: bool(result.by)):
        spread = "" if result.spread is None else f" ± {result.spread:.2f}"
        by = f", claimed by {result.by}" if result.by else ""
        return f"{result.value:.2f}{spread} {result.unit} on {result.protocol}{by}"
    return "–"
