"""More epochs for a completed run."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from research import records
from research.config import Config, ConfigError
from research.records import RunResult
from research.records.layer_statistics import STATISTICS_FILE
from research.records.lock import hold
from research.records.tracking import TRACKING_FILE
from research.runs.run import run
from research.training.callback import Callback
from research.training.resume import step_folder

CONTINUED = "continued"
"""Name of the folder in which a run trains its further epochs; it is inside the folder of the run."""


def with_more_epochs(folder: str | Path, config: Config, epochs: int) -> Config:
    """Return the configuration in which a completed run is trained for more epochs.

    Args:
        folder: the folder of the run.
        config: the configuration of the run.
        epochs: number of epochs that the run has in the end, with those that it has already.

    Raises:
        ConfigError: the run did not complete, ended early, or already has that many epochs or more.
    """
    record, training = records.read_run(Path(folder)), config.training
    if config.debug.overfit_batch is not None:
        hint = "debug.overfit_batch trains a fixed number of steps; leave out training.epochs"
    elif record.status != "completed":
        hint = f"leave it out to finish the {training.epochs} epochs of {folder}, which is {record.status}"
    elif (record.outcome.epochs or 0) < training.epochs:
        hint = f"training.patience ended {folder} after epoch {record.outcome.epochs}; start another run"
    elif epochs <= training.epochs:
        hint = f"{folder} has {training.epochs} epochs already; give a larger number"
    else:
        earlier = (*(training.continued_from or ()), training.epochs)
        return replace(config, training=replace(training, epochs=epochs, continued_from=earlier))
    raise ConfigError(f"training.epochs={epochs} is not allowed with resume=true: {hint}")


def continue_run(config: Config, folder: str | Path, callbacks: Sequence[Callback] = ()) -> RunResult:
    """Train a completed run for more epochs, from its parameters and the state of its optimizer.

    The learning rate of the further epochs is that of a run with `config.training.epochs` epochs. The run is
    trained in the folder `continued` inside its folder, so a signal or an error leaves the earlier result as
    it is, and the next call continues there. When the run has completed, its files replace the earlier ones.

    Args:
        config: the configuration that `with_more_epochs` returns.
        folder: the folder of the run.
        callbacks: callbacks, as for `run`.

    Returns:
        The result of the whole run.

    Raises:
        ConfigError: the run holds no checkpoint of its last step, or is being continued to another number of
            epochs.
        The other errors of `run`.
    """
    folder = Path(folder)
    inside = folder / CONTINUED
    with hold(folder):
        is_new = not (inside / "config.yaml").exists()
        begun = config.training.epochs if is_new else records.read_config(inside)["training"]["epochs"]
        if begun != config.training.epochs:
            raise ConfigError(
                f"training.epochs={config.training.epochs} is not allowed, because {inside} has begun to "
                f"train to epoch {begun}; give that number, or remove the folder"
            )
        if records.is_finished(inside):  # the further epochs diverged
            return records.read_run(inside).outcome
        try:
            if is_new:
                _copy_last_checkpoint(folder, inside)
            result = run(config, inside, callbacks, resume=True)
        except BaseException:
            if is_new and not (inside / "metrics.jsonl").exists():
                shutil.rmtree(inside, ignore_errors=True)
            raise
        settle(folder)
    return result


def settle(folder: str | Path) -> None:
    """Replace the files of a run by those of the run `continued` inside its folder, if that has completed.

    `config.yaml` is replaced first and `result.json` last. If the process dies in between, the next call
    replaces the other files.
    """
    folder = Path(folder)
    inside = folder / CONTINUED
    begun = (inside / "result.json").exists() and not (inside / "config.yaml").exists()
    if not begun and not records.is_finished(inside, ("completed",)):
        return
    order = {"config.yaml": 0, "result.json": 2}
    for path in sorted(inside.iterdir(), key=lambda path: order.get(path.name, 1)):
        old = folder / path.name
        if old.is_dir():
            shutil.rmtree(old)
        os.replace(path, old)
    inside.rmdir()


def _copy_last_checkpoint(folder: Path, inside: Path) -> None:
    """Copy the checkpoint of the last step of a run to the run that continues it."""
    step = records.read_run(folder).metrics[-1]["step"]
    source, target = (step_folder(place / "checkpoints", step) for place in (folder, inside))
    if not source.is_dir():
        raise ConfigError(
            f"{folder} cannot continue: it holds no checkpoint of its last step ({source}); a run writes one "
            "unless training.checkpoint_every is null"
        )
    inside.mkdir(exist_ok=True)
    for name in (STATISTICS_FILE, TRACKING_FILE):
        if (folder / name).exists():
            shutil.copy(folder / name, inside)
    temporary = target.with_name(f".{target.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary)
    shutil.rmtree(target, ignore_errors=True)  # an earlier call may have died after it had copied
    os.replace(temporary, target)
