"""The maximum with a gradient that goes to one element only."""

import itertools
import math
from functools import partial, reduce

import jax
import jax.numpy as jnp

from research.ops.padding import Array

UNROLLED = 16
"""Most elements that are compared one by one, which XLA:CPU fuses with what comes before."""


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def first_max(x: Array, axes: tuple[int, ...]) -> Array:
    """``jnp.max`` over ``axes``, but on a tie the gradient goes to the first winner and is not split.

    A NaN wins, in the value and in the gradient.

    Example:
        >>> jax.grad(lambda x: first_max(x, (0,)))(jnp.array([1.0, 3.0, 3.0])).tolist()
        [0.0, 1.0, 0.0]
    """
    elements = _elements(x, axes)
    return reduce(jnp.maximum, elements) if elements else jnp.max(x, axes)


@first_max.defjvp
def _first_max_jvp(
    axes: tuple[int, ...], primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    (x,), (tangent,) = primals, tangents
    sizes = [size if axis in axes else 1 for axis, size in enumerate(x.shape)]
    count = math.prod(sizes)
    winner = _winner(x, axes).astype(jnp.float32)
    # It lies below the count, so the divisions change nothing, but XLA:CPU computes a quotient once. Else it
    # would find the winner, and the gradient that comes in, anew for each element of a window, and the
    # largest for each kernel element of the next convolution.
    one = (winner < count).astype(x.dtype)
    winner = winner / one.astype(jnp.float32)
    position = jnp.arange(count, dtype=jnp.float32).reshape(sizes)
    wins = position == jnp.expand_dims(winner, axes)
    return first_max(x, axes) / one, jnp.sum(jnp.where(wins, tangent, 0), axes) / one


def _winner(x: Array, axes: tuple[int, ...]) -> Array:
    """Where the largest element stands, counted through ``axes`` in reading order; int32."""
    elements = _elements(x, axes)
    if not elements:
        kept = [size for axis, size in enumerate(x.shape) if axis not in axes]
        return jnp.argmax(jnp.moveaxis(x, axes, range(-len(axes), 0)).reshape(*kept, -1), -1)
    best, winner = elements[0], jnp.zeros(elements[0].shape, jnp.int32)
    for index, element in enumerate(elements[1:], 1):
        winner = jnp.where((element > best) | jnp.isnan(element), index, winner)
        best = jnp.maximum(best, element)
    return winner


def _elements(x: Array, axes: tuple[int, ...]) -> list[Array]:
    """The slices of ``x`` along ``axes``, in reading order; none where they are many."""
    sizes = [x.shape[axis] for axis in axes]
    if math.prod(sizes) > UNROLLED:
        return []
    indices = [dict(zip(axes, index, strict=True)) for index in itertools.product(*map(range, sizes))]
    return [x[tuple(index.get(axis, slice(None)) for axis in range(x.ndim))] for index in indices]
