"""The training loop: everything impure about training, outside the compiled steps."""

import functools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.data import Split
from research.layers.base import Params, State
from research.training.callback import Callback, EpochMetrics, Position, Totals, started
from research.training.epoch import epoch_order
from research.training.evaluate import measure, predict_all
from research.training.nans import Watch, all_finite, first_in_validation
from research.training.program import Feed, Program
from research.training.state import Metrics, TrainState

SECONDS_PER_CALL = 3.0
"""Aim for the length of a call of the program, in seconds: callbacks wait for about as long at most."""


@dataclass(frozen=True)
class FitOptions:
    """How `fit` trains.

    Args:
        keep: "best" keeps the parameters of the best validation accuracy, "last" those of the last epoch.
        patience: stop after this many epochs without a better validation accuracy; `None` never stops.
        scan_steps: most steps per call of the program; `None` aims at `SECONDS_PER_CALL`.
        checkpoint_every: a call ends at each multiple of so many steps; `None` asks for no such ends.
        find_nans: keep a copy of the state, and say of a run that diverges where the first bad value was.
        learning_rate: peak learning rate, for the log.
    """

    keep: str = "best"
    patience: int | None = None
    scan_steps: int | None = None
    checkpoint_every: int | None = None
    find_nans: bool = False
    learning_rate: float = 1.0


class FitResult(NamedTuple):
    """Where training ended."""

    status: str  # completed, diverged or preempted
    params: Params | None  # those that `keep` names; None unless completed
    model_state: State | None
    best_epoch: int  # epoch of those parameters, from 1; 0 if no epoch was completed
    history: tuple[EpochMetrics, ...]
    num_steps: int
    seconds: float  # of training, without compilation and validation
    error: str | None = None  # what was not finite and at which step, or why a callback stopped training


def first_position(state: TrainState) -> Position:
    """Return the position at which a run begins with a state."""
    return Position(state, _copy(state))


def best_epoch(history: Sequence[EpochMetrics]) -> int:
    """Return the first epoch of the best validation accuracy; 0 before the end of the first epoch."""
    return max(history, key=lambda line: line.validation_accuracy).epoch if history else 0


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
        program: compiled functions and their numbers.
        position: where to begin: `first_position`, or a position that a callback was given; it is donated.
        feed: gives the training examples, from `program.make_feed`.
        validation: examples that choose the best epoch.
        order_key: typed key of the order of the training examples.
        options: how to train.
        callbacks: told what happens; any of them can stop training.

    Returns:
        The status is "diverged" if a loss, or a parameter at the end of an epoch, was not finite, and
        "preempted" if a callback stopped training; otherwise "completed".
    """
    with started(callbacks, position, program.num_steps):
        return _fit(program, position, feed, validation, order_key, options, callbacks)


def _fit(
    program: Program,
    position: Position,
    feed: Feed,
    validation: Split,
    order_key: jax.Array,
    options: FitOptions,
    callbacks: Sequence[Callback],
) -> FitResult:
    state, best, history, totals, seconds = position
    step, steps_per_call = int(state.step), options.scan_steps or 1
    watch = Watch(program.run_steps, program.find) if options.find_nans else None

    def ended(status: str, kept: tuple[Params, State] | None = None, error: str | None = None) -> FitResult:
        epoch = len(history) if options.keep == "last" else best_epoch(history)
        return FitResult(status, *(kept or (None, None)), epoch, history, step, seconds, error)

    def diverged(what: str) -> FitResult:
        first = watch and (watch.find() or first_in_validation(program, state, validation))
        return ended("diverged", error=f"{what}; first in {first}" if first else what)

    for epoch in range(len(history) + 1, program.num_epochs + 1):
        if options.patience is not None and epoch - 1 - best_epoch(history) >= options.patience:
            break
        order = epoch_order(order_key, epoch, program.num_train, program.batch_size)
        for examples, start, end in feed(order, step - (epoch - 1) * program.steps_per_epoch):
            while start < end:
                stop = min(end, start + steps_per_call)
                if options.checkpoint_every:
                    stop = min(stop, start + options.checkpoint_every - step % options.checkpoint_every)
                if watch:
                    watch.before(state, examples, start, stop)
                state, metrics, stop, call_seconds, shared_by = program.run_steps(
                    state, examples, start, stop
                )
                count = stop - start
                totals = _plus(totals, metrics, start, stop)
                seconds += call_seconds / shared_by
                call_seconds = program.largest(call_seconds)  # so that all processes run as many steps next
                steps_per_call = options.scan_steps or max(1, round(SECONDS_PER_CALL * count / call_seconds))
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
        # only here: a step later its loss shows it, so the message does not depend on where calls end
        if not all_finite((state.params, state.model_state)):
            return diverged(f"the parameters are not finite after step {step}")
        logits = predict_all(
            program.predict, state.params, state.model_state, validation.images, program.eval_batch_size
        )
        loss, accuracy = measure(logits, validation.labels)
        if not math.isfinite(loss):
            return diverged(f"the validation loss is not finite after step {step}")
        line = EpochMetrics(
            epoch=epoch,
            step=step,
            train_loss=totals.loss / totals.num_examples,
            train_accuracy=totals.correct / totals.num_examples,
            validation_loss=loss,
            validation_accuracy=accuracy,
            learning_rate=options.learning_rate * program.learning_rate_factor(step - 1),
            seconds=seconds,
        )
        history, totals = (*history, line), Totals()
        if options.keep == "best" and best_epoch(history) == epoch:
            best = _copy(state)
        for callback in callbacks:
            callback.on_epoch(line)
    return ended("completed", best if options.keep == "best" else (state.params, state.model_state))


def _plus(totals: Totals, metrics: Metrics, start: int, stop: int) -> Totals:
    """Return the totals with the steps `start` to `stop` added.

    They are added one by one, which gives the same bits however an epoch is cut into calls.
    """
    # not sum(): since Python 3.12 it carries a correction along
    loss = functools.reduce(operator.add, metrics.loss[start:stop].tolist(), totals.loss)
    return Totals(
        loss, totals.correct + int(metrics.correct), totals.num_examples + int(metrics.num_examples)
    )


def _copy(state: TrainState) -> tuple[Params, State]:
    """Return a copy of parameters and model state, which outlives the donation of the state."""
    return jax.tree.map(jnp.copy, (state.params, state.model_state))
