"""Batch, layer and group normalisation, with statistics in float32 or better."""

import jax.numpy as jnp
from jax import lax

from research.ops.padding import Array
from research.ops.precision import accumulation_dtype


def batch_statistics(x: Array, *, axis_name: str | None = None) -> tuple[Array, Array]:
    """Mean and variance of each channel over the batch.

    .. math:: \\mu = \\mathrm{E}[x], \\quad \\sigma^2 = \\mathrm{E}[(x - \\mu)^2]

    in two passes, since ``E[x^2] - E[x]^2`` loses all digits where the mean is large.

    Args:
        x: ``[N, H, W, C]`` or ``[N, D]``.
        axis_name: mesh axis over which the batch is split inside shard_map or pmap, in equal parts.

    Returns:
        Mean and (biased) variance ``[C]``, float32, or float64 for float64.

    Example:
        >>> mean, variance = batch_statistics(jnp.array([[1.0, 0.0], [3.0, 0.0]]))
        >>> mean.tolist(), variance.tolist()
        ([2.0, 0.0], [1.0, 0.0])
    """
    axes = tuple(range(x.ndim - 1))
    mean, variance = _moments(x, axes, axis_name)
    return mean.squeeze(axes), variance.squeeze(axes)


def batch_norm(
    x: Array, mean: Array, variance: Array, scale: Array, bias: Array, epsilon: float = 1e-5
) -> Array:
    """Normalise each channel by given statistics: of this batch in training, running ones afterwards.

    .. math:: y = \\gamma\\,(x - \\mu) / \\sqrt{\\sigma^2 + \\epsilon} + \\beta

    Args:
        x: ``[N, H, W, C]`` or ``[N, D]``.
        mean: ``[C]``, as from `batch_statistics`.
        variance: ``[C]``.
        scale: gamma ``[C]``.
        bias: beta ``[C]``.
        epsilon: added to the variance.

    Returns:
        The shape and dtype of ``x``.

    Raises:
        ValueError: a vector is not ``[C]``.

    Example:
        >>> x = jnp.array([[1.0], [3.0]])
        >>> batch_norm(x, *batch_statistics(x), jnp.ones(1), jnp.zeros(1)).round(3).tolist()
        [[-1.0], [1.0]]

    Source: Ioffe and Szegedy, Batch Normalization, 2015, algorithm 1.
    """
    check_channels(x, mean=mean, variance=variance)
    return _normalize(x, mean, variance, scale, bias, epsilon)


def layer_norm(x: Array, scale: Array, bias: Array, *, epsilon: float = 1e-5) -> Array:
    """Normalise the channels of each pixel (or the features of each example).

    .. math:: y = \\gamma\\,(x - \\mu) / \\sqrt{\\sigma^2 + \\epsilon} + \\beta

    with the statistics over the last axis. Over all of ``[H, W, C]`` it is `group_norm` with one group.

    Args:
        x: ``[..., C]``.
        scale: gamma ``[C]``.
        bias: beta ``[C]``.
        epsilon: added to the variance.

    Returns:
        The shape and dtype of ``x``.

    Raises:
        ValueError: scale or bias is not ``[C]``.

    Example:
        >>> layer_norm(jnp.array([[1.0, 3.0]]), jnp.ones(2), jnp.zeros(2)).round(3).tolist()
        [[-1.0, 1.0]]

    Source: Ba, Kiros and Hinton, Layer Normalization, 2016, section 3.
    """
    return _normalize(x, *_moments(x, (x.ndim - 1,)), scale, bias, epsilon)


def group_norm(x: Array, scale: Array, bias: Array, *, num_groups: int, epsilon: float = 1e-5) -> Array:
    """Normalise each example's groups of neighbouring channels, over all pixels.

    .. math:: y = \\gamma\\,(x - \\mu_g) / \\sqrt{\\sigma_g^2 + \\epsilon} + \\beta

    Args:
        x: ``[N, H, W, C]`` or ``[N, D]``.
        scale: gamma ``[C]``.
        bias: beta ``[C]``.
        num_groups: how many groups of ``C / num_groups`` channels.
        epsilon: added to the variance.

    Returns:
        The shape and dtype of ``x``.

    Raises:
        ValueError: num_groups does not divide ``C``, or scale or bias is not ``[C]``.

    Example:
        >>> x = jnp.array([[1.0, 3.0, 10.0, 30.0]])
        >>> group_norm(x, jnp.ones(4), jnp.zeros(4), num_groups=2).round(3).tolist()
        [[-1.0, 1.0, -1.0, 1.0]]

    Source: Wu and He, Group Normalization, 2018, section 3.
    """
    channels = x.shape[-1]
    if num_groups < 1 or channels % num_groups:
        raise ValueError(f"num_groups={num_groups} must divide the {channels} channels of x")
    groups = x.reshape(*x.shape[:-1], num_groups, channels // num_groups)
    mean, variance = _moments(groups, (*range(1, x.ndim - 1), x.ndim))
    per_channel = (x.shape[0], *(1,) * (x.ndim - 2), channels)
    mean, variance = (
        jnp.broadcast_to(s, (*s.shape[:-1], groups.shape[-1])).reshape(per_channel) for s in (mean, variance)
    )
    return _normalize(x, mean, variance, scale, bias, epsilon)


def _moments(x: Array, axes: tuple[int, ...], axis_name: str | None = None) -> tuple[Array, Array]:
    """Mean and variance over ``axes``, kept as axes of size 1."""

    def mean_over(values: Array) -> Array:
        mean = values.mean(axes, keepdims=True)
        return mean if axis_name is None else lax.pmean(mean, axis_name)

    x = x.astype(accumulation_dtype(x))
    mean = mean_over(x)
    return mean, mean_over(jnp.square(x - mean))


def _normalize(x: Array, mean: Array, variance: Array, scale: Array, bias: Array, epsilon: float) -> Array:
    """Statistics are of the rank of ``x``, or ``[C]`` as scale and bias are."""
    check_channels(x, scale=scale, bias=bias)
    dtype = accumulation_dtype(x)
    mean, variance, scale, bias = (
        v.astype(dtype).reshape((1,) * (x.ndim - v.ndim) + v.shape) for v in (mean, variance, scale, bias)
    )
    y = (x.astype(dtype) - mean) * (lax.rsqrt(variance + epsilon) * scale) + bias
    return y.astype(x.dtype)


def check_channels(x: Array, **vectors: Array) -> None:
    """Raise ValueError unless each vector is ``[C]``."""
    for name, vector in vectors.items():
        if vector.shape != x.shape[-1:]:
            raise ValueError(f"{name} has shape {vector.shape}, x has {x.shape[-1]} channels")
