"""Runs that differ only in seed, learning rate and weight decay, and are trained as one program."""

import contextlib
import traceback
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from research import records
from research.config import Config, InitFromConfig, Named
from research.deploy.recorded import record_compression
from research.records import RunResult
from research.records.lock import LockedError
from research.runs.preemption import StopOnSignal, stop_on_signal
from research.runs.run import Load, Loaded, load_program, run
from research.sweeps.lockstep import Lockstep
from research.training.callback import Callback
from research.training.optimizers import RATES
from research.utils.signals import Received


def groups(runs: Mapping[Path, Config]) -> list[dict[Path, Config]]:
    """Return groups of up to `training.runs_per_program` runs that can share a program, in their order."""
    full: list[dict[Path, Config]] = []
    open_groups: dict[Config, dict[Path, Config]] = {}
    for folder, config in runs.items():
        others = tuple(item for item in config.optimizer.items if item[0] not in RATES)
        optimizer = Named(config.optimizer.name, others)
        shared = replace(config, seed=0, optimizer=optimizer, study=None, init_from=InitFromConfig())
        group = open_groups.setdefault(shared, {})
        if not group:
            full.append(group)
        group[folder] = config
        if len(group) == config.training.runs_per_program:
            del open_groups[shared]
    return full


def run_together(
    runs: Mapping[Path, Config], received: Received | None = None, callbacks: Sequence[Callback] = ()
) -> dict[Path, RunResult]:
    """Run one of `groups`, and return the result of each run by its folder.

    An exception ends one run only; it is not raised, but recorded as a result with the status "failed". A
    run that another process works on, or has finished, gets the status "locked". A signal ends all runs
    with a checkpoint.

    Args:
        runs: the configurations by folder.
        received: returns a signal that came; `None` handles signals here.
        callbacks: callbacks of a group of one run.
    """
    with stop_on_signal(*runs) if received is None else nullcontext(StopOnSignal(received)) as stop:
        if len(runs) == 1:
            [(folder, config)] = runs.items()
            return {folder: run_safely(config, folder, [stop, *callbacks], load_program)}
        lockstep = Lockstep()
        shared = cache(partial(_load_shared, next(iter(runs.values())), len(runs)))

        def load(index: int, config: Config) -> Loaded:
            lockstep.meet(index)
            dataset, spec, program = shared()
            return (
                dataset,
                spec,
                replace(program, run_steps=partial(lockstep.run_steps, index, program.run_many)),
            )

        works = [
            partial(run_safely, config, folder, [stop], partial(load, index))
            for index, (folder, config) in enumerate(runs.items())
        ]
        return dict(zip(runs, lockstep.run(works), strict=True))


def _load_shared(config: Config, num_runs: int) -> Loaded:
    dataset, spec, program = load_program(config)
    feed = program.make_feed(*dataset.train)
    return dataset, spec, replace(program, make_feed=lambda *_: feed, shared_by=num_runs)


def run_safely(config: Config, folder: Path, callbacks: Sequence[Callback], load: Load) -> RunResult:
    """Return the result of a run; an exception becomes a result, which is recorded."""
    try:
        if config.compress is not None:
            return record_compression(config, folder)
        return run(config, folder, callbacks, resume=True, load=load)
    except Exception as error:
        # another sweep trains the run or has trained it
        if isinstance(error, LockedError) or records.is_finished(folder):
            return RunResult("locked", str(error))
        message = f"{type(error).__name__}: {error}"
        failed = RunResult("failed", message, traceback=traceback.format_exc(), exit_code=1)
        if isinstance(error, records.OccupiedError):  # the files in the folder stay as they are
            return failed
        with contextlib.suppress(OSError):  # without disk space, only the sweep reports it
            if not (folder / "config.yaml").exists():
                records.write_config(folder, config.to_dict())
            records.write_result(folder, failed)
        return failed
