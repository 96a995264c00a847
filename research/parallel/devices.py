"""How many devices a program asks for, before and after JAX has started."""

import contextlib
import math
import os
from collections.abc import Sequence

import jax

from research.utils.cpus import num_cpus

MAX_CPU_DEVICES = 256  # each takes threads; a layout of more says that there are not so many

THREADS_PER_DEVICE = 4
"""A device that waits for the others in a collective holds a thread of XLA's pool, which has as many as there
are processors; where all of them wait, the process dies. See `docs/benchmarks/log.md`."""


def count_cpu_devices(num_devices: int | None, axes: Sequence[int | None]) -> int:
    """CPU devices that JAX should make: as many as asked for, else one per core this process may use.

    Example:
        >>> count_cpu_devices(None, (4, 2)), count_cpu_devices(3, (None, 1))
        (8, 3)
    """
    if num_devices is None and None not in axes:
        num_devices = math.prod(size or 1 for size in axes)
    return min(num_devices or num_cpus(), MAX_CPU_DEVICES)


def request_cpu_devices(count: int) -> None:
    """Have JAX make ``count`` CPU devices; without effect once it has started, or on accelerators."""
    if count > 1:
        given = os.environ.get("PJRT_NPROC", "")
        threads = max(THREADS_PER_DEVICE * count, num_cpus(), int(given) if given.isdecimal() else 0)
        os.environ["PJRT_NPROC"] = str(threads)
    with contextlib.suppress(RuntimeError):  # once started; a layout that needs more devices says so
        jax.config.update("jax_num_cpu_devices", count)
