"""What `fit` tells others while it trains."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from research.layers.base import Params, State
from research.training.state import TrainState


@dataclass(frozen=True)
class EpochMetrics:
    """One line of `metrics.jsonl`."""

    epoch: int
    step: int
    train_loss: float  # nats, mean over the epoch's batches as they were trained on
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    seconds: float  # of training so far, without compilation and validation


class Totals(NamedTuple):
    """Sums over the examples of an epoch so far."""

    loss: float = 0.0  # nats
    correct: int = 0
    num_examples: int = 0


class Position(NamedTuple):
    """Where training is: all that it takes to continue from there as if it had never stopped.

    The epoch and the place in it follow from `state.step` and from the number of epochs in `history`.
    """

    state: TrainState
    best: tuple[Params, State]  # of the best epoch so far; before the first epoch's end those of the start
    history: tuple[EpochMetrics, ...] = ()
    totals: Totals = Totals()
    seconds: float = 0.0  # of training so far, without compilation and validation


class Callback:
    """Is told what happens in training. Every method does nothing here; a subclass overrides some.

    `fit` calls the methods of its callbacks in the order of the list. An exception that a method raises
    ends the training. The state in a position is donated to the next step, so a callback that keeps it has to
    copy it.
    """

    def on_start(self, position: Position, num_steps: int) -> None:
        """Be told, before the first step, where training begins and of how many steps a whole run is."""

    def on_steps(self, position: Position, count: int) -> str | None:
        """Be told, after each call of the compiled steps, where training is and how many steps were run.

        Returns:
            `None` to continue. A text stops training with the status "preempted"; it says why.
        """

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Be told the metrics of an epoch that has ended."""

    def on_stop(self, position: Position) -> None:
        """Be told where training was when a callback stopped it."""

    def on_end(self) -> None:
        """Be told that training is over, however it ended, even if `on_start` or a step raised."""


@contextlib.contextmanager
def started(callbacks: Sequence[Callback], position: Position, num_steps: int) -> Iterator[None]:
    """Call `on_start` of each callback, and `on_end` of each, in reverse order, at the end of the block.

    If the block raised, the exceptions of `on_end` are dropped in favour of that one.
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
