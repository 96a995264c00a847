"""Many training steps as one compiled program."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from research.training.collectives import add_up, varying
from research.training.state import Batch, Metrics, TrainState
from research.training.step import TrainStep
from research.utils.xla import jit_for_one_call


@partial(jit_for_one_call, static_argnames=("num_examples", "batch_size"))
def epoch_order(key: jax.Array, epoch: int | jax.Array, num_examples: int, batch_size: int) -> jax.Array:
    """Which examples the steps of an epoch see.

    Args:
        key: typed PRNG key of the run's data order.
        epoch: number of the epoch.
        num_examples: examples in the training split.
        batch_size: examples per step; the rest after the last full batch is left out this epoch.

    Returns:
        int32 ``[num_examples // batch_size, batch_size]``, each example at most once.
    """
    order = jax.random.permutation(jax.random.fold_in(key, epoch), jnp.arange(num_examples, dtype=jnp.int32))
    num_steps = num_examples // batch_size
    return order[: num_steps * batch_size].reshape(num_steps, batch_size)


def make_run_steps(
    train_step: TrainStep, *, axis_name: str | None = None
) -> Callable[..., tuple[TrainState, Metrics]]:
    """Make ``run_steps(state, images, labels, order, start, stop) -> (state, metrics)``.

    It runs the steps ``start`` to ``stop`` of ``order`` ``[num_steps, B]`` over ``images`` ``[N, H, W, C]``
    and ``labels`` ``[N]``. ``start`` and ``stop`` are data, int32 ``[]``: one program serves an epoch cut
    into pieces of any length, and gives the same bits however it is cut. So ``metrics.loss`` is
    ``[num_steps]``, a sum for each step and 0 for those that were not run; correct and count, which are
    whole numbers, are summed over the steps.
    Where ``order`` is ``None``, images ``[num_steps, B, H, W, C]`` and labels lie in batches already. Inside
    ``shard_map`` or ``pmap`` over ``axis_name``, ``B`` is this device's part of the batch.
    """

    def run_steps(
        state: TrainState,
        images: jax.Array,
        labels: jax.Array,
        order: jax.Array | None,
        start: jax.Array,
        stop: jax.Array,
    ) -> tuple[TrainState, Metrics]:
        def body(index: jax.Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
            state, (losses, correct, count) = carry
            examples = index if order is None else order[index]
            state, metrics = train_step(state, Batch(images[examples], labels[examples]))
            losses = losses.at[index].set(metrics.loss)
            return state, Metrics(losses, correct + metrics.correct, count + metrics.count)

        losses = jnp.zeros(len(labels if order is None else order), jax.tree.leaves(state.params)[0].dtype)
        zeros = Metrics(losses, jnp.int32(0), jnp.int32(0))
        state, metrics = jax.lax.fori_loop(start, stop, body, (state, varying(zeros, axis_name)))
        return state, add_up(metrics, axis_name)

    return run_steps
