"""Several processes as one JAX program: how they find each other, agree, and part."""

import os
import sys

import jax
import numpy as np
from jax._src.distributed import global_state  # jax.process_index() and its like would start the devices
from jax.experimental import multihost_utils

HEARTBEAT_SECONDS = 30  # without a sign of life, after which a process counts as dead


def join(coordinator: str | None, num_processes: int | None, process_id: int | None, timeout: int) -> None:
    """Become one of the processes of a program, before JAX starts its devices.

    Where JAX cannot reach the others in time, or loses one later, it aborts this process.

    Args:
        coordinator: ``host:port`` of process 0; ``None``, as the other two, for what JAX detects.
        num_processes: of the program.
        process_id: of this one, from 0.
        timeout: seconds to wait for the others.

    Raises:
        ValueError: JAX detects nothing.
    """
    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # on a CPU there is no other
    jax.distributed.initialize(
        coordinator,
        num_processes,
        process_id,
        # all is given by hand or all is detected; on a GPU cluster that includes the devices of a process
        cluster_detection_method="deactivate" if coordinator else None,
        initialization_timeout=timeout,
        heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
    )


def num_processes() -> int:
    """Processes of the program; does not start JAX."""
    return global_state.num_processes


def is_writer() -> bool:
    """Whether this process is the one that writes files and talks; does not start JAX."""
    return global_state.process_id == 0


def largest(value: float) -> float:
    """The largest of the values that the processes give; all must call it."""
    if num_processes() == 1:
        return value
    return float(multihost_utils.process_allgather(np.float32(value)).max())


def leave() -> None:
    """Wait until all processes are done, and part from them: process 0 may not end before the others."""
    jax.distributed.shutdown()


def silence(log: str) -> None:
    """Send what native code writes to standard output and error to a file; Python still writes to both."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    for number, name in ((1, "stdout"), (2, "stderr")):
        getattr(sys, name).flush()
        setattr(sys, name, os.fdopen(os.dup(number), "w", buffering=1))
        os.dup2(descriptor, number)
