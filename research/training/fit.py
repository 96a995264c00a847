"""The training loop. It is the impure part of training, outside of the compiled steps."""

import functools
import math
import operator
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from research.data import Split
from research.layers.base import Params, State
from research.training.callback import Callback, EpochMetrics, Position, Totals, started
from research.training.epoch import epoch_order
from research.training.evaluate import measure, predict_all
from research.training.nans import Watch, all_finite, first_in_validation
from research.training.optimizers import set_learning_rate
from research.training.program import Feed, Program
from research.training.state import Metrics, TrainState, copy_arrays, eval_params

SECONDS_PER_CALL = 3.0
"""The intended time of a call of the program, in seconds. Callbacks are called after each call."""


@dataclass(frozen=True)
class FitOptions:
    """The options of `fit`.

    Args:
        keep: "best" keeps the parameters of the best epoch, "last" those of the last epoch.
        monitor: name in `MONITORS` of the score by which `best_epoch` finds the best epoch.
        patience: stop after this many epochs without a better epoch; `None` never stops.
        scan_steps: largest number of steps per call of the program; `None` chooses as many as take about
            `SECONDS_PER_CALL`.
        checkpoint_every: number of steps between checkpoints; a call ends at each multiple of it.
        find_nans: keep a copy of the state, and name the first value that is not finite if a run diverges.
        labels: the labels of the training examples, if an epoch draws equally many of each class.
        learning_rate: peak learning rate, which is written to the metrics.
        plateau: a function from the history to the factor of the learning rate in the next epoch.
        prune: a function from a state and an epoch to the state with which the epoch begins.
        first_epoch: the first epoch that can be the best one, because the network is pruned before.
    """

    keep: str = "best"
    monitor: str = "accuracy"
    patience: int | None = None
    scan_steps: int | None = None
    checkpoint_every: int | None = None
    find_nans: bool = False
    labels: np.ndarray | None = None
    learning_rate: float = 1.0
    plateau: Callable[[Sequence[EpochMetrics]], float] = lambda history: 1.0
    prune: Callable[[TrainState, int], TrainState] = lambda state, epoch: state
    first_epoch: int = 1


class FitResult(NamedTuple):
    """The result of `fit`."""

    status: str  # completed, diverged, preempted or stopped
    params: Params | None  # the parameters that `keep` selects; None unless completed
    model_state: State | None
    best_epoch: int  # the epoch of these parameters, from 1; 0 if no epoch was completed
    history: tuple[EpochMetrics, ...]
    num_steps: int
    seconds: float  # the time of training, without compilation and validation
    error: str | None = None  # the value that was not finite and its step, or the reason of a callback


def first_position(state: TrainState) -> Position:
    """Return the position at the start of a run, with its first state."""
    return Position(state, _copy(state))


MONITORS: dict[str, Callable[[EpochMetrics], tuple[float, ...]]] = {
    "accuracy": lambda line: (line.validation_accuracy or 0.0, -(line.validation_loss or 0.0)),
    "loss": lambda line: (-(line.validation_loss or 0.0),),
}
"""Scores of an epoch on the validation split, of which the highest is the best; 0 without the split."""


def best_epoch(history: Sequence[EpochMetrics], monitor: str, first: int = 1) -> int:
    """Return the first of the epochs with the best score; the last epoch so far if none counts yet.

    Args:
        history: the metrics of the epochs so far.
        monitor: the name of the score in `MONITORS`.
        first: the first epoch that counts.
    """
    counted = history[first - 1 :]
    return max(counted, key=MONITORS[monitor]).epoch if counted else len(history)


def fit(
    program: Program,
    position: Position,
    feed: Feed,
    validation: Split,
    *,
    order_key: jax.Array,
    options: FitOptions = FitOptions(),
    callbacks: Sequence[Callback] = (),
) -> FitResult:
    """Train to the end of the program's schedule, and validate after each epoch.

    Args:
        program: the compiled functions and their numbers.
        position: the start: `first_position`, or a position that a callback was given. It is donated.
        feed: yields the training examples; `program.make_feed` returns it.
        validation: the examples that choose the best epoch; none are allowed if the last epoch is kept and no
            patience is given.
        order_key: the typed key of the order of the training examples.
        options: the options of training.
        callbacks: the callbacks. Any of them can stop training.

    Returns:
        The status is "diverged" if a loss, or a parameter at the end of an epoch, was not finite, and
        "preempted" if `on_steps` of a callback stopped training, and "stopped" if `on_epoch` gave the run up;
        otherwise "completed".
    """
    state, best, history, totals, seconds = position
    best_so_far = functools.partial(best_epoch, monitor=options.monitor, first=options.first_epoch)
    step = int(state.step)
    steps_per_call = options.scan_steps or 1
    watch = Watch(program.run_steps, program.find) if options.find_nans else None

    def ended(status: str, kept: tuple[Params, State] | None = None, error: str | None = None) -> FitResult:
        epoch = len(history) if options.keep == "last" else best_so_far(history)
        return FitResult(status, *(kept or (None, None)), epoch, history, step, seconds, error)

    def diverged(what: str) -> FitResult:
        first = watch and (watch.find() or first_in_validation(program, state, validation))
        return ended("diverged", error=f"{what}; first in {first}" if first else what)

    orders = (
        epoch_order(order_key, epoch, program.num_train, program.batch_size, options.labels)
        for epoch in range(len(history) + 1, program.num_epochs + 1)
    )
    examples_ahead = feed(orders, step - len(history) * program.steps_per_epoch)
    with started(callbacks, position, program.num_steps), closing(examples_ahead):
        for epoch in range(len(history) + 1, program.num_epochs + 1):
            if options.patience is not None and epoch - 1 - best_so_far(history) >= options.patience:
                break
            if (factor := options.plateau(history)) != 1:
                opt_state = set_learning_rate(state.opt_state, factor * options.learning_rate)
                state = state._replace(opt_state=opt_state)
            if step == (epoch - 1) * program.steps_per_epoch:
                state = options.prune(state, epoch)
            for examples, start, end in examples_ahead:
                while start < end:
                    stop = min(end, start + steps_per_call)
                    if options.checkpoint_every:
                        stop = min(stop, start + options.checkpoint_every - step % options.checkpoint_every)
                    if watch:
                        watch.before(state, examples, start, stop)
                    result = program.run_steps(state, examples, start, stop)
                    state, metrics, stop = result.state, result.metrics, result.stop
                    count = stop - start
                    totals = _plus(totals, metrics, start, stop)
                    seconds += result.seconds / result.shared_by
                    longest = program.largest(result.seconds)  # so all processes choose equally many steps
                    steps_per_call = options.scan_steps or max(1, round(SECONDS_PER_CALL * count / longest))
                    step += count
                    finite = np.isfinite(metrics.loss[start:stop])
                    if not finite.all():
                        return diverged(
                            f"the loss is not finite at step {step - count + int(finite.argmin()) + 1}"
                        )
                    start = stop
                    position = Position(state, best, history, totals, seconds)
                    reasons = [callback.on_steps(position, count) for callback in callbacks]
                    if any(reasons):
                        for callback in callbacks:
                            callback.on_stop(position)
                        return ended("preempted", error=next(reason for reason in reasons if reason))
                if step == epoch * program.steps_per_epoch:
                    break
            # only checked here: earlier in the epoch, the loss of the next step is not finite either
            if not all_finite((state.params, state.model_state)):
                return diverged(f"the parameters are not finite after step {step}")
            loss, accuracy = _validate(program, state, validation)
            if loss is not None and not math.isfinite(loss):
                return diverged(f"the validation loss is not finite after step {step}")
            line = EpochMetrics(
                epoch=epoch,
                step=step,
                train_loss=totals.loss / totals.num_examples,
                train_accuracy=totals.correct / totals.num_examples,
                validation_loss=loss,
                validation_accuracy=accuracy,
                learning_rate=options.learning_rate * program.learning_rate_factor(step - 1) * factor,
                seconds=seconds,
            )
            history, totals = (*history, line), Totals()
            if options.keep == "best" and best_so_far(history) == epoch:
                best = _copy(state)
            reasons = [callback.on_epoch(line) for callback in callbacks]
            if any(reasons) and epoch < program.num_epochs:
                return ended("stopped", error=next(reason for reason in reasons if reason))
        for callback in callbacks:
            callback.on_complete(Position(state, best, history, totals, seconds))
    return ended("completed", best if options.keep == "best" else eval_params(state))


def _validate(program: Program, state: TrainState, split: Split) -> tuple[float | None, float | None]:
    """Return the loss and the accuracy on a split, or `None` for both if it has no examples."""
    if not len(split.labels):
        return None, None
    size = program.eval_batch_size
    return measure(predict_all(program.predict, *eval_params(state), split.images, size), split.labels)


def _plus(totals: Totals, metrics: Metrics, start: int, stop: int) -> Totals:
    """Return the totals with the steps `start` to `stop` added.

    The losses are added one by one, so the bits do not depend on how an epoch is split into calls.
    """
    # sum() would add a correction since Python 3.12, so its bits would depend on the split
    loss = functools.reduce(operator.add, metrics.loss[start:stop].tolist(), totals.loss)
    return Totals(
        loss, totals.correct + int(metrics.correct), totals.num_examples + int(metrics.num_examples)
    )


def _copy(state: TrainState) -> tuple[Params, State]:
    """Return a copy of the parameters that are evaluated, which stays valid after the state is donated."""
    return copy_arrays(eval_params(state))
