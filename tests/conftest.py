"""What several test files need: real imagery where it is, a small labelled set, one whole demo."""

import contextlib
import functools
import http.server
import io
import json
import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio

import seaicekit as sik

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# A shell starts background jobs with Ctrl-C ignored, and what they start inherits that; the tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)
ROOT = Path(__file__).parent.parent
# Tests start many processes. Where Python may not keep bytecode, each would compile all that it imports, which
# takes more than half of the time of TensorFlow's import. So it is kept, but not beside the sources.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    sys.pycache_prefix = os.environ.setdefault(
        "PYTHONPYCACHEPREFIX", str(ROOT / ".pytest_cache" / "bytecode")
    )
    sys.dont_write_bytecode = False
SHARED = ROOT.parent / "shared" / "data"
SMALL = {"epochs": 2, "batch": 2, "width": 2, "depth": 2}  # a training of seconds
ALONE = SMALL | {"ranks": 1, "launcher": "inprocess", "progress": False}


# Files whose tests stay on one worker, for they share the demo.
DEMO = ("pipeline/test_pipeline", "test_browser", "report/test_report")
# Other files that take longest. All these begin first, so that the workers end at about the same time.
LONG = (
    "pipeline/test_batch",
    "lessons/test_lessons",
    "training/test_faults",
    "training/test_loop",
    "labels/test_large_scenes",
    "tuner/test_browser",
    "maps/test_browser",
    "mapping/test_predict",
    "benchmarks/test_reproduce",
    "labels/test_batch",
)


def name_of(file):
    """Return a test file's name below ``tests``, without its ending."""
    return str(file).replace(os.sep, "/").rpartition("tests/")[2].removesuffix(".py")


def pytest_xdist_make_scheduler(config, log):
    """Give each worker whole files, and all that share the demo to one worker."""  # xdist's groups need older pytest
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = name_of(nodeid.split("::")[0])
            return "demo" if file in DEMO else file

    return Together(config, log)


def pytest_collection_modifyitems(items):
    """Begin with the longest files, so that no worker waits for one at the end."""
    order = [*DEMO, *LONG]
    items.sort(
        key=lambda item: order.index(name_of(item.path)) if name_of(item.path) in order else len(order)
    )


@pytest.fixture(scope="session")
def real():
    """The folder of real imagery; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"real imagery is not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def modis(real):
    """Paths of the MODIS true-colour scenes."""
    return sik.scenes.find_scenes(f"{real}/modis_dev/**/*truecolor*")


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Four small synthetic scenes, labelled and indexed: (folder, labelled, tiles)."""
    folder = tmp_path_factory.mktemp("small")
    sik.scenes.write_synthetic_set(folder, count=4, size=160, seed=5)
    labelled = sik.autolabel(sorted((folder / "scenes").iterdir()), folder / "labels", engine="serial")
    tiles = sik.tiles.index_tiles(labelled, folder / "tiles.parquet", size=64, test_fraction=0.5)
    return folder, labelled, tiles


def command(*arguments, cwd=None, timeout=580, module="seaicekit"):
    """Run ``seaicekit`` as a user does, or another module's command."""
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=timeout,
    )


def command_here(*arguments, cwd="."):
    """Run a command of ``seaicekit`` in this process, which has imported already."""
    from seaicekit import cli

    out, err = io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
        warnings.simplefilter("default")
        for hidden in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", hidden)  # as Python does by default
        try:
            code = cli.main([*map(str, arguments)])
        except SystemExit as end:  # by argparse
            code = end.code
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """One real ``seaicekit demo``: (folder, manifest, what it printed)."""
    folder = tmp_path_factory.mktemp("demo") / "run"
    done = command("demo", "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder, json.loads((folder / "run.json").read_text()), done


@pytest.fixture(scope="module")  # Playwright's event loop would go on behind the tests of other modules
def chromium():
    """A headless Chromium."""
    from benchmarks.browser import browser, chromium_path

    try:
        chromium_path()
    except sik.InputError as error:
        pytest.skip(f"no browser: {error}")
    with browser() as started:
        yield started


class Ranged(http.server.SimpleHTTPRequestHandler):
    """Python's file server, with the range requests that reading a remote raster needs, and an ETag."""

    def log_message(self, *_):
        pass

    def end_headers(self):
        if os.path.isfile(self.translate_path(self.path)):
            self.send_header("ETag", f'"{os.path.getsize(self.translate_path(self.path))}"')
        super().end_headers()

    def do_GET(self):
        span, path = self.headers.get("Range"), self.translate_path(self.path)
        if not span or not os.path.isfile(path):
            return super().do_GET()
        first, last = span.removeprefix("bytes=").split("-")
        content = Path(path).read_bytes()
        part = content[int(first) : int(last or len(content)) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


@pytest.fixture
def served(tmp_path):
    """The URL of a real server that serves ``tmp_path``."""
    handler = functools.partial(Ranged, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def write_tiff(path, bands, **profile):
    """Write (bands, rows, columns) as a GeoTIFF at 10 m in UTM 58S, as `rasterio` alone does it."""
    bands = np.asarray(bands)
    grid = {"crs": "EPSG:32758", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 1_600_000)}
    shape = {"count": len(bands), "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype}
    with rasterio.open(path, "w", driver="GTiff", **(grid | shape | profile)) as target:
        target.write(bands)
    return path


def picture(path, rows=40, cols=60, channels=3, seed=0):
    """Write a noisy image by OpenCV and return its pixels as they were given."""
    pixels = np.random.default_rng(seed).integers(1, 256, (rows, cols, channels)).astype(np.uint8)
    if path.suffix == ".jpg":  # decoders may blow up a JPEG's coarse colours each in its own way
        pixels[:] = pixels[..., :1]
    cv2.imwrite(str(path), pixels)
    return pixels


def distance(*folders):
    models = [sik.training.load_model(folder / "model.keras")[0] for folder in folders]
    return max(np.abs(a - b).max() for a, b in zip(*(model.get_weights() for model in models), strict=True))
