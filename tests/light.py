"""Use seaicekit without extras: label a scene, draw it, and show which extra each other function names.

Run as ``python light.py FOLDER`` in an environment without extras. Writes ``FOLDER/named.json``: expression →
error message.
"""

import json
import sys
import zipfile
from pathlib import Path

import seaicekit as sik

FUNCTIONS = {
    "sik.search('Ross Sea', '2019-11')": "stac",
    "sik.scenes.fetch(items, folder / 'fetched')": "stac",
    "sik.open_scene('s3://bucket/scene.tif')": "cloud",
    "sik.open_scene('gs://bucket/scene.tif')": "cloud",
    "sik.autolabel([scene], 's3://bucket/labels', cuts)": "cloud",
    "sik.autolabel([scene], folder / 'spark', cuts, engine='spark')": "spark",
    "sik.ThresholdTuner([scene])": "lab",
    "sik.maps.interactive({'scene': scene})": "lab",
    "sik.maps.save_html({'scene': scene}, folder / 'map.html')": "lab",
    "sik.tiles.index_tiles(table, folder / 'tiles.parquet')": None,
    "sik.train(scene, folder / 'model')": "train",
    "sik.training.build()": "train",
    "sik.predict(model, [scene], folder / 'maps')": "train",
    "sik.pipeline.run(folder / 'run', {})": "batch",
    "sik.pipeline.serve_tuner({})": "lab",
    "sik.maps.live_curves()": "lab",
    "sik.lessons.tuner_link()": "lab",
}


def main(folder: Path) -> None:
    """Do what needs no extra, then call each of the functions that do."""
    made = sik.scenes.write_synthetic_set(folder, 2, 256, 0)
    items, quarantined = sik.catalogue(made, folder / "truth")
    assert len(items) == 2 and not quarantined
    scene = str(next(Path(made).glob("*.tif")))
    cuts = sik.Thresholds(water_max=30, thin_max=204)
    assert sik.label(sik.open_scene(scene), cuts).shape == (256, 256)
    table = sik.autolabel([scene], folder / "labels", cuts, engine="serial")
    same = sik.autolabel([scene], folder / "again", cuts, engine="processes")
    [label], [again] = table.labels, same.labels
    assert Path(label).read_bytes() == Path(again).read_bytes()
    assert 0 < sik.evaluate(label, folder / "truth" / Path(scene).name)["accuracy"] <= 1
    sik.Thresholds.suggest([scene])
    assert sik.maps.footprints(items) and sik.maps.save_png(
        {"scene": scene, "label": label}, folder / "map.png"
    )
    sik.maps.save(sik.maps.labelled([scene], cuts, [label]), folder / "labelled.png")
    assert (folder / "map.png").stat().st_size > 10_000 < (folder / "labelled.png").stat().st_size

    model = folder / "model.keras"
    zipfile.ZipFile(model, "w").close()
    sik.training.write_card(model, sik.training.Card())
    names = {"folder": folder, "scene": scene, "cuts": cuts, "table": table, "items": items, "model": model}
    named = {}
    for call in FUNCTIONS:
        try:
            eval(call, {"sik": sik} | names)
        except sik.InputError as error:
            named[call] = str(error)
    (folder / "named.json").write_text(json.dumps(named))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
