"""One process of a run that several processes train together.

JAX aborts a process that loses another one, from native code and with a stack trace. Therefore the run is
trained in a child process, and this process can report in a sentence what happened.
"""

import atexit
import os
import sys
import tempfile
import warnings
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import jax

from research import records
from research.config import Config, ConfigError, DistributedConfig
from research.parallel.distributed import is_writer, join, leave, silence
from research.records import RunResult
from research.runs.callbacks import ProgressBar
from research.runs.preemption import stop_on_signal
from research.runs.run import configure_jax, run
from research.runs.worker import RunError, Worker
from research.training.callback import Callback
from research.utils.signals import noticed_signals

LOST_ITS_PEER = "JAX distributed service detected fatal errors"
"""A part of the message that JAX logs before it aborts a process that lost another one."""

BETWEEN_PROCESSES = ("gloo", "nccl", "coordination", "socket closed", "connection reset")
"""Words of the error that a collective operation raises after another process has ended."""


class LostError(RuntimeError):
    """Another process of the run has ended or does not answer."""


def run_distributed(config: Config, folder: Path, *, resume: bool = False) -> tuple[RunResult, bool]:
    """Train as one of the processes of a run, and return the result.

    Returns:
        The result, and whether this is the process that should report it.

    Raises:
        ConfigError: the other processes cannot be found.
        RunError: a process of the run died.
    """
    with (
        tempfile.NamedTemporaryFile("r") as log,
        noticed_signals(lambda number: None) as received,
        Worker(received) as worker,
    ):
        joined = False
        try:
            worker.call(silence, log.name)
            worker.call(_join, config.distributed)
            joined = True
            return worker.call(_take_part, config, folder, resume)
        except LostError as error:
            raise _lost(folder) from error
        except BrokenProcessPool as error:
            said = log.read()
            if (number := received()) is not None:  # it came before the run, or the run could not end in time
                sys.exit(128 + number)
            if not joined:
                raise _not_found(config.distributed) from error
            if LOST_ITS_PEER in said:
                raise _lost(folder) from error
            sys.stderr.write(said)
            raise RunError(
                f"the process that worked on {folder} died, so the other processes end, too"
            ) from error


def _join(distributed: DistributedConfig) -> None:
    atexit.register(os._exit, 1)  # otherwise JAX waits at exit for ended processes
    try:
        join(distributed.coordinator, distributed.num_processes, distributed.process_id, distributed.timeout)
    except jax.errors.JaxRuntimeError as error:  # only process 0 opens a port
        raise ConfigError(
            f"distributed.coordinator={distributed.coordinator} cannot be opened ({error}); give another port"
        ) from error
    except ValueError as error:
        raise ConfigError(
            "distributed.mode=auto is not allowed here, where JAX detects no SLURM, Open MPI or TPU pod; "
            "give distributed.coordinator, num_processes and process_id"
        ) from error


def _take_part(config: Config, folder: Path, resume: bool) -> tuple[RunResult, bool]:
    configure_jax(config)
    if not is_writer():
        warnings.simplefilter("ignore")  # all processes give the same warnings
    try:
        if resume and records.is_finished(folder):
            result = records.read_run(folder).outcome
        else:
            shown: list[Callback] = [ProgressBar()] if is_writer() else []
            with stop_on_signal(folder) as stop:
                result = run(config, folder, [stop, *shown], resume=resume)
        leave()
    except Exception as error:
        if any(word in str(error).lower() for word in BETWEEN_PROCESSES):
            raise LostError(str(error)) from None
        raise
    return result, is_writer()


def _not_found(distributed: DistributedConfig) -> ConfigError:
    if distributed.process_id == 0:
        return ConfigError(
            f"distributed.num_processes={distributed.num_processes}: not all of them connected to "
            f"{distributed.coordinator} within {distributed.timeout} s; start all of them, or give a longer "
            "distributed.timeout"
        )
    where = f"={distributed.coordinator}" if distributed.coordinator else ""
    return ConfigError(
        f"distributed.coordinator{where} did not answer within {distributed.timeout} s; start process 0 "
        "there, or give a longer distributed.timeout"
    )


def _lost(folder: Path) -> RunError:
    return RunError(
        f"another process of the run {folder} ended or does not answer, so this one ends, too; "
        "resume=true in all of them continues from the last checkpoint"
    )
