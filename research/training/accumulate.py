"""Gradients of a batch, part by part."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from research.training.collectives import varying

Gradient = Callable[..., Any]  # (params, model_state, *per_example) -> grads, (model_state, metrics)


def accumulate(gradient: Gradient, num_parts: int, axis_name: str | None) -> Gradient:
    """Make a gradient take a batch in parts, one after the other, so that one part is in memory at a time.

    .. math:: g = \\frac{1}{A} \\sum_{a=1}^{A} g_a

    Part ``a`` holds every ``A``-th example from the ``a``-th on, so that the parts do not depend on how the
    batch is split over devices. Batch normalisation sees the statistics of a part, and its running averages
    move with every part.

    Args:
        gradient: of a mean over examples; its metrics are sums.
        num_parts: :math:`A`, a divisor of the number of examples.
        axis_name: as in ``make_train_step``.
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
