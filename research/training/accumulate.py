"""Accumulation of the gradient of a batch over parts of the batch."""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from research.training.collectives import varying


@runtime_checkable
class Gradient(Protocol):
    """A function that computes the gradient of a mean over examples."""

    def __call__(self, params: Any, model_state: Any, /, *per_example: Any) -> tuple[Any, tuple[Any, Any]]:
        """Return the gradients, and a pair of the new state of the model and the metrics.

        Args:
            params: the parameters.
            model_state: the state of the model.
            *per_example: trees of arrays `[N, ...]`, such as images, labels and keys.
        """
        ...


def accumulate(gradient: Gradient, num_parts: int, axis_name: str | None) -> Gradient:
    r"""Return a gradient function that takes a batch in parts, so that only one part is in memory at a time.

    $$
    g = \frac{1}{A} \sum_{a=1}^{A} g_a
    $$

    Part $a$ holds the examples $a$, $a + A$, $a + 2A$ and so on. So the parts do not depend on how the batch
    is split over devices. Batch normalisation uses the statistics of one part, and updates its running
    averages after every part.

    Args:
        gradient: a function that computes the gradient of a mean over examples. Its metrics must be sums.
        num_parts: the number of parts $A$, which must divide the number of examples.
        axis_name: the mesh axis over which the batch is split inside shard_map or pmap, or `None`.
    """
    if num_parts == 1:
        return gradient

    def in_parts(params: Any, model_state: Any, *per_example: Any) -> Any:
        parts = jax.tree.map(lambda x: x.reshape(-1, num_parts, *x.shape[1:]).swapaxes(0, 1), per_example)

        def add(carry: Any, part: Any) -> Any:
            model_state, total = carry
            grads, (model_state, metrics) = gradient(params, model_state, *part)
            return (model_state, jax.tree.map(jnp.add, total, (grads, metrics))), None

        first = jax.tree.map(lambda x: x[0], parts)
        grads, (_, metrics) = jax.eval_shape(gradient, params, model_state, *first)
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (grads, metrics))
        start = varying((model_state, zeros), axis_name)
        (model_state, (grads, metrics)), _ = jax.lax.scan(add, start, parts)
        return jax.tree.map(lambda g: g / num_parts, grads), (model_state, metrics)

    return in_parts
