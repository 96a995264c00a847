"""The processors that this process may use."""

import os


def num_cpus() -> int:
    """Return the number of processors in the affinity mask of this process, or else of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
