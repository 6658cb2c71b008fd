"""Which folder of the package imports from which: ``python -m benchmarks imports``."""

from __future__ import annotations

import ast
import graphlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import Raw, Rows, row

PACKAGE = Path(__file__).parents[1] / "seaicekit"
PARTS = ()
# The folders in the order in which data passes through: each imports only from those before it.
FOLDERS = (
    "scenes",
    "thresholds",
    "labels",
    "tuner",
    "tiles",
    "training",
    "mapping",
    "evaluation",
    "maps",
    "report",
    "pipeline",
    "lessons",
)


def run(_parts: Sequence[str] = ()) -> tuple[Rows, Raw]:
    """Count the imports between folders; list each folder's files in their order.

    Raises
    ------
    SystemExit
        An import goes backward, or past what a folder's ``__init__.py`` gives: exit code 1, with their names.
    """
    found = list(between_folders(PACKAGE))
    wrong = [f"backward: {each}" for each in found if each.is_backward]
    wrong += [f"not given by the folder: {each}" for each in found if each.reaches_past]
    if wrong:
        sys.exit("\n".join(wrong))
    counts = Counter((each.folder, each.source) for each in found)
    rows = []
    for folder in FOLDERS:
        note = f"files: {', '.join(order(PACKAGE / folder))}"
        sources = [f"{counts[folder, each]} from {each}" for each in FOLDERS if counts[folder, each]]
        total = sum(count for (into, _), count in counts.items() if into == folder)
        rows.append(row(folder, f"imports: {', '.join(sources) or 'none'}", total, "", note))
    rows.append(row("all", "imports between folders", len(found), "", "none goes backward"))
    return rows, {f"{folder} from {source}": count for (folder, source), count in counts.items()}


@dataclass(frozen=True)
class Import:
    """One name that a file of ``folder`` imports from the folder ``source``."""

    file: str
    folder: str
    source: str
    name: str
    reaches_past: bool  # whether the source's __init__.py does not give the name

    @property
    def is_backward(self) -> bool:
        """Whether the source does not come before the folder."""
        return FOLDERS.index(self.source) >= FOLDERS.index(self.folder)

    def __str__(self) -> str:
        return f"{self.file} imports {self.name} of {self.source}"


def between_folders(package: Path) -> Iterator[Import]:
    """Yield all imports from one folder of the package into another; files at the root are no folder."""
    public = {
        name: {each.rpartition(".")[2] for each in _imported(package / name / "__init__.py")}
        for name in FOLDERS
    }
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package)
        for name in _imported(path):
            source, _, rest = name.partition(".")
            if source in FOLDERS and file.parts[0] in FOLDERS and source != file.parts[0]:
                reaches_past = bool(rest) and rest not in public[source]
                yield Import(str(file), file.parts[0], source, rest or source, reaches_past)


def _imported(path: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports from the package, without ``seaicekit``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "seaicekit":
            for alias in node.names:
                yield ".".join([*node.module.split(".")[1:], alias.name])


def order(folder: Path) -> list[str]:
    """Return a folder's files so that each imports only from those before it.

    Raises
    ------
    graphlib.CycleError
        Two files import from each other, directly or by way of others.
    """
    graph: dict[str, set[str]] = {}
    for path in sorted(folder.glob("*.py")):
        if not path.stem.startswith("__"):
            inside = {name.split(".")[1] for name in _imported(path) if name.startswith(f"{folder.name}.")}
            graph[path.stem] = {each for each in inside if (folder / f"{each}.py").is_file()} - {path.stem}
    return list(graphlib.TopologicalSorter(graph).static_order())
