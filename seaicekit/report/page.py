"""A run as one page that holds its pictures and tables, and so opens without a kernel or a network."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seaicekit import evaluation
from seaicekit.files import InputError, read_json, write_text
from seaicekit.report.metrics import warnings

if TYPE_CHECKING:
    import markupsafe

TEMPLATES = Path(__file__).parent / "templates"
SCHEMA = Path(__file__).parent / "schemas" / "run.json"
STRATA = {
    "all": "Accuracy",
    "cloud < 10 %": "Cloud < 10 %",
    "cloud >= 10 %": "Cloud ≥ 10 %",
    "interior": "Interior",
    "edge": "Floe edges",
}
PICTURES = {  # of each stage: file → title
    "01_scenes": {"footprints": "Where the scenes lie", "scenes": "The scenes"},
    "02_calibrate": {"histogram": "Brightness and the cuts"},
    "03_autolabel": {"labels": "Automatic labels", "strata": "The cloudiest scene, filtered and labelled"},
    "04_train": {"curves": "Training"},
    "05_map": {
        "maps": "Maps",
        "scores": "The map beside its baselines",
        "confusion": "Confusion",
        "reliability": "Whether confidences mean what they say",
        "series": "Ice over time",
    },
}
FORMS: dict[str, Callable[[Any], str]] = {
    "percent": lambda share: f"{100 * share:.2f} %",
    "tenths": lambda share: f"{100 * share:.1f}",
    "points": lambda share: f"{100 * share:+.2f}",
    "seconds": lambda seconds: f"{seconds:.1f}",
    "whole": lambda number: f"{number:,.0f}",
    "hundredths": lambda number: f"{number:.2f}",
    "thousandths": lambda number: f"{number:.3f}",
    "text": str,
}


class Figures:
    """A run's manifest, whose values are shown with their key (a JSON pointer, RFC 6901)."""

    def __init__(self, manifest: dict):
        self._manifest = manifest

    def __call__(self, *keys: str | int, form: str = "text") -> markupsafe.Markup:
        """Return one value as HTML: escaped, in the given form, a dash for None, its key in ``data-key``."""
        from markupsafe import Markup

        value: Any = self._manifest
        for key in keys:
            value = value[key]
        pointer = "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)
        text = "–" if value is None and form != "text" else FORMS[form](value)
        return Markup('<span data-key="{}">{}</span>').format(pointer, text)


def render(template: str, **values: Any) -> str:
    """Fill in a page's template; all values are escaped."""
    import jinja2

    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return environment.get_template(template).render(**values)


def manifest(run_dir: str | os.PathLike) -> dict:
    """Read a run's ``run.json``.

    Raises
    ------
    InputError
        There is none, or it does not follow the schema: damaged, or of another version.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    run = read_json(Path(run_dir) / "run.json")
    error = best_match(Draft202012Validator(read_json(SCHEMA)).iter_errors(run))
    if error:
        raise InputError(
            f"{Path(run_dir) / 'run.json'}: no manifest that can be used ({error.message[:200]}); run again"
        )
    return run


def write(run_dir: str | os.PathLike) -> Path:
    """Write ``report.html`` into a run's folder, from its ``run.json`` and ``figures/``.

    A run that stopped gets the page, too: with the failure, and with what was done before.
    """
    folder = Path(run_dir)
    run = manifest(folder)
    done = [stage for stage in run["stages"] if stage != run.get("failure", {}).get("stage")]
    pictures = {
        title: folder / "figures" / f"{name}.png" for stage in done for name, title in PICTURES[stage].items()
    }
    values: dict[str, Any] = {
        "name": folder.resolve().name,
        "run": run,
        "figure": Figures(run),
        "pictures": {title: picture(path) for title, path in pictures.items() if path.exists()},
        "manifest": json.dumps(
            {name: run[name] for name in run if name != "metrics"}, indent=1, ensure_ascii=False
        ),
        "notebooks": sorted(path.name for path in folder.glob("notebooks/*.ipynb")),
    }
    template = "stopped.html.j2"
    if "metrics" in run:
        rules, classes = _numbers(run["metrics"]["scores"])
        values |= {"strata": STRATA, "rules": rules, "classes": classes, "notes": warnings(run["figures"])}
        template = "report.html.j2"
    write_text(folder / "report.html", render(template, **values))
    return folder / "report.html"


def picture(path: Path) -> str:
    """Return a PNG file as text, to stand inside a page."""
    return base64.b64encode(path.read_bytes()).decode()


def _numbers(scores: list[dict]) -> tuple[dict, dict]:
    """Return where in the table of scores the page's cells are found.

    Returns
    -------
    rules : dict
        Rule → column → number of the row; columns are the strata and "balanced".
    classes : dict
        Class → score → number of the row, of the map.
    """
    rules: dict[str, dict[str, int]] = {}
    classes: dict[str, dict[str, int]] = {}
    for number, row in enumerate(scores):
        if row["class"] and row["rule"] == evaluation.MAP and row["stratum"] == "all":
            classes.setdefault(row["class"], {})[row["score"]] = number
        if row["score"] == "accuracy" and row["stratum"] in STRATA:
            rules.setdefault(row["rule"], {})[row["stratum"]] = number
        if row["score"] == "balanced_accuracy" and row["stratum"] == "all":
            rules.setdefault(row["rule"], {})["balanced"] = number
    return rules, classes
