"""Many runs, one after the other, in a worker process that is replaced if it dies."""

import multiprocessing
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from research import records
from research.config import Config, ConfigError
from research.records import RunResult
from research.runs.devices import num_cpu_devices
from research.runs.provenance import refuse_other_flags
from research.runs.run import configure_jax
from research.runs.worker import RunError, ThisProcess, Worker
from research.sweeps.vectorized import groups, run_together
from research.training.callback import Callback
from research.utils.signals import Received, noticed_signals

POLL_SECONDS = 1.0
"""Seconds between two checks whether the runs of another sweep have ended."""


def run_sweep(
    runs: Mapping[Path, Config],
    *,
    retry_failed: bool = True,
    worker: bool = True,
    console: Console | None = None,
) -> int:
    """Run every run without a result; print a line for each, and a table of the runs that did not complete.

    The `config.yaml` of every run is on disk before the first one runs, so an unfinished run differs from one
    that was never planned. Several sweeps may have the same runs at once; one of them runs each run.

    Args:
        runs: the configurations by folder.
        retry_failed: run the runs that failed before again.
        worker: train in a worker process, which is replaced if it dies; False trains in this process.
        console: where to print.

    Returns:
        Exit code: 0; 1 if a run diverged, failed or its process died; 130 or 143 after a signal.

    Raises:
        RecordError: a run that is done was made with other flags of XLA.
    """

    def is_done(outcome: RunResult) -> bool:
        return outcome.status in records.FINISHED or (outcome.status == "failed" and not retry_failed)

    before = {folder: _outcome_before(folder) for folder in runs}
    console = console or Console(highlight=False, soft_wrap=True)
    waiting = {folder: config for folder, config in runs.items() if not is_done(before[folder])}
    done = {folder: before[folder] for folder in runs.keys() - waiting.keys()}
    for folder, outcome in done.items():
        refuse_other_flags(folder, outcome)
    for folder, config in waiting.items():
        if not (folder / "config.yaml").exists():
            records.write_config(folder, config.to_dict())
    if len(runs) > len(waiting):
        console.print(f"{len(runs) - len(waiting)} of {len(runs)} runs are done already")
    died: set[Path] = set()
    number, total = 0, len(waiting)
    # this process only waits after a signal: the worker writes the checkpoint, or ends if that takes too long
    make = Worker if worker else ThisProcess
    with noticed_signals(lambda number: None) as received, make(received) as process:
        while waiting and received() is None:
            elsewhere = {}
            for group in groups(waiting):
                for folder, outcome in process.run(run_recorded, group).items():
                    if outcome.status == "locked":
                        elsewhere[folder] = group[folder]
                        continue
                    number += 1
                    died |= {folder} if outcome.status == "died" else set()
                    line = f"[{number}/{total}] {folder.name}  {outcome.status}  {said(outcome)}"
                    console.print(line, markup=False)
                if received() is not None:
                    break
            if len(elsewhere) == len(waiting):
                time.sleep(POLL_SECONDS)
            waiting = {
                folder: config for folder, config in elsewhere.items() if not is_done(_outcome(folder))
            }
        stopped_by = received()
    outcomes = {folder: done.get(folder) or _outcome(folder, folder in died) for folder in runs}
    unfinished = {folder: o for folder, o in outcomes.items() if o.status != "completed"}
    if unfinished:
        console.print(_table(unfinished))
        console.print(f"{len(outcomes) - len(unfinished)} of {len(outcomes)} runs completed")
    return 128 + stopped_by if stopped_by else int(bool(unfinished))


def run_apart(config: Config, folder: str | Path, *, retry_failed: bool = True) -> None:
    """Run one run of a sweep that a launcher spreads over processes or machines.

    The run has a worker process. If the worker dies, this process reports it, and the launcher continues with
    the other runs.

    Raises:
        RunError: the run failed, or its process died.
    """
    # joblib's launcher sets a start method of its own, which the worker process would not know
    multiprocessing.set_start_method("spawn", force=True)
    if run_sweep({Path(folder): config}, retry_failed=retry_failed):
        raise RunError(f"{folder} is {records.read_run(folder).status}; the output of its job says why")


def run_recorded(
    runs: Mapping[Path, Config], received: Received | None = None, callbacks: Sequence[Callback] = ()
) -> dict[Path, RunResult]:
    """Request the CPU devices of the runs before JAX starts, and run the runs.

    Args:
        runs: the configurations by folder.
        received: returns a signal that came; `None` in a worker process, which handles signals itself. Only
            there does JAX get other settings than those of the user where one device suffices.
        callbacks: callbacks of a single run.
    """
    config = next(iter(runs.values()))
    if received is None or num_cpu_devices(config) > 1:
        configure_jax(config)
    return run_together(runs, received, callbacks)


def _outcome(folder: Path, died: bool = False) -> RunResult:
    """Return the outcome of a run, from its folder."""
    try:
        result = records.read_run(folder).result
    except (FileNotFoundError, records.RecordError) as error:
        return RunResult("missing", str(error))
    return result or RunResult("missing", "the process died" if died else "not run")


def _outcome_before(folder: Path) -> RunResult:
    """Return the outcome of a run before the sweep.

    Raises:
        ConfigError: the run in the folder was trained for more epochs in the meantime.
    """
    try:
        run = records.read_run(folder)
        config, outcome = run.config, run.result or RunResult("missing", "not run")
    except FileNotFoundError as error:
        return RunResult("missing", str(error))
    except records.RecordError as error:  # the sweep reports the damage
        outcome = RunResult("missing", str(error))
        try:
            config = records.read_config(folder)
        except (FileNotFoundError, records.RecordError):
            return outcome
    continued_from = config["training"].get("continued_from")
    if continued_from is not None:
        raise ConfigError(
            f"{folder} was trained for more epochs (training.continued_from={continued_from}), so it "
            "is no run of this sweep any more; give another hydra.sweep.dir, or move it away"
        )
    return outcome


def _table(outcomes: dict[Path, RunResult]) -> Table:
    table = Table("run", "status", "what happened")
    for folder, outcome in outcomes.items():
        error = ((outcome.error or "").splitlines() or [""])[0]
        table.add_row(Text(folder.name), outcome.status, Text(error))
    return table


def said(outcome: RunResult) -> str:
    """Return as text the test accuracy of a run, or the validation accuracy of a trial, or else the error."""
    if outcome.test_accuracy is not None:
        return f"test accuracy {outcome.test_accuracy:.4f}"
    if outcome.validation_accuracy is not None:
        return f"validation accuracy {outcome.validation_accuracy:.4f}"
    return outcome.error or ""
