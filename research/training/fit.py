"""The training loop: everything impure about training, outside the compiled steps."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.data import Split
from research.layers.base import Params, State
from research.training.epoch import epoch_order
from research.training.evaluate import measure, predict_all
from research.training.state import Metrics, TrainState

SECONDS_PER_CALL = 3.0  # progress, signals and checkpoints wait at most about this long for the device


Examples = tuple[jax.Array, jax.Array, jax.Array | None]  # images, labels, order
Feed = Callable[[jax.Array], Iterator[tuple[Examples, int]]]  # order -> what a call reads, number of steps


class Program(NamedTuple):
    """The compiled functions of a run; shared by all runs that differ in data only."""

    init: Callable[..., TrainState]  # (key, learning_rate, weight_decay)
    run_steps: Callable[..., tuple[TrainState, Metrics]]
    predict: Callable[..., jax.Array]
    make_feed: Callable[[np.ndarray, np.ndarray], Feed]  # (images, labels)


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


class FitResult(NamedTuple):
    """Where training ended."""

    status: str  # completed or diverged
    params: Params | None  # those of the best validation accuracy, or the last; None before the first
    model_state: State | None
    best_epoch: int  # 0 where no epoch was completed
    history: list[EpochMetrics]
    seconds: float  # of training, without compilation and validation
    num_images: int  # trained on, counting each pass


def fit(
    program: Program,
    state: TrainState,
    train: Split,
    validation: Split,
    *,
    order_key: jax.Array,
    epochs: int,
    batch_size: int,
    eval_batch_size: int,
    learning_rate_at: Callable[[int], float],
    keep: str = "best",
    patience: int | None = None,
    scan_steps: int | None = None,
    on_progress: Callable[[int], None] = lambda steps: None,
    on_epoch: Callable[[EpochMetrics], None] = lambda metrics: None,
) -> FitResult:
    """Train for some epochs, validating after each.

    Args:
        program: compiled functions.
        state: the first state; donated.
        train: examples to train on.
        validation: examples that choose.
        order_key: typed key of the order of examples; paired runs share it.
        epochs: passes over the training split.
        batch_size: examples per step.
        eval_batch_size: examples per batch of validation.
        learning_rate_at: step -> learning rate, for the log.
        keep: "best" keeps the parameters of the best validation accuracy, "last" those of the last epoch.
        patience: stop after this many epochs without a better validation accuracy.
        scan_steps: most steps per call of the program; ``None`` aims at ``SECONDS_PER_CALL``.
        on_progress: called with the number of steps just done.
        on_epoch: called after each epoch.

    Returns:
        Status "diverged" if a loss was not finite: training stops there.
    """
    history: list[EpochMetrics] = []
    kept, best_accuracy, best_epoch = (None, None), -1.0, 0
    feed = program.make_feed(train.images, train.labels)
    seconds, num_images, steps_per_call = 0.0, 0, scan_steps or 8

    def ended(status: str, at: int) -> FitResult:
        params, model_state = kept
        return FitResult(status, params, model_state, at, history, seconds, num_images)

    for epoch in range(1, epochs + 1):
        loss_sum, correct, count = 0.0, 0, 0
        for examples, num_steps in feed(epoch_order(order_key, epoch, len(train.labels), batch_size)):
            start = 0
            while start < num_steps:
                stop = min(num_steps, start + steps_per_call)
                began = time.perf_counter()
                state, metrics = program.run_steps(state, *examples, jnp.int32(start), jnp.int32(stop))
                metrics = jax.device_get(metrics)
                elapsed = time.perf_counter() - began
                seconds += elapsed
                steps_per_call = scan_steps or max(1, round(SECONDS_PER_CALL * (stop - start) / elapsed))
                num_images += int(metrics.count)
                if not math.isfinite(metrics.loss):
                    return ended("diverged", best_epoch)
                loss_sum += float(metrics.loss)
                correct += int(metrics.correct)
                count += int(metrics.count)
                on_progress(stop - start)
                start = stop
        logits = predict_all(
            program.predict, state.params, state.model_state, validation.images, eval_batch_size
        )
        loss, accuracy = measure(logits, validation.labels)
        if not math.isfinite(loss):
            return ended("diverged", best_epoch)
        step = int(state.step)
        history.append(
            EpochMetrics(
                epoch=epoch,
                step=step,
                train_loss=loss_sum / count,
                train_accuracy=correct / count,
                validation_loss=loss,
                validation_accuracy=accuracy,
                learning_rate=learning_rate_at(step - 1),
                seconds=seconds,
            )
        )
        on_epoch(history[-1])
        better = accuracy > best_accuracy
        if better or keep == "last":
            kept = jax.tree.map(jnp.copy, (state.params, state.model_state))  # the state itself is donated
        if better:
            best_accuracy, best_epoch = accuracy, epoch
        elif patience is not None and epoch - best_epoch >= patience:
            break
    return ended("completed", best_epoch if keep == "best" else len(history))
