"""The base class of callbacks, and the values that `fit` passes to them."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from research.layers.base import Params, State
from research.training.state import TrainState


@dataclass(frozen=True)
class EpochMetrics:
    """The metrics of an epoch, a line of `metrics.jsonl`."""

    epoch: int
    step: int
    train_loss: float  # nats, mean over the epoch's batches as they were trained on
    train_accuracy: float
    validation_loss: float | None  # None without a validation split
    validation_accuracy: float | None
    learning_rate: float
    seconds: float  # of training so far, without compilation and validation


class Totals(NamedTuple):
    """Sums over the examples of an epoch so far."""

    loss: float = 0.0  # nats
    correct: int = 0
    num_examples: int = 0


class Position(NamedTuple):
    """The position of training, from which it can continue as if it had never stopped.

    The epoch and the step in it follow from `state.step` and from the number of epochs in `history`.
    """

    state: TrainState
    best: tuple[Params, State]  # of the best epoch so far, or of the start before the first epoch ends
    history: tuple[EpochMetrics, ...] = ()
    totals: Totals = Totals()
    seconds: float = 0.0  # of training so far, without compilation and validation


class Callback:
    """The base class of callbacks. Its methods do nothing, and a subclass overrides some of them.

    `fit` calls the methods of its callbacks in the order of the list. An exception in a method ends training.
    The state in a position is donated to the next step, so a callback that keeps the state must copy it.
    """

    def on_start(self, position: Position, num_steps: int) -> None:
        """`fit` calls this before the first step of a run, which has `num_steps` steps in total."""

    def on_steps(self, position: Position, count: int) -> str | None:
        """`fit` calls this after each call of the compiled steps, which were `count` steps.

        Returns:
            `None` to continue, or a text that says why training must stop. The status is then "preempted".
        """

    def on_epoch(self, metrics: EpochMetrics) -> str | None:
        """`fit` calls this at the end of an epoch.

        Returns:
            `None` to continue, or a text that says why the run is given up. The status is then "stopped", and
            the run cannot continue. After the last epoch a text has no effect.
        """

    def on_stop(self, position: Position) -> None:
        """`fit` calls this with the last position, after a callback has stopped training."""

    def on_complete(self, position: Position) -> None:
        """`fit` calls this with the last position, when all epochs are trained or patience is at its end."""

    def on_end(self) -> None:
        """`fit` calls this when training is over, even if `on_start` or a step raised an exception."""


@contextlib.contextmanager
def started(callbacks: Sequence[Callback], position: Position, num_steps: int) -> Iterator[None]:
    """Call `on_start` of each callback, and `on_end` of each, in reverse order, at the end of the block.

    If the block raises an exception, exceptions of `on_end` are ignored.
    """
    told: list[Callback] = []
    try:
        for callback in callbacks:
            told.insert(0, callback)
            callback.on_start(position, num_steps)
        yield
    except BaseException:
        for callback in told:
            with contextlib.suppress(Exception):
                callback.on_end()
        raise
    with contextlib.ExitStack() as stack:  # every on_end is called, even if one of them raises
        for callback in reversed(told):
            stack.callback(callback.on_end)
