"""Labels as numbers of classes or as probabilities, and what a loss does with both."""

from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp

from research.utils.constraints import NonNegative, OneOf

Objective = Callable[..., jax.Array]
"""A function of logits `[N, ..., K]` and labels that returns the loss of each example `[N]`. The labels are
the numbers of the classes `[N, ...]`, or soft labels `[N, ..., K]`, which are probabilities. If there is a
teacher, its logits `[N, ..., K]` are the third argument."""

ClassWeights = Annotated[str, OneOf(("balanced",))] | tuple[Annotated[float, NonNegative], ...] | None
"""Factors of the loss of each class. `losses.resolve` replaces `balanced` with numbers."""


def is_correct(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return whether the largest logit is that of the label, as bools `[N]`.

    Args:
        logits: the logits `[N, K]`.
        labels: the classes `[N]`, or soft labels `[N, K]`, of which the largest one counts.
    """
    classes = jnp.argmax(labels, axis=-1) if is_soft(labels, logits) else labels
    return jnp.argmax(logits, axis=-1) == classes


def is_soft(labels: jax.Array, logits: jax.Array) -> bool:
    """Return whether labels are probabilities `[N, ..., K]`, and not the numbers of classes `[N, ...]`."""
    return labels.ndim == logits.ndim


def soft_labels(labels: jax.Array, logits: jax.Array) -> jax.Array:
    """Return labels as probabilities `[N, ..., K]`, with the dtype of the logits.

    Example:
        >>> soft_labels(jnp.array([1]), jnp.zeros((1, 3))).tolist()
        [[0.0, 1.0, 0.0]]
    """
    if is_soft(labels, logits):
        return labels.astype(logits.dtype)
    return jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)


def wide(logits: jax.Array) -> jax.Array:
    """Return the logits in float32, or in their own dtype if that is wider."""
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
