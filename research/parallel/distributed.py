"""Several processes as one JAX program: how they connect, agree on a value and disconnect."""

import os
import sys
from typing import NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

HEARTBEAT_SECONDS = 30
"""The time in seconds without a heartbeat after which a process counts as dead."""

LAUNCHERS = (
    ("OMPI_MCA_orte_hnp_uri", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_PROCID"),
)
"""The launchers in the order in which JAX looks for them. Each has three environment variables: one that
shows that it is used, the number of processes, and the index of this process."""


class Process(NamedTuple):
    """The index of this process among the processes of a program.

    Args:
        process_id: number of this process, from 0.
        num_processes: number of processes of the program.
    """

    process_id: int
    num_processes: int


_process = Process(0, 1)
"""This process; `join` replaces it."""


def join(coordinator: str | None, num_processes: int | None, process_id: int | None, timeout: int) -> None:
    """Make this process one of the processes of a program, before JAX starts its devices.

    If JAX cannot reach the other processes in time, or loses one of them later, it aborts this process. If
    the first three arguments are `None`, JAX detects them from the cluster.

    Args:
        coordinator: the address `host:port` of process 0.
        num_processes: the number of processes of the program.
        process_id: the number of this process, from 0.
        timeout: the number of seconds to wait for the other processes.

    Raises:
        ValueError: JAX detects no cluster.
    """
    global _process
    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # JAX has no other for several CPUs
    jax.distributed.initialize(
        coordinator,
        num_processes,
        process_id,
        # Either all values are given or all are detected. On a GPU cluster JAX also detects which devices
        # belong to each process.
        cluster_detection_method="deactivate" if coordinator else None,
        initialization_timeout=timeout,
        heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
    )
    if process_id is None or num_processes is None:
        _process = _detected()
    else:
        _process = Process(process_id, num_processes)


def num_processes() -> int:
    """Return the number of processes of the program, without starting JAX."""
    return _process.num_processes


def is_writer() -> bool:
    """Return whether this process is the one that writes files and prints, without starting JAX."""
    return _process.process_id == 0


def _detected() -> Process:
    """Return which process this is among those that JAX detected."""
    for marker, count, index in LAUNCHERS:
        if marker in os.environ:
            return Process(int(os.environ[index]), int(os.environ[count]))
    return Process(jax.process_index(), jax.process_count())  # starts the devices


def largest(value: float) -> float:
    """Return the largest of the values of all processes. Every process must call this function."""
    if num_processes() == 1:
        return value
    return float(multihost_utils.process_allgather(np.float32(value)).max())


def leave() -> None:
    """Disconnect when all processes have called this function. Process 0 must not end before the others."""
    jax.distributed.shutdown()


def silence(log: str) -> None:
    """Redirect what native code writes to standard output and standard error to a file.

    Python code still prints to the real standard output and standard error.

    Args:
        log: the path of the file.
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    for number, name in ((1, "stdout"), (2, "stderr")):
        getattr(sys, name).flush()
        setattr(sys, name, os.fdopen(os.dup(number), "w", buffering=1, errors="backslashreplace"))
        os.dup2(descriptor, number)
