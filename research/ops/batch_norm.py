"""Batch normalisation in training, with a gradient that passes over the images as few times as can be."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from research.ops.norm import check_channels
from research.ops.padding import Array
from research.ops.precision import accumulation_dtype


def normalize_batch(
    x: Array, scale: Array, bias: Array, epsilon: float = 1e-5, axis_name: str | None = None
) -> tuple[Array, Array, Array]:
    """Normalise each channel by the statistics of this batch, and return these too.

    .. math:: y = \\gamma\\,(x - \\mu) / \\sqrt{\\sigma^2 + \\epsilon} + \\beta,\\quad
              \\mu = \\mathrm{E}[x],\\quad \\sigma^2 = \\mathrm{E}[(x - \\mu)^2]

    as `batch_norm` of `batch_statistics`, in reverse mode (jvp is not available) faster than their gradients.

    Args:
        x: ``[N, H, W, C]`` or ``[N, D]``.
        scale: gamma ``[C]``.
        bias: beta ``[C]``.
        epsilon: added to the variance.
        axis_name: mesh axis over which the batch is split inside shard_map or pmap, in equal parts; scale and
            bias must be cast to vary over it (`jax.lax.pcast`).

    Returns:
        ``y``, the shape and dtype of ``x``; mean and (biased) variance ``[C]``, float32, or float64 for
        float64. They are for running averages: no gradient passes through them.

    Example:
        >>> y, mean, variance = normalize_batch(jnp.array([[1.0], [3.0]]), jnp.ones(1), jnp.zeros(1))
        >>> y.round(3).tolist(), mean.tolist(), variance.tolist()
        ([[-1.0], [1.0]], [2.0], [1.0])

    Raises:
        ValueError: scale or bias is not ``[C]``.

    Source: Ioffe and Szegedy, Batch Normalization, 2015, algorithm 1 and section 3.
    """
    check_channels(x, scale=scale, bias=bias)
    y, mean, variance = _normalize_batch(x, scale, bias, epsilon, axis_name)
    return y, mean, variance


def _forward(x: Array, scale: Array, bias: Array, epsilon: float, axis_name: str | None) -> tuple[Any, Any]:
    wide = x.astype(accumulation_dtype(x))
    mean = _mean(wide, axis_name)
    variance = _mean(jnp.square(wide - _like(mean, x)), axis_name)
    inverse = lax.rsqrt(variance + epsilon)
    slope = inverse * scale.astype(wide.dtype)
    y = (wide - _like(mean, x)) * _like(slope, x) + _like(bias.astype(wide.dtype), x)
    return (y.astype(x.dtype), mean, variance), (x, mean, inverse, scale, bias)


def _backward(
    epsilon: float, axis_name: str | None, kept: Any, cotangents: Any
) -> tuple[Array, Array, Array]:
    x, mean, inverse, scale, bias = kept
    dy, _, _ = cotangents
    wide, dy = x.astype(mean.dtype), dy.astype(mean.dtype)
    centred = wide - _like(mean, x)
    dbias, dscale = _sum(dy), _sum(dy * centred) * inverse
    means = dbias, dscale * inverse
    if axis_name is not None:
        means = lax.pmean(means, axis_name)
    mean_dy, mean_dcentred = (_like(total / (x.size // x.shape[-1]), x) for total in means)
    dx = (dy - mean_dy - centred * mean_dcentred) * _like(scale.astype(mean.dtype) * inverse, x)
    return dx.astype(x.dtype), dscale.astype(scale.dtype), dbias.astype(bias.dtype)


def _mean(x: Array, axis_name: str | None) -> Array:
    mean = _sum(x) / (x.size // x.shape[-1])
    return mean if axis_name is None else lax.pmean(mean, axis_name)


def _sum(x: Array) -> Array:
    """Sum of each channel."""
    if jax.default_backend() != "cpu":
        return x.sum(range(x.ndim - 1))
    # A dot with ones: XLA:CPU reduces leading axes 3 to 10 times more slowly. Of four equal rows, since it
    # treats one as a vector, which is slower and, summing one by one, 10 times less precise.
    return (jnp.ones((4, x.size // x.shape[-1]), x.dtype) @ x.reshape(-1, x.shape[-1]))[0]


def _like(vector: Array, x: Array) -> Array:
    """``[C]`` with the rank of ``x``."""
    return vector.reshape((1,) * (x.ndim - 1) + vector.shape)


_normalize_batch: Any = jax.custom_vjp(lambda *args: _forward(*args)[0], nondiff_argnums=(3, 4))
_normalize_batch.defvjp(_forward, _backward)
