"""A run's manifest and its page: by the schema, by their keys, escaped, and without secrets."""

import html.parser
import json
import re
import shutil
from pathlib import Path

import jsonschema
import pytest

import seaicekit as sik
from seaicekit import pipeline, report

SCHEMA = Path(sik.__file__).parent / "report" / "schemas" / "run.json"
# All the numbers that are words of the page, and no figures of the run.
PROSE = ("95 % interval", "within 2 pixels", "Cloud < 10 %", "Cloud ≥ 10 %", "F1")
STAGE = r"0\d_(scenes|calibrate|autolabel|train|map)(\.ipynb)?"


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


class Page(html.parser.HTMLParser):
    """The figures of a page by their keys, and all its other words."""

    def __init__(self, text):
        super().__init__()
        self.figures, self.words, self.tags, self._open = [], [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag not in ("meta", "img", "br"):
            self._open.append((tag, dict(attributes).get("data-key")))

    def handle_endtag(self, tag):
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        tags = [tag for tag, _ in self._open]
        key = next((key for _, key in reversed(self._open) if key), None)
        if key:
            self.figures.append((key, data))
        elif not {"style", "pre", "title"} & set(tags):
            self.words.append(data)


def resolved(manifest, pointer):
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        manifest = manifest[int(part)] if isinstance(manifest, list) else manifest[part]
    return manifest


def test_a_runs_manifest_follows_the_schema_and_its_parameters_the_model(demo, validator):
    validator.validate(demo[1])
    parameters = pipeline.RunParameters(**demo[1]["parameters"])
    assert parameters.model_dump(mode="json") == demo[1]["parameters"]
    for broken in ({"figures": {}}, {"legend": []}, {"failure": {}}, {"more": 1}):
        assert list(validator.iter_errors(demo[1] | broken)), broken


def test_every_figure_of_the_report_is_in_the_manifest_under_its_key(demo):
    page = Page((demo[0] / "report.html").read_text())
    manifest = json.loads((demo[0] / "run.json").read_text())  # another test may have run the demo again
    assert len(page.figures) > 120
    for key, told in page.figures:
        value, told = resolved(manifest, key), told.strip()
        if isinstance(value, str) or value is None or isinstance(value, bool | list | dict):
            assert told in (str(value), "–"), key
            continue
        number = float(told.replace(",", "").removesuffix(" %"))
        share = told.endswith("%") or re.search(r"(low|high|error)$", key)
        digits = len(told.removesuffix(" %").partition(".")[2])
        assert number == pytest.approx(value * (100 if share else 1), abs=0.51 * 10**-digits), key
    rest = " ".join(page.words)
    for known in PROSE:
        rest = rest.replace(known, "")
    names = {"fixed cuts (30, 204)"} & {row["rule"] for row in manifest["metrics"]["scores"]}
    rest = re.sub(STAGE, "", rest)
    assert not re.findall(r".{20}\d.{20}", rest.replace("\n", " ")), names


def test_page_written_again_is_the_same_and_opens_offline(demo, tmp_path):
    shutil.copytree(demo[0], tmp_path / "run")
    before = (tmp_path / "run" / "report.html").read_text()
    (tmp_path / "run" / "report.html").unlink()
    again = report.write(tmp_path / "run").read_text()
    assert again == before and not re.search(r"(src|href)=.?(https?:|//)", again)


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}"


def test_values_of_a_manifest_are_escaped(demo, tmp_path):
    """Names and metadata of files come from anywhere; here all of them at once want to be code."""
    (tmp_path / "run").mkdir()

    def spoiled(value):
        if isinstance(value, dict):
            return {key: spoiled(each) for key, each in value.items()}
        if isinstance(value, list):
            return [spoiled(each) for each in value]
        kept = ("truth", "labels", "all", "accuracy", "test", "train", "U-Net")
        digest = isinstance(value, str) and re.fullmatch(
            "[0-9a-f]{32,}", value
        )  # the schema lets no other through
        return value + HOSTILE if isinstance(value, str) and value not in kept and not digest else value

    manifest = demo[1] | {"quarantined": [{"path": HOSTILE, "reason": HOSTILE}], "legend": demo[1]["legend"]}
    free = (
        "scenes",
        "search",
        "catalog",
        "thresholds",
        "hosts",
        "master",
        "targets",
    )  # other types are checked
    manifest["parameters"] = manifest["parameters"] | dict.fromkeys(free, HOSTILE)
    for name in ("scenes", "versions", "machine", "stages", "quarantined"):
        manifest[name] = spoiled(manifest[name])
    manifest["started"] += HOSTILE
    manifest["metrics"] = manifest["metrics"] | {
        name: [
            row | {"scene": row["scene"] + HOSTILE if row["scene"] else ""}
            for row in manifest["metrics"][name]
        ]
        for name in ("maps", "concentration", "scores")
    }
    failed = {name: manifest[name] for name in manifest if name not in ("metrics", "legend")}
    told = ("stage", "error", "source", "traceback", "notebook", "report")
    failed["failure"] = {"cell": 1} | dict.fromkeys(told, HOSTILE)
    for given in (manifest, failed):
        (tmp_path / "run" / "run.json").write_text(json.dumps(given))
        text = report.write(tmp_path / "run").read_text()
        assert "script" not in Page(text).tags and "&lt;script&gt;" in text and "{{ 7 * 7 }}" in text
        assert not re.search(r"<img[^>]*onerror", text)
    (tmp_path / "run" / "run.json").write_text(json.dumps(manifest))
    hostile = tmp_path / "<b onclick=x>"
    shutil.copytree(demo[0], hostile)
    code = tmp_path / "javascript:alert(1)"
    shutil.copytree(demo[0], code)
    (code / "scenes" / f"{demo[1]['metrics']['maps'][-1]['scene']}.tif").unlink()  # put away since
    report.compare([code, hostile, demo[0]], tmp_path / "both.html")
    both = (tmp_path / "both.html").read_text()
    assert "<b onclick" not in both and 'href="javascript:' not in both and "javascript%3Aalert" in both


def test_runs_tested_on_other_scenes_are_named(demo, tmp_path):
    shutil.copytree(demo[0], tmp_path / "other")
    manifest = json.loads((tmp_path / "other" / "run.json").read_text())
    for scenes, told in ((manifest["scenes"], False), (dict.fromkeys(manifest["scenes"], "0" * 68), True)):
        (tmp_path / "other" / "run.json").write_text(json.dumps(manifest | {"scenes": scenes}))
        report.compare([demo[0], tmp_path / "other"], tmp_path / "both.html")
        page = (tmp_path / "both.html").read_text()
        assert ("tested on other scenes" in page) == told == ("Best of a column" not in page)


def test_damaged_manifests_are_refused(demo, tmp_path):
    for text in ("{", '{"metrics": {}}'):
        (tmp_path / "run.json").write_text(text)
        for use in (report.write, lambda folder: report.compare([folder, demo[0]], tmp_path / "both.html")):
            with pytest.raises(sik.InputError, match=r"run\.json"):
                use(tmp_path)
