"""Processors of this machine that the process may use."""

import os


def num_cpus() -> int:
    """How many processors this process may run on: those of its affinity mask, where there is one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
