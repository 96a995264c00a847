"""Runs that differ in seed, learning rate or weight decay only, trained as one program, each as if alone."""

import contextlib
import dataclasses
import os
import signal
import traceback
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path

from research import records
from research.config import Config, Named
from research.records import RunResult
from research.records.lock import LockedError, heartbeat
from research.runs.run import preempted, prepare, run_in_steps
from research.training.optimizers import RATES
from research.training.replicas import Training, together
from research.utils.signals import Received, noticed_signals


def groups(runs: Mapping[Path, Config]) -> list[dict[Path, Config]]:
    """The runs in their order, up to ``training.runs_per_program`` that one program can train together."""
    full: list[dict[Path, Config]] = []
    open_groups: dict[Config, dict[Path, Config]] = {}
    for folder, config in runs.items():
        others = tuple(item for item in config.optimizer.items if item[0] not in RATES)
        optimizer = Named(config.optimizer.name, others)
        shared = dataclasses.replace(config, seed=0, optimizer=optimizer, study=None, init_from=None)
        group = open_groups.setdefault(shared, {})
        if not group:
            full.append(group)
        group[folder] = config
        if len(group) == config.training.runs_per_program:
            del open_groups[shared]
    return full


def run_together(runs: Mapping[Path, Config]) -> dict[Path, RunResult]:
    """Run some of ``groups``, or one, as a process of its own; what each ``result.json`` holds.

    An exception is recorded as a result with the status "failed" instead of being raised, and ends that run
    only. A run that another process works on, or has finished, is left to it and has the status "locked". A
    signal ends them all, as in ``run_until_signal``.
    """
    outcomes: dict[Path, RunResult] = {}
    prepared = cache(partial(prepare, next(iter(runs.values()))))

    def give_up(number: signal.Signals) -> None:
        for folder in runs:
            with contextlib.suppress(OSError):  # the disk may be full
                ours = (heartbeat(folder) or {}).get("pid") == os.getpid()
                if ours and not records.is_finished(folder):
                    records.write_result(folder, preempted(number, "before a checkpoint could be written"))
        os._exit(128 + number)

    def recorded(folder: Path, config: Config, received: Received) -> Training[None]:
        try:
            outcomes[folder] = yield from run_in_steps(
                config, folder, prepared, resume=True, received=received, num_together=len(runs)
            )
        except (LockedError, FileExistsError) as error:  # another sweep is at it, or was faster
            outcomes[folder] = RunResult("locked", str(error))
        except Exception as error:
            outcomes[folder] = RunResult(
                "failed", f"{type(error).__name__}: {error}", traceback=traceback.format_exc(), exit_code=1
            )
            with contextlib.suppress(OSError):  # the folder may be gone or the disk full: the sweep says so
                records.write_result(folder, outcomes[folder])

    with noticed_signals(give_up) as received:
        together([recorded(folder, config, received) for folder, config in runs.items()])
    return {folder: outcomes[folder] for folder in runs}
