"""Batch normalisation with the statistics of the batch, and a gradient that reads the images few times."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from research.ops.channels import as_row, sum_channels
from research.ops.norm import check_channels
from research.ops.precision import accumulation_dtype, as_float


def normalize_batch(
    x: Float[ArrayLike, "*batch c"],
    scale: Float[ArrayLike, " c"],
    bias: Float[ArrayLike, " c"],
    epsilon: float = 1e-5,
    axis_name: str | None = None,
) -> tuple[Float[Array, "*batch c"], Float[Array, " c"], Float[Array, " c"]]:
    r"""Normalise each channel by the statistics of the batch, and return the statistics too.

    $$
    y = \gamma\,(x - \mu) / \sqrt{\sigma^2 + \epsilon} + \beta,\quad
    \mu = \mathrm{E}[x],\quad \sigma^2 = \mathrm{E}[(x - \mu)^2]
    $$

    The result is that of `batch_norm` with `batch_statistics`. The gradient is written by hand, and it is
    faster than the one that JAX derives for those two. Forward mode (`jax.jvp`) is not available.

    Args:
        x: the images `[N, H, W, C]` or features `[N, D]`.
        scale: the factor $\gamma$ `[C]`.
        bias: the offset $\beta$ `[C]`.
        epsilon: the number that is added to the variance.
        axis_name: the mesh axis over which the batch is split in equal parts, inside shard_map or pmap.
            `scale` and `bias` must be cast to vary over it (`jax.lax.pcast`).

    Returns:
        `y` with the shape and dtype of `x`, and the mean and the biased variance `[C]`. The statistics are
        float32, or float64 if `x` is float64, and 0 if there are no examples. They are for running averages,
        so no gradient passes through them.

    Raises:
        ValueError: `scale` or `bias` is not `[C]`.
        TypeError: `x` does not hold floating point numbers.

    Example:
        >>> y, mean, variance = normalize_batch(jnp.array([[1.0], [3.0]]), jnp.ones(1), jnp.zeros(1))
        >>> y.round(3).tolist(), mean.tolist(), variance.tolist()
        ([[-1.0], [1.0]], [2.0], [1.0])

    Source: Ioffe and Szegedy, Batch Normalization, 2015, algorithm 1 and section 3.
    """
    x, scale, bias = as_float(x), jnp.asarray(scale), jnp.asarray(bias)
    check_channels(x, scale=scale, bias=bias)
    y, mean, variance = _normalize_batch(x, scale, bias, epsilon, axis_name)
    return y, mean, variance


def _forward(
    x: Float[Array, "*batch c"],
    scale: Float[Array, " c"],
    bias: Float[Array, " c"],
    epsilon: float,
    axis_name: str | None,
) -> tuple[Any, Any]:
    """Return the outputs of `normalize_batch` and what `_backward` needs."""
    wide = x.astype(accumulation_dtype(x))
    mean = _mean(wide, axis_name)
    variance = _mean(jnp.square(wide - as_row(mean, x)), axis_name)
    inverse = lax.rsqrt(variance + epsilon)
    slope = inverse * scale.astype(wide.dtype)
    y = (wide - as_row(mean, x)) * as_row(slope, x) + as_row(bias.astype(wide.dtype), x)
    return (y.astype(x.dtype), mean, variance), (x, mean, inverse, scale, bias)


def _backward(
    epsilon: float, axis_name: str | None, saved: Any, cotangents: Any
) -> tuple[Float[Array, "*batch c"], Float[Array, " c"], Float[Array, " c"]]:
    """Return the gradients of the images, the scale and the bias."""
    x, mean, inverse, scale, bias = saved
    dy, _, _ = cotangents
    wide, dy = x.astype(mean.dtype), dy.astype(mean.dtype)
    centred = wide - as_row(mean, x)
    dbias, dscale = sum_channels(dy), sum_channels(dy * centred) * inverse
    means = dbias, dscale * inverse
    if axis_name is not None:
        means = lax.pmean(means, axis_name)
    mean_dy, mean_dcentred = (as_row(total / _count(x), x) for total in means)
    dx = (dy - mean_dy - centred * mean_dcentred) * as_row(scale.astype(mean.dtype) * inverse, x)
    return dx.astype(x.dtype), dscale.astype(scale.dtype), dbias.astype(bias.dtype)


def _mean(x: Float[Array, "*batch c"], axis_name: str | None) -> Float[Array, " c"]:
    """Return the mean of each channel, over all devices of `axis_name`."""
    mean = sum_channels(x) / _count(x)
    return mean if axis_name is None else lax.pmean(mean, axis_name)


def _count(x: Float[Array, "*batch c"]) -> int:
    """Return the number of values of each channel, or 1 if there are none, so that their mean is 0."""
    return max(math.prod(x.shape[:-1]), 1)


_normalize_batch: Any = jax.custom_vjp(lambda *args: _forward(*args)[0], nondiff_argnums=(3, 4))
_normalize_batch.defvjp(_forward, _backward)
