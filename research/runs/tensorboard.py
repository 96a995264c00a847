"""The metrics of a run as TensorBoard shows them, on request."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from research.runs.callbacks import Quiet
from research.training.fit import EpochMetrics

FOLDER = "tensorboard"


class TensorBoard(Quiet):
    """Writes each epoch's metrics to ``<folder>/tensorboard``, beside what ``inner`` does with them.

    Args:
        folder: of the run.
        inner: told of everything as well.
    """

    def __init__(self, folder: Path, inner: Quiet) -> None:
        from tensorboardX import SummaryWriter  # of the extra "tensorboard"

        self._inner = inner
        self._writer = SummaryWriter(str(folder / FOLDER))

    @contextmanager
    def training(self, num_steps: int) -> Iterator[None]:
        """Surround the training; close the file at its end."""
        with self._inner.training(num_steps):
            try:
                yield
            finally:
                self._writer.close()

    def steps(self, count: int) -> None:
        """Pass on."""
        self._inner.steps(count)

    def epoch(self, metrics: EpochMetrics) -> None:
        """Write the epoch's metrics at its step: ``loss/train``, ``loss/validation``, and so on."""
        self._inner.epoch(metrics)
        for key, value in asdict(metrics).items():
            split, _, metric = key.partition("_")
            tag = f"{metric}/{split}" if split in ("train", "validation") else key
            if key != "step":
                self._writer.add_scalar(tag, value, metrics.step)
