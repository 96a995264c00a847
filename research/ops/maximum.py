"""The maximum with a gradient that goes to one element only."""

import itertools
import math
from collections.abc import Sequence
from functools import partial, reduce
from typing import SupportsIndex

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Int, Shaped

from research.utils.plain import plain

UNROLLED = 16
"""The largest number of elements that are compared one by one.

XLA on the CPU fuses such comparisons with the operation before them.
"""


def first_max(
    x: Shaped[ArrayLike, "..."], axes: SupportsIndex | Sequence[SupportsIndex]
) -> Shaped[Array, "..."]:
    """Return the maximum over `axes`, with a gradient that goes to the first of equal winners.

    The value is that of `jnp.max`, whose gradient is split between equal winners instead. A NaN wins, in the
    value and in the gradient.

    Args:
        x: the array.
        axes: the axis or the axes to reduce.

    Returns:
        The array without `axes`, with the dtype of `x`.

    Example:
        >>> jax.grad(lambda x: first_max(x, (0,)))(jnp.array([1.0, 3.0, 3.0])).tolist()
        [0.0, 1.0, 0.0]
    """
    x, given = jnp.asarray(x), plain(axes)
    given = given if isinstance(given, tuple) else (given,)
    return _first_max(x, tuple(range(x.ndim)[axis] for axis in given))


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _first_max(x: Shaped[Array, "..."], axes: tuple[int, ...]) -> Shaped[Array, "..."]:
    """Return the maximum over axes of which none is negative."""
    elements = _elements(x, axes)
    return reduce(jnp.maximum, elements) if elements else jnp.max(x, axes)


@_first_max.defjvp
def _first_max_jvp(
    axes: tuple[int, ...], primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    """Return the maximum and the tangent of the first winner."""
    (x,), (tangent,) = primals, tangents
    sizes = [size if axis in axes else 1 for axis, size in enumerate(x.shape)]
    count = math.prod(sizes)
    winner = _winner(x, axes).astype(jnp.float32)
    # `winner < count` is always true, so the divisions by `one` change no value. They are here because XLA on
    # the CPU computes a quotient only once. Without them it would compute the winner and the incoming
    # gradient again for each element of a window, and the maximum again for each kernel element of the next
    # convolution.
    one = (winner < count).astype(x.dtype)
    winner = winner / one.astype(jnp.float32)
    position = jnp.arange(count, dtype=jnp.float32).reshape(sizes)
    wins = position == jnp.expand_dims(winner, axes)
    return _first_max(x, axes) / one, jnp.sum(jnp.where(wins, tangent, 0), axes) / one


def _winner(x: Shaped[Array, "..."], axes: tuple[int, ...]) -> Int[Array, "..."]:
    """Return the position of the first maximum, counted through `axes` in reading order."""
    elements = _elements(x, axes)
    if not elements:
        kept = [size for axis, size in enumerate(x.shape) if axis not in axes]
        count = math.prod(x.shape[axis] for axis in axes)
        return jnp.argmax(jnp.moveaxis(x, axes, range(-len(axes), 0)).reshape(*kept, count), -1)
    best, winner = elements[0], jnp.zeros(elements[0].shape, jnp.int32)
    for index, element in enumerate(elements[1:], 1):
        winner = jnp.where((element > best) | jnp.isnan(element), index, winner)
        best = jnp.maximum(best, element)
    return winner


def _elements(x: Shaped[Array, "..."], axes: tuple[int, ...]) -> list[Array]:
    """Return the slices of `x` along `axes` in reading order, or none if they are more than `UNROLLED`."""
    sizes = [x.shape[axis] for axis in axes]
    if math.prod(sizes) > UNROLLED:
        return []
    indices = [dict(zip(axes, index, strict=True)) for index in itertools.product(*map(range, sizes))]
    return [x[tuple(index.get(axis, slice(None)) for axis in range(x.ndim))] for index in indices]
