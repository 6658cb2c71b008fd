"""How much code there is, and what is over the limits of length: ``python -m benchmarks size``."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import Raw, Rows, row

ROOT = Path(__file__).parents[1]
PARTS = ("seaicekit", "benchmarks")
MOST_LINES, MOST_FUNCTION, MOST_WIDTH = 400, 60, 110
LIMITS = {  # what → how often it may be
    f"files over {MOST_LINES} lines": 0,
    f"functions over {MOST_FUNCTION} lines without docstring": 0,
    f"lines over {MOST_WIDTH} characters": 0,
    "lines that are not formatted": 10,
}
FILES, FUNCTIONS, LINES, SKIPS = LIMITS
Function = ast.FunctionDef | ast.AsyncFunctionDef


def run(parts: Sequence[str]) -> tuple[Rows, Raw]:
    """Count statements by folder; name files, functions and lines that are over the limits."""
    rows: Rows = []
    raw: Raw = {}
    for part in parts:
        counts: Counter[str] = Counter()
        over: dict[str, list[str]] = {what: [] for what in LIMITS}
        for path in sorted((ROOT / part).rglob("*.py")):
            file, text = path.relative_to(ROOT / part), path.read_text(encoding="utf-8")
            counts[file.parts[0]] += statements(ast.parse(text))
            for what, place in exceeding(text):
                over[what].append(f"{file}:{place}")
        rows.append(row(part, "statements", counts.total()))
        rows += [row(part, f"{name}: statements", count) for name, count in counts.most_common()]
        for what, most in LIMITS.items():
            rows.append(row(part, what, len(over[what]), f"<= {most}", ", ".join(over[what][:10])))
        raw[part] = {"statements": counts, **over}
    rows.append(row("all", "statements", sum(raw[part]["statements"].total() for part in parts)))
    return rows, raw


def statements(tree: ast.AST) -> int:
    """Count the statements of a syntax tree without docstrings."""
    count = 0
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | Function) and ast.get_docstring(node)
        count += isinstance(node, ast.stmt) - bool(documented)
    return count


def exceeding(text: str) -> Iterator[tuple[str, str]]:
    """Yield which limit a file's text exceeds, and where."""
    lines = text.splitlines()
    if len(lines) > MOST_LINES:
        yield FILES, str(len(lines))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, Function):
            docstring = ast.get_docstring(node, clean=False) or ""
            length = (node.end_lineno or 0) - node.lineno + 1 - len(docstring.splitlines())
            if length > MOST_FUNCTION:
                yield FUNCTIONS, f"{node.name} {length}"
    for number, line in enumerate(lines, 1):
        if len(line) > MOST_WIDTH:
            yield LINES, str(number)
        if line.endswith("# fmt: skip"):
            yield SKIPS, str(number)
