"""The training loop: everything impure about training, outside the compiled steps."""

import functools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.data import Split
from research.layers.base import Params, State
from research.training.epoch import epoch_order
from research.training.evaluate import measure, predict_all
from research.training.nans import Find, Watch, all_finite
from research.training.replicas import Asked, Examples, RunSteps, Training
from research.training.state import Batch, Metrics, TrainState

SECONDS_PER_CALL = 3.0  # progress, signals and checkpoints wait at most about this long for the device


# (order, first step to run) -> what a call reads, and from which of its steps to which it runs
Feed = Callable[[jax.Array, int], Iterator[tuple[Examples, int, int]]]


class Program(NamedTuple):
    """The compiled functions of a run; shared by all runs that differ in data only."""

    init: Callable[..., TrainState]  # (key, learning_rate, weight_decay)
    run_steps: RunSteps
    predict: Callable[..., jax.Array]
    make_feed: Callable[[np.ndarray, np.ndarray], Feed]  # (images, labels)
    find: Find  # of ``nans.make_find``; compiled only where it is called
    largest: Callable[[float], float] = float  # of the values that the processes of the run give


@dataclass(frozen=True)
class EpochMetrics:
    """One line of ``metrics.jsonl``."""

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
    count: int = 0

    def plus(self, metrics: Metrics, start: int, stop: int) -> "Totals":
        """With the steps ``start`` to ``stop``, one by one: the same bits however an epoch is cut."""
        # not sum(), which since Python 3.12 carries a correction along
        loss = functools.reduce(operator.add, metrics.loss[start:stop].tolist(), self.loss)
        return Totals(loss, self.correct + int(metrics.correct), self.count + int(metrics.count))


class Position(NamedTuple):
    """Where training is: all that it takes to go on from there as if it had never stopped.

    The epoch and the place in it follow from ``state.step`` and from the number of epochs in ``history``.
    """

    state: TrainState
    best: tuple[Params, State]  # of the best epoch so far; before the first epoch's end those of the start
    history: tuple[EpochMetrics, ...] = ()
    totals: Totals = Totals()
    seconds: float = 0.0  # of training so far, without compilation and validation


class FitResult(NamedTuple):
    """Where training ended."""

    status: str  # completed, diverged or preempted
    params: Params | None  # those of the best validation accuracy, or the last; None unless completed
    model_state: State | None
    best_epoch: int  # 0 where no epoch was completed
    history: tuple[EpochMetrics, ...]
    num_steps: int
    seconds: float  # of training, without compilation and validation
    error: str | None = None  # what was not finite, and at which step


def first_position(state: TrainState) -> Position:
    """Where training begins."""
    best = jax.tree.map(jnp.copy, (state.params, state.model_state))  # the state itself is donated
    return Position(state, best)


def best_epoch(history: Sequence[EpochMetrics]) -> int:
    """The first epoch of the best validation accuracy; 0 before the end of the first epoch."""
    return max(history, key=lambda line: line.validation_accuracy).epoch if history else 0


def fit(
    program: Program,
    position: Position,
    feed: Feed,
    validation: Split,
    *,
    num_train: int,
    order_key: jax.Array,
    epochs: int,
    batch_size: int,
    eval_batch_size: int,
    learning_rate_at: Callable[[int], float],
    keep: str = "best",
    patience: int | None = None,
    scan_steps: int | None = None,
    pause_every: int | None = None,
    find_nans: bool = False,
    on_pause: Callable[[Position], bool] = lambda position: False,
    on_progress: Callable[[int], None] = lambda steps: None,
    on_epoch: Callable[[EpochMetrics], None] = lambda metrics: None,
) -> Training[FitResult]:
    """Train for some epochs, validating after each; ``together`` drives it.

    Args:
        program: compiled functions.
        position: where to begin, ``first_position`` or one that ``on_pause`` was given; not to be used again.
        feed: of the examples to train on, from ``program.make_feed``; runs that go together share it.
        validation: examples that choose.
        num_train: examples to train on.
        order_key: typed key of the order of examples; paired runs share it.
        epochs: passes over the training split.
        batch_size: examples per step.
        eval_batch_size: examples per batch of validation.
        learning_rate_at: step -> learning rate, for the log.
        keep: "best" keeps the parameters of the best validation accuracy, "last" those of the last epoch.
        patience: stop after this many epochs without a better validation accuracy.
        scan_steps: most steps per call of the program; ``None`` aims at ``SECONDS_PER_CALL``.
        pause_every: pause at each multiple of so many steps, whatever the length of a call.
        find_nans: keep a copy of the state, and say of a run that diverges where the first bad value was.
        on_pause: called after each call of the program; training stops where it returns true.
        on_progress: called with the number of steps just done.
        on_epoch: called after each epoch.

    Returns:
        Status "diverged" if a loss, or a parameter at the end of an epoch, was not finite, "preempted" if
        ``on_pause`` said so: training stops there.
    """
    state, best, history, totals, seconds = position
    step, steps_per_epoch = int(state.step), num_train // batch_size
    steps_per_call = scan_steps or 1
    watch = Watch(program.run_steps, program.find) if find_nans else None

    def ended(
        status: str,
        params: Params | None = None,
        model_state: State | None = None,
        *,
        error: str | None = None,
    ) -> FitResult:
        epoch = len(history) if keep == "last" else best_epoch(history)
        return FitResult(status, params, model_state, epoch, history, step, seconds, error)

    def diverged(what: str) -> FitResult:
        first = watch and (watch.find() or _first_of(program.find, state, validation, eval_batch_size))
        return ended("diverged", error=f"{what}; first in {first}" if first else what)

    for epoch in range(len(history) + 1, epochs + 1):
        if patience is not None and epoch - 1 - best_epoch(history) >= patience:
            break
        order = epoch_order(order_key, epoch, num_train, batch_size)
        for examples, start, end in feed(order, step - (epoch - 1) * steps_per_epoch):
            while start < end:
                stop = min(end, start + steps_per_call)
                if pause_every:
                    stop = min(stop, start + pause_every - step % pause_every)
                if watch:
                    watch.before(state, examples, start, stop)
                state, metrics, stop, share, elapsed = yield Asked(
                    program.run_steps, state, examples, step, start, stop
                )
                totals = totals.plus(metrics, start, stop)
                seconds += share
                elapsed = program.largest(elapsed)  # one clock for all processes
                steps_per_call = scan_steps or max(1, round(SECONDS_PER_CALL * (stop - start) / elapsed))
                step += stop - start
                finite = np.isfinite(metrics.loss[start:stop])
                if not finite.all():
                    bad_step = step - len(finite) + int(finite.argmin()) + 1
                    return diverged(f"the loss is not finite at step {bad_step}")
                on_progress(stop - start)
                start = stop
                if on_pause(Position(state, best, history, totals, seconds)):
                    return ended("preempted")
        # here alone: a step later its loss shows it, and so the message does not depend on where calls end
        if not all_finite((state.params, state.model_state)):
            return diverged(f"the parameters are not finite after step {step}")
        logits = predict_all(
            program.predict, state.params, state.model_state, validation.images, eval_batch_size
        )
        loss, accuracy = measure(logits, validation.labels)
        if not math.isfinite(loss):
            return diverged(f"the validation loss is not finite after step {step}")
        line = EpochMetrics(
            epoch=epoch,
            step=step,
            train_loss=totals.loss / totals.count,
            train_accuracy=totals.correct / totals.count,
            validation_loss=loss,
            validation_accuracy=accuracy,
            learning_rate=learning_rate_at(step - 1),
            seconds=seconds,
        )
        history = (*history, line)
        totals = Totals()
        if keep == "best" and best_epoch(history) == epoch:
            best = jax.tree.map(jnp.copy, (state.params, state.model_state))  # the state itself is donated
        on_epoch(line)
    params, model_state = best if keep == "best" else (state.params, state.model_state)
    return ended("completed", params, model_state)


def _first_of(find: Find, state: TrainState, split: Split, batch_size: int) -> str | None:
    """The first value of an evaluation that is not finite."""
    for start in range(0, len(split.labels), batch_size):
        batch = Batch(*(jnp.asarray(array[start : start + batch_size]) for array in split))
        if name := find(state, batch, False):
            return f"{name} at validation"
    return None
