"""The command line: arguments to calls, nothing else."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seaicekit import __version__
from seaicekit.files import InputError
from seaicekit.scenes import split_source

if TYPE_CHECKING:
    from seaicekit.pipeline import RunParameters

PRESETS = Path(__file__).parent / "pipeline" / "presets"


def main(argv: list[str] | None = None) -> int:
    """Run a command; return its exit code: 0 done, 1 a stage failed, 2 wrong input, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):  # end as on Ctrl-C, so that no child stays behind
        signal.signal(number, signal.default_int_handler)
    try:
        return arguments.command(arguments)
    except InputError as error:
        print(f"seaicekit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "seaicekit: interrupted; what finished is kept, the same command goes on from there",
            file=sys.stderr,
        )
        return 130
    except RuntimeError as error:
        from seaicekit.pipeline import StageError

        if not isinstance(error, StageError):
            raise
        print(f"seaicekit: {error}", file=sys.stderr)
        return 1


RUN_EPILOG = """\
For example: -p water_max 80 -p epochs 30. A list makes a run of each value: -p epochs '[15, 30]'.
Stages in DIR that nothing has changed for are left as they are, so the same command goes on where a
run was stopped. Exit codes: 0 done; 1 a notebook failed, or with --strict a scene was set aside;
2 wrong input; 130 interrupted.

Parameters, for -p and PARAMS.yaml:

"""
TUNE_EPILOG = (
    "Then give the file to a batch: seaicekit run --scenes FOLDER -p thresholds calibration/thresholds.json; "
    "for labels as you saw them also the parameters that the tuner names when it saves."
)


class _RunHelp(argparse.Action):
    """Print the help of ``run`` with all parameters, whose models take long to import."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from seaicekit.pipeline import RunParameters

        parser.epilog = RUN_EPILOG + (RunParameters.__doc__ or "").partition("----------\n")[2]
        parser.print_help()
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("seaicekit", description="Classify polar sea ice in Sentinel-2 imagery.")
    parser.add_argument("--version", action="version", version=f"seaicekit {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="the whole chain on four synthetic scenes with known truth")
    demo.add_argument(
        "--out", default="runs/demo", metavar="DIR", help="the run's folder (default: %(default)s)"
    )
    demo.set_defaults(command=_run, params="demo", scenes=None, more=(), dry_run=False)
    demo.set_defaults(start=None, only=None, force=False, strict=False)
    _add_run(commands)
    report = commands.add_parser("report", help="write a run's page anew, or compare several runs")
    report.add_argument("runs", nargs="+", metavar="RUN", help="a run's folder")
    report.add_argument("--out", metavar="PAGE.html", help="of a comparison (default: comparison.html)")
    report.set_defaults(command=_report)
    _add_tune(commands)
    doctor = commands.add_parser(
        "doctor", help="whether this machine has what is needed, and what to do if not"
    )
    doctor.set_defaults(command=_doctor)
    return parser


def _add_run(commands: Any) -> None:
    run = commands.add_parser(
        "run",
        help="the whole chain on a folder of images",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    run.add_argument("-h", "--help", action=_RunHelp, nargs=0, help="show this help and exit")
    run.add_argument(
        "params",
        nargs="?",
        metavar="PARAMS.yaml",
        help="parameters: a YAML file of name: value, or one that comes with seaicekit: demo, paper",
    )
    run.add_argument(
        "--scenes", metavar="FOLDER", help="a folder of images, searched through, or a quoted pattern"
    )
    run.add_argument(
        "--out", metavar="DIR", help="the run's folder (default: runs/NAME of the scenes' folder)"
    )
    run.add_argument(
        "-p",
        dest="more",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="set one parameter, as in -p epochs 30",
    )
    run.add_argument(
        "--dry-run", action="store_true", help="say what would be run and what is there already, and why"
    )
    run.add_argument(
        "--from", dest="start", metavar="STAGE", help="run this stage and all after it anew; 03 will do"
    )
    run.add_argument("--only", metavar="STAGE", help="run this stage and no other")
    run.add_argument("--force", action="store_true", help="run all stages anew")
    run.add_argument("--strict", action="store_true", help="exit with 1 if a scene was set aside")
    run.set_defaults(command=_run)


def _add_tune(commands: Any) -> None:
    tune = commands.add_parser("tune", help="calibrate the cuts in the browser", epilog=TUNE_EPILOG)
    tune.add_argument(
        "scenes",
        nargs="?",
        metavar="FOLDER",
        help="a folder of images, or a quoted pattern; without it two synthetic scenes",
    )
    tune.add_argument(
        "--out", default="calibration", metavar="DIR", help="cuts and points (default: %(default)s)"
    )
    tune.add_argument(
        "--thresholds", metavar="FILE", help="cuts to begin with, saved by an earlier calibration"
    )
    tune.add_argument("--no-browser", action="store_true", help="only print the address")
    tune.set_defaults(command=_tune)


def _tune(arguments: argparse.Namespace) -> int:
    from seaicekit import pipeline, scenes
    from seaicekit.thresholds import Thresholds

    if arguments.scenes:
        scenes.find_scenes(arguments.scenes)  # wrong input is reported here, not on a page
    if arguments.thresholds:
        Thresholds.load(arguments.thresholds)
    given = {"scenes": arguments.scenes, "folder": arguments.out, "thresholds": arguments.thresholds}
    return pipeline.serve_tuner(
        {name: value for name, value in given.items() if value}, not arguments.no_browser
    )


def _doctor(_: argparse.Namespace) -> int:
    from seaicekit import pipeline

    findings = pipeline.examine()
    print(pipeline.table(findings))
    installed = pipeline.installed_versions().items()
    print("\nVersions: " + ", ".join(f"{name} {version}" for name, version in installed))
    return 0 if pipeline.complete(findings) else 1


def _run(arguments: argparse.Namespace) -> int:
    given = _read_yaml(arguments.params) if arguments.params else {}
    given |= {name: _yaml(value, f"-p {name}") for name, value in arguments.more}
    if arguments.scenes:
        given["scenes"] = arguments.scenes
    folder = given.pop("out", None)
    if folder is not None and not isinstance(folder, str):
        raise InputError(f"out: must be the path of a folder, not {folder!r}")
    scenes = given.get("scenes")
    if isinstance(scenes, list):  # a run of each
        name = "grid"
    elif scenes:
        name = Path(split_source(str(scenes))[0].split("*")[0]).name or "mine"
    elif given.get("search") or given.get("synthetic_count"):
        name = "search" if given.get("search") else "synthetic"
    else:
        raise InputError(
            "scenes: missing parameter; give --scenes FOLDER, or scenes: FOLDER in the YAML file"
        )
    return _chain(arguments.out or folder or Path("runs") / name, given, arguments)


def _yaml(text: str, where: str) -> Any:
    """Read YAML safely; refuse duplicate keys."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
            names = [key.value for key, _ in node.value]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice:
                raise ValueError(f"{twice} stands there twice")
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{where}: not YAML ({' '.join(str(error).split())})") from None


def _read_yaml(path: str) -> dict:
    shipped = PRESETS / f"{path}.yaml"
    path = str(shipped) if shipped.is_file() and "/" not in path else path
    if Path(path).suffix.lower() not in (".yaml", ".yml"):
        raise InputError(
            f"{path}: not a .yaml file, nor demo or paper; put a folder or pattern after --scenes, in quotes"
        )
    try:
        values = _yaml(Path(path).read_text(encoding="utf-8"), path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not YAML ({error})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: holds no parameters; write one NAME: VALUE a line")
    return {str(name): value for name, value in values.items()}


def _chain(out: str | Path, given: dict, arguments: argparse.Namespace) -> int:
    from seaicekit import pipeline, report

    again, only = _stages(arguments, pipeline.STAGES)
    runs = pipeline.grid(given)
    if arguments.dry_run:
        for name, parameters in runs.items():
            _dry_run(Path(out).expanduser().resolve() / name, parameters, again)
        return 0
    if "" not in runs:
        if only != pipeline.STAGES:
            raise InputError(
                "--only: does not go with lists of parameters; give one run's folder and parameters"
            )
        manifests = pipeline.sweep(out, given, again=again)
        _show_comparison(Path(out).absolute() / pipeline.COMPARISON)
        return int(arguments.strict and any(each["quarantined"] for each in manifests.values()))
    manifest = pipeline.run(out, given, again=again, only=only)
    if "metrics" not in manifest:
        print(
            f"Done: {', '.join(manifest['figures']['seconds'])}. Report so far: {Path(out) / 'report.html'}"
        )
        return 0
    print("\n" + report.summary(manifest["figures"]))
    for row in manifest["quarantined"]:
        print(f"  set aside: {row['path']}: {row['reason']}")
    page = (Path(out).absolute() / "report.html").as_uri()
    print(f"Report: {Path(out) / 'report.html'}\n  open it in a browser: {page}")
    print(f"Maps:   {Path(out) / 'maps'} (GeoTIFF, for QGIS)")
    return int(arguments.strict and bool(manifest["quarantined"]))


def _report(arguments: argparse.Namespace) -> int:
    from seaicekit import report

    if len(arguments.runs) == 1 and not arguments.out:
        print(report.write(arguments.runs[0]))
        return 0
    page = Path(arguments.out or "comparison.html").absolute()
    report.compare(arguments.runs, page)
    _show_comparison(page)
    return 0


def _show_comparison(page: Path) -> None:
    import pandas as pd

    print(pd.read_csv(page.with_suffix(".csv")).drop(columns="folder").round(4).to_string(index=False))
    print(f"Comparison: {page}\n  open it in a browser: {page.as_uri()}")


def _stages(arguments: argparse.Namespace, known: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the stages to run in any case, and those that may run at all."""

    def number_of(text: str) -> int:
        numbers = [
            number for number, stage in enumerate(known) if stage.startswith(text) or stage[3:] == text
        ]
        if len(numbers) != 1:
            raise InputError(f"{text}: no stage of that name; there are {', '.join(known)}")
        return numbers[0]

    if arguments.only and (arguments.start or arguments.force):
        raise InputError(
            "--only: leaves the other stages as they are, so it does not go with --from or --force"
        )
    if arguments.only:
        only = (known[number_of(arguments.only)],)
        return only, only
    first = 0 if arguments.force else number_of(arguments.start) if arguments.start else len(known)
    return known[first:], known


def _dry_run(out: Path, parameters: RunParameters, again: tuple[str, ...]) -> None:
    from seaicekit import pipeline

    parameters = pipeline.check_inputs(out, parameters)
    print(f"{out}:")
    for step in pipeline.plan(out, parameters, again):
        print(f"{'run  ' if step.run else 'leave'}  {step.stage:<13}  {step.why}")
