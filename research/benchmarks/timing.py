"""Alternating timings and their quartiles, which every benchmark here uses."""

import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax


class Quartiles(NamedTuple):
    """Lower quartile, median and upper quartile of the seconds of several rounds."""

    lower: float
    median: float
    upper: float


def quartiles(seconds: list[float]) -> Quartiles:
    """Return the quartiles of at least two timings, which lie within the range of the timings.

    Example:
        >>> quartiles([1.0, 2.0, 3.0, 4.0, 5.0])
        Quartiles(lower=2.0, median=3.0, upper=4.0)
    """
    return Quartiles(*statistics.quantiles(seconds, n=4, method="inclusive"))


def alternate(works: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Time pieces of work in turn, so that a machine that slows down slows all of them down.

    Args:
        works: the pieces of work by name. Each is called once before it is timed. `jax.block_until_ready`
            waits for what it returns.
        rounds: number of timings of each; every second round has the opposite order.

    Returns:
        Seconds of every round, by name.
    """
    for work in works.values():
        jax.block_until_ready(work())
    return take_turns({name: partial(time_call, work) for name, work in works.items()}, rounds)


def take_turns(timers: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every round, by name.

    Args:
        timers: functions by name; each does a piece of work and returns the seconds that it took.
        rounds: number of timings of each; every second round has the opposite order.
    """
    seconds: dict[str, list[float]] = {name: [] for name in timers}
    for index in range(rounds):
        for name in list(timers)[:: -1 if index % 2 else 1]:
            seconds[name].append(timers[name]())
    return seconds


def time_call(work: Callable[[], Any]) -> float:
    """Return the seconds that a piece of work takes, until the arrays that it returns are ready."""
    began = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - began


def make_gemm(size: int | None = None, repeats: int = 8) -> tuple[Callable[[], jax.Array], float]:
    """Return the matrix product that all timings are compared with.

    Args:
        size: number of rows and columns of the float32 matrices; `None`: 1024 on the CPU, 8192 elsewhere.
        repeats: number of products in one call; each reads the result of the one before.

    Returns:
        The work and its floating-point operations.
    """
    size = size or (1024 if jax.default_backend() == "cpu" else 8192)
    # the matrix has spectral radius 1, so its powers neither grow nor vanish
    a = jax.random.normal(jax.random.key(0), (size, size)) / size**0.5
    products = jax.jit(lambda a: jax.lax.fori_loop(0, repeats, lambda _, b: a @ b, a))
    return lambda: products(a), 2.0 * repeats * size**3
