"""A check of the English in this repository, which `make lint` runs.

    python docs/check_prose.py [FILE…]

It reads Markdown pages, docstrings, comments, and the strings that users see. Code, tables of
numbers and links are left out. Each rule names a phrase that a reader stumbles over, and what to
write instead. Prints one line per finding and exits with status 1 if there is one.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("gfkeras", "docs", "zoo", "export", "examples", "benchmarks", "tests")
# Folders that hold no text of ours.
SKIPPED = {"node_modules", "__pycache__", "reference", "build"}
# These files quote bad sentences.
EXAMPLES = (Path(__file__).resolve(), ROOT / "tests" / "docs" / "test_prose.py")
MAX_WORDS = 40

# Where a sentence begins: at the start of a text, after a full stop, or after the name in an entry.
_START = r"(?:^|(?<=[.!?:] ))\W*"
RULES: dict[str, str] = {
    _START + r"Of (?!course\b)": "start with the subject instead of 'Of …'",
    _START + r"(?:What|Whatever|Whoever)\b(?![^.]*\?)": "start with a noun instead of 'What …'",
    r"\b(?:goes|gone|went) on\b|\bgo(?:ing)? on (?:from|with)\b": "'continues'",
    r"\b(?:no|a) say\b": "'is ignored', 'has no effect', 'counts'",
    r"\bis none of\b|\bnone of an? ": "'is not a …', 'unknown'",
    r"\bwhom\b": "a noun, or two sentences",
    r"\bso that \w+ can be had\b|\bcan be had\b": "'is available'",
    r"\b(?<!-)[Pp]ictures?\b(?!\.py|=)": "'image', or 'plot' for a diagram",
    r"\b[Ff]igures?\b(?! \d|\.py|\.md)": "'number', 'measurement', 'plot'",
    r"\bin the box\b": "'bundled'",
    r"\brooms?\b": "'package' or 'module'",
    r"(?<![Tt]here )\b(?:is|are|was|were) no (?!longer|more|less|better|worse)": "'is not a …'",
    r"\b[Mm]end(?:s|ed|ing)?\b": "'fix'",
    r"\b[Tt]ells? of\b": "'describes'",
    # A number can lie in an interval.
    r"\bl(?:ies|ie|ay) (?:in(?! \\?[(\[`])|at|on|under|beside|outside|inside|there)\b": "'is in'",
    r"\bstands? (?:in|beside|behind|under|on)\b": "'is in', 'is next to'",
    r"\b(?:whereof|thereof|therein|wherein|thereby|hence|nought|thrice)\b": "a plainer word",
    r"\bwants? (?:a|an|the) (?:extra|model|file|folder|card|head)\b": "'needs'",
    r"\bas that of\b|\bthan that of\b": "name the thing again",
}
# In comments and pages; a message may join its two halves.
SEMICOLON = re.compile(r"; ")
_COMPILED = [(re.compile(pattern), advice) for pattern, advice in RULES.items()]


@dataclass(frozen=True)
class Text:
    """A paragraph: the line it begins on, its words, and whether it is a message or a help line."""

    line: int
    words: str
    message: bool = False


def markdown_texts(source: str) -> Iterator[Text]:
    """The paragraphs, list items and table cells of a page, without code and addresses."""
    fenced, comment, begun, lines = False, False, 0, []
    for number, line in enumerate([*source.splitlines(), ""], 1):
        stripped = line.strip()
        if stripped.startswith(("```", "~~~")):
            fenced, stripped = not fenced, ""
        hidden = comment or stripped.startswith("<!--")
        comment = hidden and "-->" not in stripped
        ends = fenced or hidden or not stripped or bool(re.match(r"[#>|*-]|\d+\.", stripped))
        if ends and lines:
            yield Text(begun, _plain(" ".join(lines)))
            lines = []
        if fenced or hidden or not stripped:
            continue
        if stripped.startswith("|"):
            for cell in stripped.strip("|").split("|"):
                yield Text(number, _plain(cell.strip()), message=True)
            continue
        begun = begun if lines else number
        lines.append(re.sub(r"^(?:[#>*-]+|\d+\.)\s+", "", stripped))


def python_texts(source: str) -> Iterator[Text]:
    """The docstrings, comments and messages of a module."""
    tree, documented = ast.parse(source), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                documented.add(id(first.value))
                yield from _docstring_texts(first.value)
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
             for part in ast.walk(node) if part is not node}  # fmt: skip
    for node in ast.walk(tree):
        if id(node) in parts or id(node) in documented:
            continue
        words = ""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = node.value
        elif isinstance(node, ast.JoinedStr):
            words = "".join(
                part.value if isinstance(part, ast.Constant) else "X" for part in node.values
            )
        # Fewer words are names, keys and formats.
        if len(words.split()) >= 3 and "\n" not in words.strip():
            yield Text(node.lineno, _plain(words), message=True)
    yield from _comments(source)


def _docstring_texts(node: ast.Constant) -> Iterator[Text]:
    # A deeper indentation ends a paragraph, as an entry of "Args" does; examples are code.
    begun, lines, indent, example = node.lineno, [], 0, None
    for number, line in enumerate([*str(node.value).splitlines(), ""], node.lineno):
        stripped = line.strip()
        depth = len(line) - len(line.lstrip())
        if example is not None and stripped and depth <= example:
            example = None
        if lines and (
            not stripped or depth < indent or re.match(r"`{0,2}\*{0,2}[\w, ]+:\s", stripped)
        ):
            yield Text(begun, _plain(" ".join(lines)))
            lines = []
        if re.match(r"(?:Examples?:|```|>>> )", stripped) or stripped.endswith("::"):
            example = depth if example is None else example
        if not stripped or example is not None:
            continue
        if not lines:
            begun, indent = number, depth
            # An entry begins with names from the code.
            stripped = re.sub(r"^[*\w]+(?:, [*\w]+)*:\s", "", stripped)
        lines.append(stripped)


def _comments(source: str) -> Iterator[Text]:
    begun, last, lines = 0, -1, []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        words = token.string.lstrip("#!: ")
        if lines and token.start[0] != last + 1:
            yield Text(begun, _plain(" ".join(lines)))
            lines = []
        begun, last = begun if lines else token.start[0], token.start[0]
        lines.append(words)
    if lines:
        yield Text(begun, _plain(" ".join(lines)))


def _plain(words: str) -> str:
    words = re.sub(r"`[^`]*`", "X", words)  # code
    words = re.sub(r"\$\$.*?\$\$|\$[^$]*\$", "X", words)  # formulas
    words = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", words)  # links
    return re.sub(r"https?://\S+", "X", words)


def findings(text: Text) -> Iterator[str]:
    """The advice for one paragraph."""
    for pattern, advice in _COMPILED:
        if found := pattern.search(text.words):
            yield f"{found.group().strip()!r}: {advice}"
    if text.message:
        return
    if SEMICOLON.search(text.words):
        yield "';': write two sentences"
    for sentence in re.split(r"(?<=[.!?:])\s", text.words):
        if len(sentence.split()) > MAX_WORDS:
            yield f"a sentence of {len(sentence.split())} words: {sentence[:60]}…"


def check(path: Path) -> list[str]:
    """The findings of one file, a line each."""
    source = path.read_text(encoding="utf-8")
    texts = python_texts(source) if path.suffix == ".py" else markdown_texts(source)
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    return sorted(f"{shown}:{text.line}: {advice}" for text in texts for advice in findings(text))


def files() -> list[Path]:
    """Every file with prose of ours."""
    found = [path for path in ROOT.iterdir() if path.suffix in (".md", ".py")]
    for folder in FOLDERS:
        found += [path for path in (ROOT / folder).rglob("*") if path.suffix in (".md", ".py")]
    return sorted(
        path
        for path in found
        if not SKIPPED & set(path.relative_to(ROOT).parts) and path not in EXAMPLES
    )


if __name__ == "__main__":
    problems = [
        line
        for path in ([Path(name).resolve() for name in sys.argv[1:]] or files())
        if path not in EXAMPLES
        for line in check(path)
    ]
    print("\n".join(problems) or "prose: nothing to change")
    sys.exit(bool(problems))
