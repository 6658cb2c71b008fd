"""Train the U-Net on this rank, in step with the others.

`fit` runs once on each Horovod rank, whoever started it. All ranks walk through one random order of the
tiles; a global batch is cut among them; gradients are summed over the valid pixels of all ranks and divided
by their number, so that the step is that of one rank with the whole batch.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np

from seaicekit.files import InputError, atomic_write, write_json
from seaicekit.tiles import Tiles, channels, epoch_order, shared_cache
from seaicekit.training import checkpoints, steps
from seaicekit.training.models import save_model
from seaicekit.training.plan import SIDES, Plan
from seaicekit.training.settings import Job, learning_rate_at

Report = Callable[[dict], None]

PACKAGES = ("seaicekit", "tensorflow-cpu", "keras", "horovod", "numpy")


def fit(job: Job, report: Report | None = None) -> dict:
    """Train on this rank; rank 0 writes the files.

    Parameters
    ----------
    job : Job
    report : callable, optional
        Called on rank 0 after each step, and for each tile that it reads before the first, with a dict:
        ``done`` and ``total`` images, those ``before`` this call (of a resumed training), ``epochs`` as below
        so far, ``messages`` for the user so far.

    Returns
    -------
    dict
        ``settings``, ``ranks``, ``parameters``, ``tiles`` (counts by split), ``legend`` (names),
        ``weights_sha256`` (one a rank, all equal), ``seconds``, ``images_per_second``, ``messages``, and
        ``epochs``: a list with ``loss``, ``accuracy``, ``val_loss``, ``val_accuracy``, ``seconds``,
        ``images_per_second`` (of training alone) and ``seconds_left`` of each. Losses are means over valid
        pixels of all ranks.

    Raises
    ------
    InputError
        No tiles to train or to test on, tiles that the depth does not fit, scenes or rasters that cannot be
        used, a loss that diverges, a checkpoint that is damaged or of other settings, a full disk.
    RuntimeError
        The ranks' weights have drifted apart.
    """
    return Training(Plan.of(job), report).run()


class Training:
    """One rank's part of a training.

    Parameters
    ----------
    plan : Plan
    report : callable, optional
        As for `fit`.
    """

    def __init__(self, plan: Plan, report: Report | None = None):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        import horovod.tensorflow as hvd

        hvd.init()
        self._hvd, self._plan, self._job, self._report = hvd, plan, plan.job, report
        self._rank, self._ranks = hvd.rank(), hvd.size()
        steps.share_machine(plan.job.threads, hvd.local_rank(), hvd.local_size())
        self._numbers = {side: plan.numbers(side) for side in SIDES}
        self._identity = plan.identity(self._ranks)
        self._model, self._optimizer = steps.network(plan.job, channels(plan.job.inputs), len(plan.legend))
        self._variables = [*self._model.weights, *self._optimizer.variables]
        self._first, self._history, self._messages = self._resumed()
        hvd.broadcast_variables([variable.value for variable in self._variables], root_rank=0)
        self._train_step, self._test_step = steps.compile_steps(self._model, self._optimizer)

    def run(self) -> dict:
        """Train and test, epoch by epoch; return what `fit` returns."""
        hvd, plan = self._hvd, self._plan
        # Two of Horovod's hosts may be one machine.
        host = f"{platform.node()}-{os.environ.get('HOROVOD_HOSTNAME', '')}"
        meet = partial(hvd.allgather_object, None)
        with shared_cache(self._job.out_dir, host, hvd.local_rank() == 0, meet) as file:
            tiles = Tiles(plan.table, self._job.inputs, plan.legend, plan.targets, file)
            pixels = tiles.fill(hvd.local_rank(), hvd.local_size(), partial(self._tell, 0))
            self._check_classes(self._sum(pixels)[: len(plan.legend)])
            for epoch in range(self._first, self._job.epochs):
                self._run_epoch(epoch, tiles)
        return self._finish()

    def _resumed(self) -> tuple[int, list[dict], list[str]]:
        """Put the newest checkpoint into rank 0's variables; return epochs done, history and messages."""
        checkpoint = None
        if self._job.resume and self._rank == 0:
            checkpoint = _read_checkpoint(self._job, self._identity, self._variables)
        if self._job.resume:
            checkpoint = self._hvd.broadcast_object(checkpoint)
        return checkpoint or (0, [], [])

    def _tell(self, done: int) -> None:
        """Report that so many images are done in this call."""
        if self._report and self._rank == 0:
            images = len(self._numbers["train"])
            before = self._first * images
            progress = {"done": before + done, "before": before, "total": self._job.epochs * images}
            self._report(progress | {"epochs": self._history, "messages": self._messages})

    def _sum(self, values: np.ndarray) -> np.ndarray:
        """Sum an array over all ranks."""
        import tensorflow as tf

        return self._hvd.allreduce(tf.constant(values), op=self._hvd.Sum).numpy()

    def _check_classes(self, pixels: np.ndarray) -> None:
        """Refuse targets without a class; warn of targets of one class alone. ``pixels`` are by class."""
        if not pixels.any():
            raise InputError("targets: not one pixel has a class; check the rasters")
        if np.count_nonzero(pixels) == 1:
            name = self._plan.legend[int(pixels.argmax())].name
            self._messages.append(
                f"all pixels are {name}, so {name} is all the network can learn; "
                "give scenes with other classes, too"
            )

    def _run_epoch(self, epoch: int, tiles: Tiles) -> None:
        """Train and test once; keep the scores and, on rank 0, a checkpoint."""
        start, images = time.perf_counter(), len(self._numbers["train"])
        trained = self._train(epoch, tiles)
        seconds = time.perf_counter() - start
        tested = self._test(epoch, tiles)
        if not np.isfinite([*trained, *tested]).all():
            raise InputError(f"epoch {epoch + 1}: the loss is no longer finite; lower learning_rate")
        steps.equal_weights(self._model, epoch)
        row = {"epoch": epoch + 1, **_means(trained)}
        row |= {f"val_{name}": value for name, value in _means(tested).items()}
        row |= {"images_per_second": images / seconds, "seconds": time.perf_counter() - start}
        self._history.append(row)
        mean = sum(each["seconds"] for each in self._history[self._first :]) / (epoch + 1 - self._first)
        row["seconds_left"] = (self._job.epochs - epoch - 1) * mean
        if self._rank == 0:
            state = self._identity | {"epoch": epoch + 1, "history": self._history}
            checkpoints.save(self._job.out_dir, self._variables, state)
            self._write_history()
        self._tell((epoch + 1 - self._first) * images)

    def _train(self, epoch: int, tiles: Tiles) -> np.ndarray:
        """Return loss, right and valid pixels, (3,), summed over an epoch and all ranks."""
        job, numbers = self._job, self._numbers["train"]
        steps.reseed(self._model, [job.seed, epoch, self._rank])
        share = epoch_order(len(numbers), epoch, job.seed, job.batch, self._rank, self._ranks)
        turn = [job.seed, epoch] if job.augment else None
        counts, before = np.zeros(3), (epoch - self._first) * len(numbers)
        for step, batch in enumerate(tiles.batches(np.append(numbers, -1)[share], turn)):  # -1 stays -1
            if job.scale_rate:
                rate = learning_rate_at(job, self._ranks, epoch * len(share) + step, len(share))
                self._optimizer.learning_rate.assign(rate)
            counts += self._train_step(*batch).numpy()
            self._tell(before + min(len(numbers), (step + 1) * job.batch * self._ranks))
        return counts

    def _test(self, epoch: int, tiles: Tiles) -> np.ndarray:
        """Return loss, right and valid pixels, (3,), summed over the test tiles and all ranks."""
        numbers, counts = self._numbers["test"], np.zeros(3)
        share = epoch_order(len(numbers), 0, 0, self._job.batch, self._rank, self._ranks)
        for batch in tiles.batches(np.append(numbers, -1)[share]):
            counts += self._test_step(*batch).numpy()
            self._tell((epoch + 1 - self._first) * len(self._numbers["train"]))
        return self._sum(counts)

    def _finish(self) -> dict:
        """Return the result; rank 0 writes it, with the model and its card."""
        job = self._job
        seconds = sum(each["seconds"] for each in self._history)
        images = len(self._numbers["train"]) * job.epochs
        result = {
            "settings": job.model_dump(),
            "ranks": self._ranks,
            "parameters": self._model.count_params(),
            "tiles": {side: len(numbers) for side, numbers in self._numbers.items()},
            "legend": [entry.name for entry in self._plan.legend],
            "weights_sha256": steps.equal_weights(self._model, job.epochs - 1),
            "seconds": seconds,
            "images_per_second": images / seconds,
            "messages": self._messages,
            "epochs": self._history,
        }
        if self._rank == 0:
            names = ("ranks", "parameters", "tiles", "weights_sha256", "seconds")
            manifest = {name: result[name] for name in names} | {
                "settings": self._identity["settings"] | {"epochs": job.epochs, "batch": job.batch},
                "tiles_sha256": self._identity["tiles"],
                "versions": {name: metadata.version(name) for name in PACKAGES},
            }
            save_model(self._model, Path(job.out_dir) / "model.keras", self._plan.card(manifest))
            self._write_history()
            write_json(Path(job.out_dir) / "training.json", result)
        return result

    def _write_history(self) -> None:
        import pandas as pd

        with atomic_write(Path(self._job.out_dir) / "history.csv") as place:
            pd.DataFrame(self._history).to_csv(place, index=False)


def _read_checkpoint(job: Job, identity: dict, variables: list) -> tuple[int, list[dict], list[str]] | None:
    """Put the newest checkpoint into the variables; return epochs done, history and messages."""
    newest = checkpoints.newest(job.out_dir)
    if not newest:
        return None
    arrays, saved, messages = newest
    old, new = (
        each["settings"] | {name: each.get(name) for name in identity if name != "settings"}
        for each in (saved, identity)
    )
    other = sorted(name for name in new if old.get(name) != new[name])
    if other:
        raise InputError(
            f"resume: the checkpoint is of other {', '.join(other)}; give the same, or resume=False"
        )
    if saved["epoch"] > job.epochs:
        raise InputError(
            f"epochs: {saved['epoch']} are done, more than {job.epochs}; give more, or resume=False"
        )
    checkpoints.restore(variables, arrays)
    return saved["epoch"], saved["history"], messages


def _means(counts: np.ndarray) -> dict[str, float]:
    pixels = max(1.0, counts[2])
    return {"loss": float(counts[0] / pixels), "accuracy": float(counts[1] / pixels)}
