"""Runs that advance in lockstep: each has a thread, and one program runs the training steps of all."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import jax

from research.training.program import Examples, RunMany, StepResult
from research.training.state import TrainState

T = TypeVar("T")


class Request(NamedTuple):
    """The training steps that a run asks for; see `RunSteps`.

    Args:
        run_many: the program for several runs.
        step: number of steps that the run has done.
        state: the state of the run.
        examples: the examples of the run.
        start: first step of the epoch to run.
        stop: step of the epoch before which to stop.
    """

    run_many: RunMany | None
    step: int
    state: TrainState
    examples: Examples
    start: int
    stop: int


class Lockstep:
    """Runs several runs, each in a thread of its own, so that their training steps are calls of one program.

    One thread works at a time, in the order of the runs. When every run waits or has ended, the runs with the
    fewest steps advance in one call of the program. When all have done equally many steps, all advance.
    """

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._requests: dict[int, Request | None] = {}
        self._answers: dict[int, Any] = {}
        self._live = 0

    def run(self, works: Sequence[Callable[[], T]]) -> list[T]:
        """Call functions, each in a thread of its own, and return their results.

        Args:
            works: the functions; each may call `meet` and `run_steps` with its index in this list.
        """
        futures: list[Future[T]] = []
        with (
            ThreadPoolExecutor(len(works)) as pool,
            self._turn,
        ):  # no function is called before all are submitted
            for work in works:
                futures.append(pool.submit(self._take_part, work))
                self._live += 1
        return [future.result() for future in futures]

    def meet(self, index: int) -> None:
        """Wait until every other run waits, too, or has ended."""
        self._ask(index, None)

    def run_steps(self, index: int, run_many: RunMany | None, state: TrainState, *rest: Any) -> StepResult:
        """Run training steps together with the other runs; see `RunSteps`."""
        return self._ask(index, Request(run_many, int(state.step), state, *rest))

    def _take_part(self, work: Callable[[], T]) -> T:
        with self._turn:
            try:
                return work()
            finally:
                self._live -= 1
                self._answer_all()

    def _ask(self, index: int, request: Request | None) -> Any:
        self._requests[index] = request
        self._answer_all()
        self._turn.wait_for(lambda: index == min(self._answers, default=None))
        answer = self._answers.pop(index)
        self._turn.notify_all()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _answer_all(self) -> None:
        if self._requests and len(self._requests) == self._live:
            waiting = {index: self._requests[index] for index in sorted(self._requests)}
            steps = {index: request for index, request in waiting.items() if request is not None}
            answers = dict.fromkeys(waiting) if len(steps) < len(waiting) else take_steps(steps)
            self._answers |= answers
            self._requests = {index: each for index, each in waiting.items() if index not in answers}
        self._turn.notify_all()


def take_steps(waiting: Mapping[int, Request]) -> dict[int, StepResult | Exception]:
    """Run the steps of the requests with the fewest steps, and return the result or the error of each."""
    first, *others = sorted({request.step for request in waiting.values()})
    behind = {index: request for index, request in waiting.items() if request.step == first}
    run_many, _, _, _, start, _ = next(iter(behind.values()))
    stop = min(request.stop for request in behind.values())
    stop = min(stop, start + others[0] - first) if others else stop
    states, examples = zip(*((request.state, request.examples) for request in behind.values()), strict=True)
    began = time.perf_counter()
    try:
        assert run_many is not None
        trained = run_many(states, examples, start, stop)
        metrics = jax.device_get([each for _, each in trained])
    except Exception as error:
        return dict.fromkeys(behind, error)
    seconds = time.perf_counter() - began
    results = [
        StepResult(state, each, stop, seconds, len(behind))
        for (state, _), each in zip(trained, metrics, strict=True)
    ]
    return dict(zip(behind, results, strict=True))
