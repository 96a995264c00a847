"""Snapshots: the parameters at the end of each cycle of the learning rate, which form an ensemble."""

from pathlib import Path

import jax
import jax.numpy as jnp

from research.config import Config, ConfigError
from research.parallel.distributed import is_writer
from research.runs.load import TrainedNetwork
from research.training import checkpoint
from research.training.callback import Callback, Position
from research.training.program import Program
from research.training.schedules import cycle_bounds
from research.training.state import eval_params

NAME = "snapshot-"
"""The beginning of the name of a snapshot's folder, which lies in the folder of the run's checkpoints."""


class SnapshotWriter(Callback):
    """Saves the parameters that `eval_params` returns, at the end of each cycle of the learning rate.

    Args:
        folder: the folder of the run's checkpoints.
        program: the run's program.
        steps: the steps after which a cycle ends.
    """

    def __init__(self, folder: Path, program: Program, steps: list[int]) -> None:
        self._folder, self._program, self._steps = folder, program, steps

    def on_steps(self, position: Position, count: int) -> None:
        """Save a snapshot if a cycle has ended."""
        step = int(position.state.step)
        if step not in self._steps:
            return
        params, model_state = jax.device_get(self._program.whole(eval_params(position.state)))
        if is_writer():
            path = self._folder / f"{NAME}{self._steps.index(step) + 1:03d}"
            checkpoint.save(path, {"params": params, "model_state": model_state})


def snapshot_steps(config: Config, num_steps: int, steps_per_epoch: int) -> list[int]:
    """Return the steps after which a run saves a snapshot; an empty list unless `training.snapshots` is true.

    Args:
        config: the configuration of the run.
        num_steps: the number of its training steps.
        steps_per_epoch: the number of training steps of an epoch.

    Raises:
        ConfigError: a cycle of the learning rate ends within an epoch.
    """
    if not config.training.snapshots:
        return []
    cycles, growth = (config.schedule.arguments[key] for key in ("cycles", "growth"))
    ends = cycle_bounds(num_steps, cycles, growth)[1:]
    if any(end % steps_per_epoch for end in ends):
        raise ConfigError(
            f"training.snapshots=true needs cycles that end with an epoch; give schedule.growth=1, and "
            f"training.epochs as a multiple of schedule.cycles={cycles}"
        )
    return ends


def load_snapshots(folder: str | Path, trained: TrainedNetwork) -> list[TrainedNetwork]:
    """Return the network of a run with the parameters of each of its snapshots.

    Args:
        folder: the folder of the run.
        trained: the network of the run.

    Raises:
        CheckpointError: a snapshot is damaged.
    """
    like = {"params": trained.params, "model_state": trained.model_state}
    paths = sorted((Path(folder) / "checkpoints").glob(f"{NAME}*"))
    trees = (jax.tree.map(jnp.asarray, checkpoint.restore(path, like)) for path in paths)
    return [trained._replace(**tree) for tree in trees]
