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
from research.records.flags import describe_other_flags
from research.training import checkpoint
from research.training.callback import EpochMetrics, Position, Totals
from research.training.checkpoint import CheckpointError, DamagedError
from research.training.state import TrainState

FINAL = "final"
"""Name of the folder of the parameters that are evaluated, beside the checkpoints of the training."""


class Arrays(NamedTuple):
    """The arrays of a `Position`, in the order in which `restore` compares them with a checkpoint."""

    state: TrainState
    best: tuple[Params, State]


class Checkpoints:
    """The checkpoints of a run. Each holds a whole `Position`, with the best parameters so far.

    A thread writes a checkpoint from a copy on the host. Training waits for this copy, and for the checkpoint
    before it if that is not written yet.

    Args:
        folder: the folder of the run's checkpoints.
        keep: number of newest checkpoints that are kept.
        data_checksum: checksum of the data on which the run is trained.
        xla_flags: the flags of XLA with which it is trained.
    """

    def __init__(self, folder: Path, *, keep: int, data_checksum: str, xla_flags: str = "") -> None:
        self._folder = folder
        # a process died while it wrote these; `checkpoint.save` names them
        self._unreadable = [*folder.glob(".step-*.*"), *folder.glob(f".{FINAL}.*")]
        self._keep = keep
        self._data_checksum = data_checksum
        self._xla_flags = xla_flags
        self._writer = ThreadPoolExecutor(1, "checkpoints")
        self._pending: Future[None] | None = None

    def remove_unreadable(self) -> None:
        """Remove the checkpoints that are damaged or were never complete, so that none counts as kept."""
        for path in self._unreadable:
            shutil.rmtree(path, ignore_errors=True)

    def save(self, position: Position) -> None:
        """Start to write a position.

        Raises:
            CheckpointError: the previous checkpoint could not be written.
        """
        self._wait()
        tree = jax.tree.map(_host_copy, _arrays(position))
        meta = {
            "data_checksum": self._data_checksum,
            "xla_flags": self._xla_flags,
            "history": [asdict(line) for line in position.history],
            "totals": position.totals,
            "seconds": position.seconds,
        }
        self._pending = self._writer.submit(self._write, int(tree.state.step), tree, meta)

    def close(self) -> None:
        """Wait for the last checkpoint.

        Raises:
            CheckpointError: the checkpoint could not be written.
        """
        self._writer.shutdown()
        self._wait()

    def _wait(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def latest(self, start: Position) -> Position:
        """Return the position of the newest checkpoint that can be read, or `start` if there is none.

        A damaged checkpoint causes a warning, and the previous one is read instead.

        Args:
            start: the position at which the run begins; it has the structure that a checkpoint must have.

        Raises:
            CheckpointError: a checkpoint is of another network, of other data, of other flags of XLA or of
                a newer format, and no older one can be read.
        """
        refused: CheckpointError | None = None
        saved = saved_steps(self._folder)
        while saved:
            newest = saved.pop()
            try:
                return self._read(newest, start)
            except CheckpointError as error:
                if not isinstance(error, DamagedError):
                    refused = refused or error
                else:
                    self._unreadable.append(newest)
                if saved or refused is None:
                    instead = saved[-1].name if saved else "the beginning"
                    warnings.warn(f"{error}; continuing from {instead}", RuntimeWarning, stacklevel=2)
        if refused is not None:
            raise refused
        return start

    def _write(self, step: int, tree: Arrays, meta: dict[str, Any]) -> None:
        checkpoint.save(step_folder(self._folder, step), tree, meta)
        for old in saved_steps(self._folder)[: -self._keep]:
            shutil.rmtree(old, ignore_errors=True)

    def _read(self, folder: Path, start: Position) -> Position:
        meta = checkpoint.read_meta(folder)
        tree: Arrays = checkpoint.restore(folder, _arrays(start))
        if meta["data_checksum"] != self._data_checksum:
            raise CheckpointError(f"{folder} belongs to a run on other data: the checksums differ")
        if sentence := describe_other_flags(folder, meta.get("xla_flags", self._xla_flags), self._xla_flags):
            raise CheckpointError(sentence)
        history = tuple(EpochMetrics(**line) for line in meta["history"])
        state = tree.state._replace(teacher=start.state.teacher)
        return Position(state, tree.best, history, Totals(*meta["totals"]), meta["seconds"])


def _arrays(position: Position) -> Arrays:
    return Arrays(position.state._replace(teacher=()), position.best)


def step_folder(folder: Path, step: int) -> Path:
    """Return the folder of the checkpoint after a step, in the folder of a run's checkpoints."""
    return folder / f"step-{step:09d}"


def saved_steps(folder: Path) -> list[Path]:
    """Return the checkpoints of the training in the folder `checkpoints` of a run, the oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.name.removeprefix("step-").isdecimal())


def _host_copy(leaf: jax.Array) -> np.ndarray:
    # it must be a copy, since the next step overwrites the donated state
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.array(jax.random.key_data(leaf) if is_key else leaf)
