"""The benchmarks that read the code itself: its size, and which folder imports from which."""

import ast

import pytest
from conftest import command

from benchmarks import imports, size


def test_statements_are_counted_without_docstrings():
    code = '"""Module."""\nimport os\n\n\ndef f():\n    """Function."""\n    if os:\n        return 1\n    "no docstring"\n'
    assert size.statements(ast.parse(code)) == 5


def test_what_is_over_the_limits_is_named():
    lines = "".join(f"    x = {n}\n" for n in range(60))
    assert list(size.exceeding(f"def long():\n{lines}")) == [(size.FUNCTIONS, "long 61")]
    documented = f'def f():\n    """A.\n\n    B.\n    """\n{lines}'.removesuffix("    x = 59\n")
    assert not list(size.exceeding(documented))
    assert list(size.exceeding("x = 1\n" * 401)) == [(size.FILES, "401")]
    assert list(size.exceeding(f"#{'x' * 110}\nx = 1  # fmt: skip")) == [(size.LINES, "1"), (size.SKIPS, "2")]


def test_the_code_is_within_the_limits():
    _, found = size.run(size.PARTS)
    for part in size.PARTS:
        for what, most in size.LIMITS.items():
            assert len(found[part][what]) <= most, (part, found[part][what])


def test_size_and_imports_are_commands(tmp_path):
    done = command("size", "--part", "benchmarks", module="benchmarks")
    assert done.returncode == 0 and "| benchmarks | study: statements |" in done.stdout
    done = command("imports", module="benchmarks")
    assert done.returncode == 0, done.stderr
    places = [done.stdout.index(f"\n| {folder} | imports") for folder in imports.FOLDERS]
    assert places == sorted(places) and "none goes backward" in done.stdout


def test_an_import_that_goes_backward_ends_with_its_name(tmp_path, monkeypatch, capsys):
    for folder in imports.FOLDERS:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text("")
    (tmp_path / "scenes" / "a.py").write_text("from seaicekit.labels import label\n")
    monkeypatch.setattr(imports, "PACKAGE", tmp_path)
    with pytest.raises(SystemExit, match=r"backward: scenes.a\.py imports label of labels"):
        imports.run()
