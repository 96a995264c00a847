"""Sums over all axes but the channels, in forms that are fast on the CPU."""

import math
import operator
from functools import reduce

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from research.ops.precision import accumulation_dtype

MOST_PARTS = 11
"""The largest number of parts of an image that are added before the sum over the rest; 16 are slower."""


def sum_channels(x: Float[Array, "*batch c"]) -> Float[Array, " c"]:
    """Return the sum of each channel, with the dtype of `x`.

    Example:
        >>> sum_channels(jnp.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [4.0, 6.0]
    """
    if jax.default_backend() != "cpu":
        return x.sum(range(x.ndim - 1))
    # XLA on the CPU reduces leading axes slowly if the array is large or the result of arithmetic. But it
    # fuses arithmetic with an addition. So a few parts of each image are added first, and products that are
    # summed need no memory of their own. These are not parts of the batch, which may be split over devices.
    # The rest is a dot with ones. The ones have four equal rows, since XLA treats a single row as a vector,
    # whose dot adds the numbers one by one, which is slower and less precise.
    num_pixels, channels = math.prod(x.shape[1:-1]), x.shape[-1]
    num_parts = max(n for n in range(1, MOST_PARTS + 1) if num_pixels % n == 0)
    parts = jnp.split(x.reshape(x.shape[0], num_pixels, channels), num_parts, axis=1)
    total = reduce(operator.add, parts).reshape(-1, channels)
    return (jnp.ones((4, len(total)), x.dtype) @ total)[0]


def add_bias(x: Float[Array, "*batch c"], bias: Float[Array, " c"]) -> Float[Array, "*batch c"]:
    """Return `x + bias`, with the gradient of the bias by `sum_channels`.

    On the CPU, forward mode (`jax.jvp`) is not available.

    Args:
        x: the images `[N, H, W, C]` or features `[N, D]`.
        bias: the number `[C]` that is added to each channel, with the dtype of `x`.

    Example:
        >>> add_bias(jnp.array([[1.0, 2.0]]), jnp.array([0.5, -0.5])).tolist()
        [[1.5, 1.5]]
    """
    if jax.default_backend() != "cpu":
        return x + as_row(bias, x)
    return _add_bias(x, bias)


def as_row(vector: Float[Array, " c"], x: Float[Array, "*batch c"]) -> Float[Array, "*ones c"]:
    """Return the vector with leading axes of size 1, so that its rank is that of `x`."""
    return vector.reshape((1,) * (x.ndim - 1) + vector.shape)


@jax.custom_vjp
def _add_bias(x: Float[Array, "*batch c"], bias: Float[Array, " c"]) -> Float[Array, "*batch c"]:
    """Return the sum, with its own gradient."""
    return x + as_row(bias, x)


def _forward(x: Float[Array, "*batch c"], bias: Float[Array, " c"]) -> tuple[Float[Array, "*batch c"], None]:
    """Return the output, and nothing for the gradient."""
    return _add_bias(x, bias), None


def _backward(_: None, dy: Float[Array, "*batch c"]) -> tuple[Float[Array, "*batch c"], Float[Array, " c"]]:
    """Return the gradients of the input and the bias."""
    return dy, sum_channels(dy.astype(accumulation_dtype(dy))).astype(dy.dtype)


_add_bias.defvjp(_forward, _backward)
