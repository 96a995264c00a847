"""Several processes as one JAX program: how they connect, agree on a value and disconnect."""

import os
import sys

import jax
import numpy as np
from jax._src.distributed import global_state  # jax.process_index() would start the devices
from jax.experimental import multihost_utils

HEARTBEAT_SECONDS = 30
"""The number of seconds without a heartbeat after which a process counts as dead."""


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
    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # there is no other for several CPUs
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


def num_processes() -> int:
    """Return the number of processes of the program, without starting the devices of JAX."""
    return global_state.num_processes


def is_writer() -> bool:
    """Return whether this process writes files and prints, without starting the devices of JAX."""
    return global_state.process_id == 0


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

    What Python code prints still goes to standard output and standard error.

    Args:
        log: the path of the file.
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    for number, name in ((1, "stdout"), (2, "stderr")):
        getattr(sys, name).flush()
        setattr(sys, name, os.fdopen(os.dup(number), "w", buffering=1))
        os.dup2(descriptor, number)
