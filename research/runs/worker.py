"""A worker process, which calls functions for another process and is replaced if it dies."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import jax

from research import records
from research.config import Config
from research.records import RunResult
from research.runs.devices import num_cpu_devices
from research.runs.settings import cache_settings
from research.utils.signals import SIGNALS, Received

P = ParamSpec("P")
T = TypeVar("T")

RunRecorded = Callable[..., dict[Path, RunResult]]
"""A function of the configurations of runs by folder, and of a function that returns a received signal."""


class RunError(RuntimeError):
    """A run of a sweep failed, or its process died; the message names its folder."""


class Worker:
    """A process that calls functions, and is replaced if it dies.

    Args:
        received: returns the signal that was received, or `None`; after a signal, the worker ends its run.
    """

    def __init__(self, received: Received) -> None:
        self._received = received
        self._devices = 0
        self._start()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def run(self, run_recorded: RunRecorded, runs: Mapping[Path, Config]) -> dict[Path, RunResult]:
        """Call `run_recorded(runs)` in the process, and return the result of each run.

        If the process dies, the runs without a result get the status "died".
        """
        devices = num_cpu_devices(next(iter(runs.values())))
        if self._devices not in (0, devices):  # JAX makes its devices once, when it starts
            self._pool.shutdown()
            self._start()
        self._devices = devices
        try:
            return self.call(run_recorded, runs)
        except BrokenProcessPool:
            self._start()
            died = RunResult("died", "the process died")
            return {folder: (records.read_run(folder).result or died) for folder in runs}

    def call(self, function: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
        """Call a function in the process, and return its result.

        Raises:
            BrokenProcessPool: the process died.
        """
        # the first call starts the process
        process = self._process = self._process or self._pool.submit(os.getpid).result()
        future = self._pool.submit(function, *arguments, **keywords)
        told = False
        while not wait([future], timeout=0.2).done:
            if self._received() is not None and not told:
                told = True
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGTERM)
        return future.result()

    def _start(self) -> None:
        # The resource tracker of multiprocessing has to survive every signal that ends a run. It keeps those
        # signals blocked that are blocked when it starts.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            resource_tracker.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        context = multiprocessing.get_context("spawn")
        self._process: int | None = None
        self._pool = ProcessPoolExecutor(
            max_workers=1, mp_context=context, initializer=_begin, initargs=(cache_settings(),)
        )


class ThisProcess:
    """Calls functions as `Worker` does, but in this process.

    Args:
        received: returns the signal that was received, or `None`; the functions of runs are called with it.
    """

    def __init__(self, received: Received) -> None:
        self._received = received

    def __enter__(self) -> "ThisProcess":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, run_recorded: RunRecorded, runs: Mapping[Path, Config]) -> dict[Path, RunResult]:
        """Call `run_recorded(runs, received)`, and return the result of each run."""
        return run_recorded(runs, self._received)

    def call(self, function: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
        """Call a function, and return its result."""
        return function(*arguments, **keywords)


def _begin(settings: Mapping[str, Any]) -> None:
    """Use some settings of JAX in the worker, and end it as soon as the process that started it has ended."""
    for name, value in settings.items():
        jax.config.update(name, value)
    # Ctrl-C and a closed terminal reach the sweep, too, which ends the worker. Between two runs the worker
    # does nothing about these signals; those that are ignored stay ignored.
    for number in set(SIGNALS) - {signal.SIGTERM}:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
