"""Many runs, one after the other, in a worker process that is replaced when it dies."""

import multiprocessing
import os
import threading
import traceback
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from rich.console import Console

from research import records
from research.build import num_cpu_devices
from research.config import Config
from research.run import configure_jax, run_until_signal


class Sweep:
    """Runs that are planned first, all of them, and then run.

    A planned run has its ``config.yaml`` on disk, so that one that never finished can be told from one that
    was never asked for.
    """

    def __init__(self) -> None:
        self._plan: dict[Path, Config] = {}

    def plan(self, config: Config, folder: Path) -> None:
        """Add a run; the same run twice is one run."""
        self._plan[folder] = config

    def run(self, console: Console | None = None) -> int:
        """Run what has no result yet, and print a line for each.

        Returns:
            Exit code: 0, or 1 if a run failed or its process died.
        """
        console = console or Console(highlight=False, soft_wrap=True)
        waiting = {folder: config for folder, config in self._plan.items() if not _is_done(folder)}
        for folder, config in waiting.items():
            if not (folder / "config.yaml").exists():
                records.write_config(folder, config.to_dict())
        if len(self._plan) > len(waiting):
            console.print(f"{len(self._plan) - len(waiting)} of {len(self._plan)} runs are done already")
        failed = 0
        pool, devices = _worker(), 0
        for number, (folder, config) in enumerate(waiting.items(), start=1):
            if devices not in (0, num_cpu_devices(config)):  # JAX makes its devices once, when it starts
                pool.shutdown()
                pool = _worker()
            devices = num_cpu_devices(config)
            try:
                outcome = pool.submit(run_recorded, config, folder).result()
            except BrokenProcessPool:
                outcome = {"status": "failed", "error": "the process died"}
                pool = _worker()
            failed += outcome["status"] == "failed"
            console.print(
                f"[{number}/{len(waiting)}] {folder.name}  {outcome['status']}  {_said(outcome)}",
                markup=False,
            )
        pool.shutdown()
        return 1 if failed else 0


def run_recorded(config: Config, folder: Path) -> dict[str, Any]:
    """Run, and record an exception as a result with the status "failed" instead of raising it."""
    configure_jax(config)
    try:
        return run_until_signal(config, folder, resume=True)
    except Exception as error:
        result = {
            "status": "failed",
            "error": f"{type(error).__name__}: {error}",
            "traceback": traceback.format_exc(),
        }
        records.write_result(folder, result)
        return result


def _said(outcome: dict[str, Any]) -> str:
    """The accuracy of a run, that of validation for a trial, which has no other, or what went wrong."""
    for split in ("test", "validation"):
        if (accuracy := outcome.get(f"{split}_accuracy")) is not None:
            return f"{split} accuracy {accuracy:.4f}"
    return str(outcome["error"])


def _is_done(folder: Path) -> bool:
    return records.is_finished(folder)


def _worker() -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(max_workers=1, mp_context=context, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """In the worker: end when the sweep's process is gone, however it went."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
