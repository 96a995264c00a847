"""The time that a call takes."""

import statistics
import time
from collections.abc import Callable
from typing import Any


def median_milliseconds(call: Callable[[], Any], seconds: float = 1.0, warm_up: float = 0.2) -> float:
    """Return the median time of a call in milliseconds.

    Args:
        call: the work, which has ended when it returns.
        seconds: how long calls are timed; at least three calls.
        warm_up: how long calls run before, at least one of them, so that caches and threads are ready.
    """
    began = time.perf_counter()
    call()
    while time.perf_counter() - began < warm_up:
        call()
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)
