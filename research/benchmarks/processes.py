"""Processes of one JAX program, each of which does and times the pieces of work that it is asked for."""

import multiprocessing
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, Protocol, runtime_checkable

import jax

from research.benchmarks.timing import time_call
from research.parallel.distributed import join, silence
from research.runs.settings import pinned_settings

Work = Callable[[], Any]
"""A function that does a piece of work and returns arrays that may not be ready yet."""

START_SECONDS = 120


@runtime_checkable
class Prepare(Protocol):
    """A function that prepares the work of one process."""

    def __call__(self, *arguments: Any, **more: Any) -> tuple[Mapping[str, Work], Mapping[str, Any]]:
        """Return the pieces of work by name, and facts about each."""
        ...


class Processes:
    """Processes that are ready when the `with` block begins and that end when the block ends.

    Args:
        prepare: the function that each process calls.
        arguments: the arguments of `prepare`.
        count: number of processes; several processes run one program.
        cores: the core of each process; `None` binds no process to a core.
    """

    def __init__(
        self, prepare: Prepare, arguments: Sequence[Any], count: int = 1, cores: Sequence[int] | None = None
    ) -> None:
        context = multiprocessing.get_context("spawn")
        port = _free_port()
        self._processes, self._pipes = [], []
        for index in range(count):
            here, there = context.Pipe()
            place = (index, count, port, cores[index] if cores else None)
            process = context.Process(
                target=_serve, args=(there, place, prepare, tuple(arguments)), daemon=True
            )
            process.start()
            there.close()
            self._processes.append(process)
            self._pipes.append(here)

    def __enter__(self) -> "Processes":
        try:
            self.facts, *_ = [self._receive(pipe) for pipe in self._pipes]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.join()

    def time(self, name: str) -> float:
        """Return the seconds that the slowest process takes for a piece of work."""
        for pipe in self._pipes:
            pipe.send(name)
        return max(self._receive(pipe) for pipe in self._pipes)

    def _receive(self, pipe: Connection) -> Any:
        try:
            answer = pipe.recv()
        except EOFError:
            raise RuntimeError("a process of the benchmark died") from None
        if isinstance(answer, Exception):
            raise answer
        return answer


@pinned_settings()
def _serve(
    pipe: Connection, place: tuple[int, int, int, int | None], prepare: Prepare, arguments: tuple[Any, ...]
) -> None:
    index, count, port, core = place
    silence(os.devnull)  # gloo prints on standard output that it is connected
    if core is not None:
        os.sched_setaffinity(0, {core})  # before JAX starts as many threads as there are cores
    try:
        if count > 1:
            join(f"127.0.0.1:{port}", count, index, START_SECONDS)
        works, facts = prepare(*arguments)
        for work in works.values():
            jax.block_until_ready(work())
    except Exception as error:
        pipe.send(error)
        return
    pipe.send(facts)
    while True:
        pipe.send(time_call(works[pipe.recv()]))


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
