"""Several runs as one program: each waits for its steps and is told what came of them."""

import time
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from research.training.state import Metrics, TrainState

T = TypeVar("T")
Examples = tuple[jax.Array, jax.Array, jax.Array | None]  # images, labels, order
Trained = tuple[TrainState, Metrics]
# (states, examples, start, stop) of one run or of several, whose images and labels are the same
RunSteps = Callable[[Sequence[TrainState], Sequence[Examples], jax.Array, jax.Array], Sequence[Trained]]


class Asked(NamedTuple):
    """What a run waits for: steps of an epoch, at least one."""

    run_steps: RunSteps
    state: TrainState
    examples: Examples
    step: int  # that the run has done so far
    start: int  # the same, of this epoch
    stop: int  # at most


class Ran(NamedTuple):
    """What came of it."""

    state: TrainState
    metrics: Metrics  # on the host
    stop: int
    seconds: float  # the run's share of ``call_seconds``
    call_seconds: float


Training = Generator[Asked, Ran, T]


def one_by_one(run_steps: Callable[..., Trained]) -> RunSteps:
    """A program of one run as one of several."""
    return lambda states, examples, start, stop: [
        run_steps(state, *each, start, stop) for state, each in zip(states, examples, strict=True)
    ]


def make_run_replicas(run_steps: Callable[..., Trained], *, at_once: bool) -> Callable[..., Trained]:
    """Make ``run_replicas(states, images, labels, orders, start, stop, live) -> (states, metrics)``.

    States, orders ``[R, num_steps, B]``, metrics and ``live`` ``[R]`` have an axis of replicas in front;
    images and labels are shared. What comes of a replica that is not live is of no use.

    Args:
        run_steps: of ``make_run_steps``.
        at_once: whether every step is one of all replicas (``vmap``), which fills a wide device. Otherwise
            each replica runs all its steps before the next one begins (``lax.map``), to the bits of a run
            alone.
    """

    def run_replicas(
        states: TrainState,
        images: jax.Array,
        labels: jax.Array,
        orders: jax.Array,
        start: jax.Array,
        stop: jax.Array,
        live: jax.Array,
    ) -> Trained:
        def run(replica: tuple[Any, ...]) -> Trained:
            state, order, is_live = replica
            # at once all run as many, or each step would choose between the new state and the old
            last = stop if at_once else jnp.where(is_live, stop, start)
            return run_steps(state, images, labels, order, start, last)

        over = jax.vmap(run) if at_once else partial(jax.lax.map, run)
        return over((states, orders, live))

    return run_replicas


def together(trainings: Sequence[Training[T]]) -> list[T]:
    """Drive runs of one program to their ends; gives what they return.

    Those that are behind go first, so that all soon are at the same step, and then go on together. A run that
    ends leaves. An error of the program is raised in the runs that waited for it; what a run raises ends all.
    """
    asked: dict[int, Asked] = {}
    returned: dict[int, T] = {}

    def advance(index: int, resume: Callable[[], Asked]) -> None:
        asked.pop(index, None)
        try:
            asked[index] = resume()
        except StopIteration as ended:
            returned[index] = ended.value

    for index, training in enumerate(trainings):
        advance(index, partial(next, training))
    while asked:
        steps = sorted({each.step for each in asked.values()})
        turn = {index: each for index, each in asked.items() if each.step == steps[0]}
        first = next(iter(turn.values()))
        stop = min(each.stop for each in turn.values())
        if len(steps) > 1:
            stop = min(stop, first.start + steps[1] - steps[0])
        states, examples = [each.state for each in turn.values()], [each.examples for each in turn.values()]
        began = time.perf_counter()
        try:
            trained = first.run_steps(states, examples, jnp.int32(first.start), jnp.int32(stop))
            metrics = jax.device_get([each for _, each in trained])
        except Exception as error:
            for index in turn:
                advance(index, partial(trainings[index].throw, error))
            continue
        seconds = time.perf_counter() - began
        for index, (state, _), each in zip(turn, trained, metrics, strict=True):
            ran = Ran(state, each, stop, seconds / len(turn), seconds)
            advance(index, partial(trainings[index].send, ran))
    return [returned[index] for index in range(len(trainings))]
