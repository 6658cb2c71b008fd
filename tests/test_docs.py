"""The pages: each public name is documented and in the reference, examples are true, links lead somewhere."""

import doctest
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from conftest import ROOT

import seaicekit as sik

MODULES = sorted(set(dir(sik)) - set(sik.__all__))
REFERENCE = (ROOT / "docs" / "api" / "index.md").read_text()


def module(name):
    return importlib.import_module(f"seaicekit.{name}")


def public(name):
    """Return a module's public functions and classes: those of its ``__all__``, else those it defines."""
    found = vars(module(name))
    names = found.get("__all__") or [
        each for each, value in found.items() if not each.startswith("_") and _defined(value, name)
    ]
    return {
        each: found[each] for each in names if inspect.isroutine(found[each]) or inspect.isclass(found[each])
    }


def _defined(value, name):
    return getattr(value, "__module__", "") == f"seaicekit.{name}" and inspect.getmodule(value) is module(
        name
    )


def members(value):
    """Return a class's own public methods and properties."""
    kinds = property | staticmethod | classmethod
    return {
        each
        for each, member in (vars(value).items() if inspect.isclass(value) else ())
        if not each.startswith("_") and (inspect.isfunction(member) or isinstance(member, kinds))
    }


def test_every_public_name_has_a_docstring_that_says_what_it_does():
    named = {f"seaicekit.{name}": getattr(sik, name) for name in sik.__all__}
    named |= {f"{name}.{each}": value for name in MODULES for each, value in public(name).items()}
    assert len(named) > 150
    for name, value in named.items():
        assert inspect.getdoc(value), name
        for each in members(value):
            assert inspect.getdoc(getattr(value, each)), f"{name}.{each}"


def test_every_public_name_and_module_is_listed_in_the_reference():
    listed = re.findall(r"^   ([\w.]+)$", REFERENCE, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(sik.__all__) <= set(listed)
    assert set(MODULES) <= set(listed)


def test_examples_in_docstrings_are_true():
    names = [found.name for found in pkgutil.walk_packages(sik.__path__, "seaicekit.")]
    modules = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    results = [doctest.testmod(each, optionflags=doctest.ELLIPSIS) for each in modules]
    assert not sum(result.failed for result in results)
    assert sum(result.attempted for result in results) >= 12


def test_names_in_the_texts_are_there():
    """Names such as ``sik.scenes.fetch`` in the README, the guide and the change log's column "now" exist."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "guide").glob("*.md")]
    moved = re.findall(r"^\|[^|]*\|([^|]*)\|$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    text = "\n".join([*(page.read_text() for page in pages), *moved])
    names = set(re.findall(r"\b(?:sik|seaicekit)((?:\.[a-zA-Z_]\w*)+)(?![\w/])", text))
    assert len(names) >= 30
    for name in sorted(names - {".zip"}):
        value = sik
        for part in name[1:].split("."):
            value = getattr(value, part, None)
            assert value is not None, name


class Links(HTMLParser):
    """Links and anchors of a page."""

    def __init__(self, page):
        super().__init__()
        self.links, self.anchors = [], {""}
        self.feed(page.read_text())

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.links += [given[key] for key in ("href", "src") if given.get(key)]
        self.anchors.add(given.get("id", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory, request):
    """The pages, built in another folder, on the run that the environment names or on a demo."""
    run = os.environ.get("SEAICEKIT_RUN") or str(request.getfixturevalue("demo")[0])
    command = re.search(
        r"^uv run (sphinx-build .*?)(?: +#.*)?$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE
    )
    assert command[1].endswith(" docs/_build/html")
    out = tmp_path_factory.mktemp("site")
    program, *arguments = command[1].split()[:-1]
    command = [str(Path(sys.executable).with_name(program)), *arguments, "-q", "-E", str(out)]
    environment = os.environ | {"SEAICEKIT_RUN": run}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    return out


@pytest.mark.exhaustive  # links within the pages only: no test may need the internet
@pytest.mark.timeout(1800)
def test_the_pages_build_without_a_warning_and_no_link_is_dead(site):
    pages = {path: Links(path) for path in site.rglob("*.html") if "_static" not in path.parts}
    assert len(pages) > 60
    for page, found in pages.items():
        for link in found.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or "_modules" in page.parts:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            assert target.exists(), f"{page}: {link}"
            if target in pages and parts.fragment:
                assert unquote(parts.fragment) in pages[target].anchors, f"{page}: {link}"


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_the_reference_has_every_public_name(site):
    from sphinx.util.inventory import InventoryFile

    with (site / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda base, path: path)
    names = {name for kind in inventory if kind.startswith("py:") for name in inventory[kind]}
    assert {f"seaicekit.{name}" for name in sik.__all__} <= names
    classes = {name for name in sik.__all__ if name[0].isupper()}  # described on the package's pages alone
    for name in MODULES:
        missing = {f"seaicekit.{name}.{each}" for each in public(name)} - names
        assert {each.rpartition(".")[2] for each in missing} <= classes
    for name, value in {each: getattr(sik, each) for each in sik.__all__}.items():
        assert {f"seaicekit.{name}.{member}" for member in members(value)} <= names
    for name in MODULES:
        for each, value in public(name).items():
            wanted = {f"seaicekit.{name}.{each}.{member}" for member in members(value)}
            assert wanted <= names or each in classes


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_the_notebooks_are_shown_as_executed(site):
    for name in ("01_scenes", "02_calibrate", "03_autolabel", "04_train", "05_map"):
        page = (site / "notebooks" / f"{name}.html").read_text()
        assert page.count('class="cell_output') >= 3 and "Traceback" not in page, name
        assert "/tmp/" not in page and str(ROOT) not in page, name
