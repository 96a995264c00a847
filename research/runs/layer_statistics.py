"""The callback that measures every layer once per epoch, for `logging.statistics=true`."""

import warnings
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from research import records
from research.data import Split
from research.records.layer_statistics import (
    STATISTICS_FILE,
    append_statistics,
    find_warnings,
    write_statistics,
)
from research.training.callback import Callback, Position
from research.training.program import MeasureLayers
from research.training.state import Batch


class StatisticsWriter(Callback):
    """Measures every layer at the start and at the end of each epoch, on the same images.

    It writes a line per epoch to `statistics.jsonl`, and warns once of each kind of trouble. The state of the
    run is read and never changed. A run that continues keeps the lines of the epochs that it has.

    Args:
        folder: the folder of the run.
        measure: the function that `make_layer_statistics` returns.
        images: the images on which the layers are measured, with their labels.
        steps_per_epoch: number of steps of an epoch.
        histograms: whether the lines hold histograms, too.
    """

    def __init__(
        self,
        folder: str | Path,
        measure: MeasureLayers,
        images: Split,
        steps_per_epoch: int,
        *,
        histograms: bool,
    ) -> None:
        self._folder, self._measure, self._images = Path(folder), measure, images
        self._steps_per_epoch, self._histograms = steps_per_epoch, histograms
        self.lines: list[dict[str, Any]] = []
        self._said: set[str] = set()

    def on_start(self, position: Position, num_steps: int) -> None:
        """Keep the lines of the epochs that the run has, and measure if this epoch has none."""
        step = int(position.state.step)
        kept = records.read_run(self._folder).lines(STATISTICS_FILE) if step else []
        self.lines = [line for line in kept if line["step"] <= step]
        write_statistics(self._folder, self.lines)
        self._measure_if_due(position)

    def on_steps(self, position: Position, count: int) -> None:
        """Measure at the end of an epoch."""
        self._measure_if_due(position)

    def on_complete(self, position: Position) -> None:
        """Warn of what only the whole run shows."""
        self._warn(ended=True)

    def _measure_if_due(self, position: Position) -> None:
        step = int(position.state.step)
        epoch, rest = divmod(step, self._steps_per_epoch)
        if rest or any(line["epoch"] == epoch for line in self.lines):
            return
        batch = Batch(*map(jnp.asarray, self._images))
        layers = self._measure(position.state, batch, self._histograms)
        self.lines.append({"epoch": epoch, "step": step, "layers": layers})
        append_statistics(self._folder, self.lines[-1])
        self._warn(ended=False)

    def _warn(self, *, ended: bool) -> None:
        for warning in find_warnings(self.lines, ended=ended):
            if warning.kind not in self._said:
                self._said.add(warning.kind)
                warnings.warn(warning.sentence, RuntimeWarning, stacklevel=2)
