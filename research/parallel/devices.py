"""The number of devices that JAX makes on the CPU."""

import contextlib
import math
import os
from collections.abc import Sequence

import jax

from research.utils.cpus import num_cpus

MAX_CPU_DEVICES = 256
"""The largest number of CPU devices, each of which needs threads. A layout of more raises an error."""

THREADS_PER_DEVICE = 4
"""The number of threads in the pool of XLA for each CPU device.

A device that waits for others in a collective operation holds a thread of the pool. By default the pool has
as many threads as there are processors, and if all of them wait, the process dies. See
`docs/benchmarks/log.md`.
"""


def count_cpu_devices(num_devices: int | None, axes: Sequence[int | None]) -> int:
    """Return the number of CPU devices that JAX should make.

    Args:
        num_devices: the number that the configuration asks for, or `None`.
        axes: the sizes of the axes of the mesh. If `num_devices` is `None`, their product is the number of
            devices. If one of the sizes is `None` too, there is a device for each processor of this process.

    Example:
        >>> count_cpu_devices(None, (4, 2)), count_cpu_devices(3, (None, 1))
        (8, 3)
    """
    if num_devices is None and None not in axes:
        num_devices = math.prod(size or 1 for size in axes)
    return min(num_devices or num_cpus(), MAX_CPU_DEVICES)


def request_cpu_devices(count: int) -> None:
    """Make JAX use `count` CPU devices. This has no effect after JAX has started, or on accelerators."""
    if count > 1:
        given = os.environ.get("PJRT_NPROC", "")
        threads = max(THREADS_PER_DEVICE * count, num_cpus(), int(given) if given.isdecimal() else 0)
        os.environ["PJRT_NPROC"] = str(threads)
    with contextlib.suppress(RuntimeError):  # JAX has started; a layout with more devices raises an error
        jax.config.update("jax_num_cpu_devices", count)
