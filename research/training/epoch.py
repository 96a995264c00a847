"""The loop over the training steps of an epoch, as one compiled program."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from research.training.collectives import add_up, varying
from research.training.state import Batch, Metrics, TrainState
from research.training.step import TrainStep
from research.utils.xla import jit_for_one_call

StepLoop = Callable[
    [TrainState, jax.Array, jax.Array, jax.Array | None, jax.Array, jax.Array], tuple[TrainState, Metrics]
]
"""`loop(state, images, labels, order, start, stop)` runs a part of the steps of an epoch; see
`make_run_steps`."""


@partial(jit_for_one_call, static_argnames=("num_examples", "batch_size"))
def epoch_order(
    key: jax.Array,
    epoch: int | jax.Array,
    num_examples: int,
    batch_size: int,
    labels: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Return the random order in which an epoch takes the examples.

    Args:
        key: the typed key for the order of the data of a run.
        epoch: the number of the epoch.
        num_examples: the number of examples in the training split.
        batch_size: the number of examples in a step. Examples that do not fill a last batch are left out.
        labels: the labels of the examples, `[num_examples]`, if equally many of each class are drawn. If not
            given, an epoch draws each example once.

    Returns:
        The indices of the examples of each step, int32 `[num_examples // batch_size, batch_size]`. Without
        labels, each example occurs at most once. With labels of K classes, an example of a class with n
        examples occurs N / (K n) times, rounded up or down at random, before the rest is left out.
    """
    key = jax.random.fold_in(key, epoch)
    order = jax.random.permutation(key, jnp.arange(num_examples, dtype=jnp.int32))
    if labels is not None:
        order = _draw_balanced(key, order, jnp.asarray(labels))
    num_steps = num_examples // batch_size
    return order[: num_steps * batch_size].reshape(num_steps, batch_size)


def _draw_balanced(key: jax.Array, order: jax.Array, labels: jax.Array) -> jax.Array:
    """Return as many draws as there are examples, in which each class has equally many, in random order.

    The examples, sorted by class, lie on a line on which each class has the same length, and so do the
    examples of a class. The draws are the examples at equal distances from a random start.

    Args:
        key: a typed key.
        order: the examples in random order, `[N]`.
        labels: the labels of the examples, `[N]`.
    """
    start_key, order_key = jax.random.split(key)
    order = order[jnp.argsort(labels[order], stable=True)]
    ranked, count = labels[order], len(labels)
    first, end = jnp.searchsorted(ranked, ranked), jnp.searchsorted(ranked, ranked, side="right")
    index = jnp.arange(count)
    classes = jnp.cumsum(first == index)  # 1 for the examples of the first class
    ends = (classes - 1 + (index - first + 1) / (end - first)) * (count / classes[-1])
    drawn = jnp.searchsorted(ends, index + jax.random.uniform(start_key), side="right")
    return jax.random.permutation(order_key, order[jnp.minimum(drawn, count - 1)])


def make_run_steps(
    train_step: TrainStep, *later: tuple[int, TrainStep], axis_name: str | None = None
) -> StepLoop:
    """Return a function that runs a part of the steps of an epoch.

    The first and the last step are arguments of the compiled program. So one program runs any part of an
    epoch, and the bits of the result do not depend on how the epoch is cut into parts.

    Args:
        train_step: the training step.
        *later: other training steps that follow it, each with the number of steps of the run before it. Each
            call uses the one that belongs to the first step of the call.
        axis_name: the axis of `shard_map` or `pmap` over which each batch is split, or `None`. With an axis,
            `B` below is the number of examples of a batch on this device.

    Returns:
        The function `run_steps(state, images, labels, order, start, stop) -> (state, metrics)`. It runs the
        steps from `start` up to and without `stop`, which are int32 scalars. Step `i` takes the examples
        `order[i]` of `images` `[N, H, W, C]` and `labels` `[N]`, where `order` is `[num_steps, B]`. If
        `order` is `None`, step `i` takes `images[i]` of `[num_steps, B, H, W, C]` and `labels[i]`.
        `metrics.loss` is `[num_steps]`, the sum for each step, and 0 for steps that were not run. The
        other metrics are integers, which are summed over the steps.
    """

    def run_all(
        train_step: TrainStep,
        state: TrainState,
        images: jax.Array,
        labels: jax.Array,
        order: jax.Array | None,
        start: jax.Array,
        stop: jax.Array,
    ) -> tuple[TrainState, Metrics]:
        def body(index: jax.Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
            state, (losses, correct, num_examples) = carry
            examples = index if order is None else order[index]
            state, metrics = train_step(state, Batch(images[examples], labels[examples]))
            losses = losses.at[index].set(metrics.loss)
            return state, Metrics(losses, correct + metrics.correct, num_examples + metrics.num_examples)

        losses = jnp.zeros(len(labels if order is None else order), jax.tree.leaves(state.params)[0].dtype)
        zeros = Metrics(losses, jnp.int32(0), jnp.int32(0))
        state, metrics = jax.lax.fori_loop(start, stop, body, (state, varying(zeros, axis_name)))
        return state, add_up(metrics, axis_name)

    if not later:
        return partial(run_all, train_step)
    loops = [partial(run_all, each) for each in (train_step, *(each for _, each in later))]

    def run_steps(state: TrainState, *rest: Any) -> tuple[TrainState, Metrics]:
        reached = [jnp.int32(state.step >= first) for first, _ in later]
        return jax.lax.switch(sum(reached), loops, state, *rest)

    return run_steps
