"""Labels of known scenes by known rules: they change only together with the version of the rule."""

import hashlib

import pytest

import seaicekit as sik
from seaicekit.labels import VERSION
from seaicekit.thresholds import Range

POND = Range(3, "melt pond", "#2f7fd1", hue=(90, 125), saturation=(60, 255), value=(60, 255))
RULES = {
    "the paper's": {},
    "cuts alone": {"thresholds": sik.Thresholds(45, 180), "cloud_filter": False},
    "wide window": {"nodata": "ignore", "window": 301},
    "by tile": {"scope": "tile", "tile": 128, "window": 19},
    "normalised": {"thresholds": sik.Thresholds(30, 204, (POND,)), "normalise": (1, 99)},
}
# What the labels are, (SHA-256, its first 16 digits), by the rule's version that is written here. Whoever
# changes labels raises seaicekit.labels.VERSION and writes the version and the new checksums here.
OF_VERSION = 2
CHECKSUMS = {
    "the paper's": ["ec0636576ff4f1ea", "3d9735e053eda599", "2c0bb674abf03a2e"],
    "cuts alone": ["3976901d7943dd41", "c7cf9845674d37bd", "6b45e2b400e91691"],
    "wide window": ["cee0186d944840b4", "7368060469cae3ad", "e8eec1681d33c1dd"],
    "by tile": ["856fd082baaf3ea4", "361a57d39ef221a1", "57053583419113d1"],
    "normalised": ["1dd7dfadae79b7aa", "6bcbf244e976c5b3", "5f8f4c5af2a8f025"],
}


@pytest.mark.parametrize("rule", RULES)
def test_labels_change_only_with_the_version_of_the_rule(rule):
    checksums = []
    for seed, (shape, cloud) in enumerate([((300, 420), 0.0), ((430, 510), 0.5), ((500, 260), 0.3)]):
        scene, _ = sik.scenes.synthetic_scene(seed, shape, cloud=cloud)
        label = sik.label(scene, **RULES[rule])
        checksums.append(hashlib.sha256(label.values.tobytes()).hexdigest()[:16])
    assert (VERSION, checksums) == (OF_VERSION, CHECKSUMS[rule]), (
        "labels or the version have changed: raise seaicekit.labels.VERSION if labels have, "
        "and write the version and these checksums into this test"
    )
