"""The checkpoints that a run writes while it trains, and from which it continues after an interruption."""

import shutil
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.layers.base import Params, State
from research.training import checkpoint
from research.training.callback import EpochMetrics, Position, Totals
from research.training.checkpoint import CheckpointError, DamagedError
from research.training.state import TrainState

FINAL = "final"
"""Name of the folder of the parameters that are evaluated, beside the checkpoints of the training."""


class Arrays(NamedTuple):
    """The arrays of a `Position`, in the order in which they are compared with those of a checkpoint."""

    state: TrainState
    best: tuple[Params, State]


class Checkpoints:
    """Checkpoints of a run's `Position`. Each is complete: it also holds the best parameters so far.

    They are written by a thread of their own, from a copy on the host: training waits for that copy, and for
    the checkpoint before if it is not written yet.

    Args:
        folder: the folder of the run's checkpoints.
        keep: number of checkpoints that are kept; they are the newest.
        data_checksum: checksum of the data on which the run is trained.

    Raises:
        CheckpointError: no checkpoint can be written to a folder of that name.
    """

    def __init__(self, folder: Path, *, keep: int, data_checksum: str) -> None:
        if "\\" in str(folder.absolute()):  # TensorStore takes it for a separator
            raise CheckpointError(f"{folder} has a backslash in its path; choose another folder")
        if jax.process_index() == 0:  # of several processes, the one that writes
            for path in folder.glob(".*"):  # half written by a process that died
                shutil.rmtree(path, ignore_errors=True)
        self._folder = folder
        self._keep = keep
        self._data_checksum = data_checksum
        self._writer = ThreadPoolExecutor(1, "checkpoints")
        self._pending: Future[None] | None = None

    def save(self, position: Position) -> None:
        """Start to write a position.

        Raises:
            CheckpointError: the checkpoint before could not be written.
        """
        self._wait()
        tree = jax.tree.map(_host_copy, _arrays(position))
        meta = {
            "data_checksum": self._data_checksum,
            "history": [asdict(line) for line in position.history],
            "totals": position.totals,
            "seconds": position.seconds,
        }
        self._pending = self._writer.submit(self._write, int(tree.state.step), tree, meta)

    def close(self) -> None:
        """Wait for the last checkpoint.

        Raises:
            CheckpointError: it could not be written.
        """
        self._writer.shutdown()
        self._wait()

    def _wait(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def latest(self, start: Position) -> Position:
        """Return the position of the newest checkpoint that can be read, or `start` if there is none.

        A warning names each damaged checkpoint, and the checkpoint before it is taken.

        Args:
            start: the position at which the run begins; it has the structure that a checkpoint must have.

        Raises:
            CheckpointError: a checkpoint is of another network, of other data or of a newer format, and no
                older one can be read.
        """
        refused: CheckpointError | None = None
        saved = _saved(self._folder)
        while saved:
            newest = saved.pop()
            try:
                return self._read(newest, start)
            except CheckpointError as error:
                if not isinstance(error, DamagedError):
                    refused = refused or error
                elif jax.process_index() == 0:
                    shutil.rmtree(newest, ignore_errors=True)  # it must not count as one that is kept
                if saved or refused is None:
                    instead = saved[-1].name if saved else "the beginning"
                    warnings.warn(f"{error}; going on from {instead}", RuntimeWarning, stacklevel=2)
        if refused is not None:
            raise refused
        return start

    def _write(self, step: int, tree: Arrays, meta: dict[str, Any]) -> None:
        checkpoint.save(self._folder / f"step-{step:09d}", tree, meta)
        for old in _saved(self._folder)[: -self._keep]:
            shutil.rmtree(old, ignore_errors=True)

    def _read(self, folder: Path, start: Position) -> Position:
        meta = checkpoint.read_meta(folder)
        tree: Arrays = checkpoint.restore(folder, _arrays(start))
        if meta["data_checksum"] != self._data_checksum:
            raise CheckpointError(f"{folder} is of a training on other data: its checksum differs")
        history = tuple(EpochMetrics(**line) for line in meta["history"])
        return Position(tree.state, tree.best, history, Totals(*meta["totals"]), meta["seconds"])


def _arrays(position: Position) -> Arrays:
    return Arrays(position.state, position.best)


def _saved(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))


def _host_copy(leaf: jax.Array) -> np.ndarray:
    # a copy: the next step writes over what is donated to it
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.array(jax.random.key_data(leaf) if is_key else leaf)
