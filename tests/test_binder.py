"""What Binder makes of this repository, as far as it shows without building an image."""

import re
from pathlib import Path

import pytest
import yaml
from conftest import ROOT


def test_repo2docker_takes_the_conda_environment(monkeypatch):
    repo2docker = pytest.importorskip("repo2docker.app")
    monkeypatch.chdir(ROOT)
    app = repo2docker.Repo2Docker()
    chosen = next(each for each in (pack(app.base_image) for pack in app.buildpacks) if each.detect())
    assert type(chosen).__name__ == "CondaBuildPack" and chosen.binder_dir == "binder"
    assert chosen.python_version == "3.11"
    assert chosen.get_post_build_scripts() == ["binder/postBuild"]
    assert chosen.get_start_script() == "${REPO_DIR}/binder/start"
    chosen.platform = "linux/amd64"
    image = chosen.render()
    assert "binder/environment.yml" in image and "binder/postBuild" in image


def test_scripts_can_be_executed():
    for name in ("postBuild", "start", "try.sh"):
        path = ROOT / "binder" / name
        assert path.stat().st_mode & 0o111 and path.read_text().startswith("#!/usr/bin/env bash\n")


def test_badges_lead_to_pages_that_are_there():
    pages = [ROOT / "README.md", ROOT / "docs" / "guide" / "learn.md"]
    text = "\n".join(page.read_text() for page in pages)
    links = set(re.findall(r"https://mybinder\.org/v2/gh/[\w./-]+\?urlpath=([\w%./-]+)", text))
    assert links == {"lab/tree/notebooks/index.ipynb", "voila/render/notebooks/tuner.ipynb"}
    for link in links:
        page = link.replace("%2F", "/").removeprefix("lab/tree/").removeprefix("voila/render/")
        assert (ROOT / page).is_file(), link


def test_try_reads_the_whole_pip_section():
    text = (ROOT / "binder" / "environment.yml").read_text()
    pip = next(each["pip"] for each in yaml.safe_load(text)["dependencies"] if isinstance(each, dict))
    pattern = re.search(r"sed -n 's/(\^ +- )//p'", Path(ROOT / "binder" / "try.sh").read_text())[1]
    assert [line[len(pattern) - 1 :] for line in text.splitlines() if re.match(pattern, line)] == pip
