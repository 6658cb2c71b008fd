"""Measure what the texts quote: ``python -m benchmarks NAME``."""

from __future__ import annotations

import argparse
import sys

import benchmarks
from seaicekit.files import InputError


def main(argv: list[str] | None = None) -> int:
    """Run a benchmark; return its exit code: 0 done, 2 wrong input."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.command(arguments)
    except InputError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description="Measure speed and quality.")
    bench = parser.add_subparsers(required=True, metavar="NAME")
    label = bench.add_parser("label", help="labelling, beside the published form; some 15 minutes in full")
    label.add_argument(
        "--scenes", type=int, default=66, metavar="N", help="how many scenes (default: %(default)s)"
    )
    label.add_argument(
        "--size", type=int, default=2048, metavar="PIXELS", help="a side (default: %(default)s)"
    )
    label.add_argument("--part", nargs="+", metavar="NAME", help="some parts only; a wrong name lists them")
    label.add_argument("--json", metavar="FILE", help="write rows and raw timings there, too")
    label.set_defaults(command=_bench_label)
    accuracy = bench.add_parser(
        "accuracy", help="maps of held-out scenes beside their baselines; half an hour in full"
    )
    accuracy.add_argument("--setting", nargs="+", default=["demo", "hard"], metavar="NAME", help="demo, hard")
    accuracy.add_argument(
        "--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="one training each"
    )
    accuracy.add_argument(
        "--inputs",
        nargs="+",
        default=["rgb", "filtered"],
        metavar="NAME",
        help="what networks see: rgb, and for the paper's tables on the first setting others",
    )
    accuracy.add_argument("--epochs", type=int, metavar="N", help="of each training")
    accuracy.add_argument(
        "--on", default="heldout", choices=["heldout", "development"], help="which scenes to score"
    )
    accuracy.add_argument(
        "--dir",
        default="runs/accuracy",
        metavar="DIR",
        help="a stopped run goes on there (default: %(default)s)",
    )
    accuracy.add_argument("--json", metavar="FILE", help="write rows and tables there, too")
    accuracy.set_defaults(command=_bench_accuracy)
    tuner = bench.add_parser(
        "tuner", help="how quickly the tuner follows, and how good its fits are; some minutes"
    )
    tuner.add_argument(
        "--size", type=int, default=2048, metavar="PIXELS", help="a scene's side (default: %(default)s)"
    )
    tuner.add_argument("--part", nargs="+", metavar="NAME", help="some parts only; a wrong name lists them")
    tuner.add_argument("--json", metavar="FILE", help="write rows and raw timings there, too")
    tuner.set_defaults(command=_bench_tuner)
    train = bench.add_parser("train", help="training: scaling over ranks, beside Keras' fit; some 20 minutes")
    train.add_argument(
        "--ranks", default="1,2", metavar="N,N", help="numbers of ranks (default: %(default)s)"
    )
    train.add_argument(
        "--count", type=int, default=32, metavar="N", help="tiles an epoch (default: %(default)s)"
    )
    train.add_argument("--part", nargs="+", metavar="NAME", help="some parts only; a wrong name lists them")
    train.add_argument("--json", metavar="FILE", help="write rows and raw timings there, too")
    train.set_defaults(command=_bench_train)
    predict = bench.add_parser("predict", help="mapping whole scenes, beside Keras' predict; some 10 minutes")
    predict.add_argument(
        "--size", type=int, default=2048, metavar="PIXELS", help="a side (default: %(default)s)"
    )
    predict.add_argument("--part", nargs="+", metavar="NAME", help="some parts only; a wrong name lists them")
    predict.add_argument("--json", metavar="FILE", help="write rows and raw timings there, too")
    predict.set_defaults(command=_bench_predict)
    lessons = bench.add_parser(
        "lessons", help="memory and time of each lesson in JupyterLab on one core; some minutes"
    )
    lessons.add_argument("--json", metavar="FILE", help="write rows there, too")
    lessons.set_defaults(command=_bench_lessons)
    return parser


def _bench_label(arguments: argparse.Namespace) -> int:
    from benchmarks.label import DISTINCT, run

    settings = {"scenes": arguments.scenes, "size": arguments.size, "distinct scenes": DISTINCT}
    return _measured(*run(arguments.scenes, arguments.size, arguments.part), settings, arguments.json)


def _bench_tuner(arguments: argparse.Namespace) -> int:
    from benchmarks.tuner import run

    return _measured(*run(arguments.size, arguments.part), {"size": arguments.size}, arguments.json)


def _bench_train(arguments: argparse.Namespace) -> int:
    from benchmarks.train import run

    try:
        ranks = [int(number) for number in arguments.ranks.split(",")]
    except ValueError:
        raise InputError(f"--ranks: must be numbers such as 1,2, not {arguments.ranks!r}") from None
    settings = {"ranks": ranks, "count": arguments.count}
    return _measured(*run(ranks, arguments.count, parts=arguments.part), settings, arguments.json)


def _bench_predict(arguments: argparse.Namespace) -> int:
    from benchmarks.predict import run

    return _measured(*run(arguments.size, arguments.part), {"size": arguments.size}, arguments.json)


def _bench_lessons(arguments: argparse.Namespace) -> int:
    from benchmarks.lessons import measured

    return _measured(*measured(), {"cores": 1}, arguments.json)


def _bench_accuracy(arguments: argparse.Namespace) -> int:
    from benchmarks.accuracy import run

    given = {} if arguments.epochs is None else {"epochs": arguments.epochs}
    asked = arguments.setting, arguments.seeds, arguments.dir, arguments.inputs, arguments.on
    settings = {"settings": arguments.setting, "seeds": arguments.seeds, "scored on": arguments.on}
    return _measured(*run(*asked, **given), settings, arguments.json)


def _measured(rows: list[dict], raw: dict, settings: dict, file: str | None) -> int:
    print(benchmarks.table(rows))
    if file:
        benchmarks.save(file, rows, raw, settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
