"""Which folder of the package imports from which, and in which order its files do."""

from __future__ import annotations

import ast
import graphlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Import:
    """One imported name: in which file and folder, from which folder, and whether that does not give it."""

    file: str
    folder: str
    into: str
    name: str
    reaches_past: bool

    def __str__(self) -> str:
        return f"{self.file} imports {self.name} of {self.into}"


def modules(path: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports from the package, without ``seaicekit``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "seaicekit":
            for alias in node.names:
                yield ".".join([*node.module.split(".")[1:], alias.name])


def given(folder: Path) -> set[str]:
    """Return the names that a folder gives to others: those that its ``__init__.py`` imports."""
    tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    return {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}


def between_folders(package: Path) -> list[Import]:
    """Return all imports from one folder of the package into another; files at the root are no folder."""
    folders = {path.name: given(path) for path in package.iterdir() if (path / "__init__.py").is_file()}
    found = []
    for path in sorted(package.rglob("*.py")):
        file = str(path.relative_to(package))
        folder = path.relative_to(package).parts[0]
        for name in modules(path):
            into, _, rest = name.partition(".")
            if into not in folders or into == folder or folder not in folders:
                continue
            found.append(Import(file, folder, into, rest or into, bool(rest) and rest not in folders[into]))
    return found


def order(folder: Path) -> list[str]:
    """Return a folder's files so that each imports only from those before it.

    Raises
    ------
    graphlib.CycleError
        Two files import from each other, directly or by way of others.
    """
    graph: dict[str, set[str]] = {}
    for path in sorted(folder.glob("*.py")):
        if path.stem.startswith("__"):
            continue
        inside = {name.split(".")[1] for name in modules(path) if name.startswith(f"{folder.name}.")}
        graph[path.stem] = {each for each in inside if (folder / f"{each}.py").is_file()} - {path.stem}
    return list(graphlib.TopologicalSorter(graph).static_order())


def drawing(package: Path) -> str:
    """Draw the folders in their order, with the number of imports from each of the others."""
    folders = sorted(path.name for path in package.iterdir() if (path / "__init__.py").is_file())
    counts = Counter((each.folder, each.into) for each in between_folders(package))
    graph = {name: {into for folder, into in counts if folder == name} for name in folders}
    lines = []
    for name in graphlib.TopologicalSorter(graph).static_order():
        lines.append(f"{name}: {', '.join(order(package / name))}")
        lines += [f"    {counts[name, into]:3} from {into}" for into in sorted(graph[name])]
    return "\n".join(
        [*lines, f"{sum(counts.values())} imports between {len(folders)} folders, none backward"]
    )
