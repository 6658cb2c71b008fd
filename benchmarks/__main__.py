"""Measure what the texts quote: ``python -m benchmarks NAME``."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

import benchmarks
from seaicekit.files import InputError

BENCHMARKS = {  # module → help
    "label": "labelling, beside the published form; some 15 minutes in full",
    "tuner": "how quickly the tuner follows, and how good its fits are; some minutes",
    "train": "training: scaling over ranks, beside Keras' fit; some 20 minutes",
    "predict": "mapping whole scenes, beside Keras' predict; some 10 minutes",
    "accuracy": "maps of held-out scenes beside their baselines; half an hour in full",
    "lessons": "memory and time of each lesson in JupyterLab on one core; some minutes",
    "size": "statements of the code by folder, and what is over the limits of length",
    "imports": "the folders in their order, and how many imports go between them",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a benchmark; return its exit code: 0 done, 2 wrong input."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser("python -m benchmarks", description="Measure what the texts quote.")
    names = parser.add_subparsers(required=True, dest="name", metavar="NAME")
    for name, text in BENCHMARKS.items():
        each = names.add_parser(name, help=text, description=text)
        if name in argv[:1]:  # the others may need packages that are not installed
            module = importlib.import_module(f"benchmarks.{name}")
            known = list(module.PARTS)
            each.add_argument("--json", metavar="FILE", help="write rows and raw figures there, too")
            if known:
                text = f"some parts only, of: {', '.join(known)}"
                each.add_argument("--part", nargs="+", default=known, metavar="NAME", help=text)
            if hasattr(module, "add_arguments"):
                module.add_arguments(each)
    options = vars(parser.parse_args(argv))
    file, parts = options.pop("json"), options.pop("part", [])
    del options["name"]
    try:
        benchmarks.check_parts(parts, known)
        rows, raw = module.run(parts, **options)
    except InputError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    print(benchmarks.table(rows))
    if file:
        benchmarks.save(file, rows, raw, options | {"parts": parts})
    return 0


if __name__ == "__main__":
    sys.exit(main())
