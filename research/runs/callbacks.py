"""Callbacks of a run: the progress bar, records on disk, checkpoints and TensorBoard."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from research import records
from research.parallel.distributed import is_writer
from research.records.layer_statistics import scalars
from research.runs.layer_statistics import StatisticsWriter
from research.training.callback import Callback, EpochMetrics, Position
from research.training.program import Program
from research.training.resume import Checkpoints
from research.utils.progress_bar import make_bar

TENSORBOARD_FOLDER = "tensorboard"


class ProgressBar(Callback):
    """Prints lines of metrics, and shows a bar below the lines if the output is a terminal.

    Args:
        console: where to print; `None` is the standard output.
        every: number of epochs from one line to the next.
    """

    def __init__(self, console: Console | None = None, every: int = 1) -> None:
        self._every = every
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._bar = make_bar(self._console, "steps")

    def on_start(self, position: Position, num_steps: int) -> None:
        """Show the bar, at the step where training begins."""
        self._bar.start()
        self._task = self._bar.add_task("training", total=num_steps, completed=int(position.state.step))

    def on_steps(self, position: Position, count: int) -> None:
        """Advance the bar."""
        self._bar.advance(self._task, count)

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Print the epoch's line."""
        if metrics.epoch % self._every:
            return
        validation = ""
        if metrics.validation_loss is not None:
            validation = (
                f"validation loss {metrics.validation_loss:.4f}  accuracy {metrics.validation_accuracy:.4f}  "
            )
        self._console.print(
            f"epoch {metrics.epoch:3d}  train loss {metrics.train_loss:.4f}  "
            f"accuracy {metrics.train_accuracy:.4f}  {validation}{metrics.seconds:.1f} s"
        )

    def on_end(self) -> None:
        """Remove the bar."""
        self._bar.stop()


class Heartbeat(Callback):
    """Writes to the lock of the run's folder how far the run is.

    Args:
        beat: the function `beat(step, num_steps)` that `records.lock.hold` yields.
    """

    def __init__(self, beat: Callable[[int, int], None]) -> None:
        self._beat = beat

    def on_start(self, position: Position, num_steps: int) -> None:
        """Store the number of steps of the run."""
        self._num_steps = num_steps

    def on_steps(self, position: Position, count: int) -> None:
        """Write the step and the number of steps."""
        self._beat(int(position.state.step), self._num_steps)


class MetricsWriter(Callback):
    """Begins the records of a run on disk, and writes a line for each epoch to `metrics.jsonl`.

    Nothing on disk changes before `on_start`, when everything that could refuse the run has been checked.

    Args:
        folder: the folder of the run.
        config: the configuration of the run as a plain dict.
        resume: the run may continue an unfinished one.
    """

    def __init__(self, folder: str | Path, config: Mapping[str, Any], *, resume: bool) -> None:
        self._folder, self._config, self._resume = folder, config, resume

    def on_start(self, position: Position, num_steps: int) -> None:
        """Write the configuration, and the lines of the epochs before the one at which training begins."""
        lines = map(asdict, position.history)
        records.start_run(self._folder, self._config, lines, resume=self._resume)

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Append the epoch's line."""
        records.append_metrics(self._folder, asdict(metrics))


class CheckpointWriter(Callback):
    """Writes checkpoints at regular steps, at the step at which training is stopped, and at the last step.

    The checkpoint of the last step lets `continue_run` train the run for more epochs.

    If a run has several processes, each must have this callback, since each may hold a part of an array. The
    first process writes.

    Args:
        checkpoints: the checkpoints of the run.
        program: the run's program.
        every: number of steps between two checkpoints; `None` writes one only if training is stopped.
    """

    def __init__(self, checkpoints: Checkpoints, program: Program, every: int | None) -> None:
        self._checkpoints, self._program, self._every = checkpoints, program, every
        self._saved_at: int | None = None

    def on_start(self, position: Position, num_steps: int) -> None:
        """Remove the checkpoints that cannot be read."""
        if is_writer():
            self._checkpoints.remove_unreadable()

    def on_steps(self, position: Position, count: int) -> None:
        """Write a checkpoint if one is due."""
        if self._every and int(position.state.step) % self._every == 0:
            self._save(position)

    def on_stop(self, position: Position) -> None:
        """Write a checkpoint, unless this step already has one."""
        if self._saved_at != int(position.state.step):
            self._save(position)

    def on_complete(self, position: Position) -> None:
        """Write a checkpoint of the last step, unless `every` is `None`."""
        if self._every:
            self.on_stop(position)

    def on_end(self) -> None:
        """Wait for the last checkpoint."""
        self._checkpoints.close()

    def _save(self, position: Position) -> None:
        state, best = self._program.whole((position.state, position.best))
        self._saved_at = int(state.step)
        if is_writer():
            self._checkpoints.save(position._replace(state=state, best=best))


class TensorBoard(Callback):
    """Writes each epoch's metrics to `<folder>/tensorboard`.

    The files of an interrupted run may hold epochs after the checkpoint from which the run continues, so they
    are replaced, and each epoch has one point.

    Args:
        folder: the folder of the run.
        statistics: the callback before this one that measures the layers; `None`: nothing measures them.
    """

    def __init__(self, folder: str | Path, statistics: StatisticsWriter | None = None) -> None:
        self._folder, self._statistics = Path(folder) / TENSORBOARD_FOLDER, statistics

    def on_start(self, position: Position, num_steps: int) -> None:
        """Write the epochs before the one at which training begins, in place of the earlier files."""
        from tensorboardX import SummaryWriter  # the extra "tensorboard" installs it

        for path in self._folder.glob("events.out.tfevents.*"):
            path.unlink()
        self._writer, self._num_lines = SummaryWriter(str(self._folder)), 0
        self._write_lines()
        for metrics in position.history:
            self.on_epoch(metrics)

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Write the metrics at the epoch's step, under names such as `loss/train`."""
        for tag, value in as_points(metrics).items():
            self._writer.add_scalar(tag, value, metrics.step)
        self._write_lines()

    def on_end(self) -> None:
        """Close the file."""
        self._writer.close()

    def _write_lines(self) -> None:
        """Write the lines of statistics that are not written yet, with their histograms."""
        lines = self._statistics.lines if self._statistics else []
        for line in lines[self._num_lines :]:
            for tag, value in scalars(line).items():
                self._writer.add_scalar(tag, value, line["step"])
            for path, layer in line["layers"].items():
                for name, found in layer["histograms"].items():
                    counts = found["counts"]
                    self._writer.add_histogram_raw(
                        f"{name}/{path}",
                        min=found["min"],
                        max=found["max"],
                        num=sum(counts),
                        sum=found["sum"],
                        sum_squares=found["sum_squares"],
                        bucket_limits=np.histogram_bin_edges([found["min"], found["max"]], len(counts))[1:],
                        bucket_counts=counts,
                        global_step=line["step"],
                    )
        self._num_lines = len(lines)


def as_points(metrics: EpochMetrics) -> dict[str, float]:
    """Return the metrics of an epoch by names such as `loss/train`."""
    points = {}
    for key, value in asdict(metrics).items():
        split, _, metric = key.partition("_")
        if key != "step" and value is not None:
            points[f"{metric}/{split}" if split in ("train", "validation") else key] = value
    return points
