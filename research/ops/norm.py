"""Batch, layer and group normalisation, with statistics in float32 or float64."""

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Shaped

from research.ops.precision import accumulation_dtype, as_float


def batch_statistics(
    x: Float[ArrayLike, "*batch c"], *, axis_name: str | None = None
) -> tuple[Float[Array, " c"], Float[Array, " c"]]:
    r"""Return the mean and the variance of each channel over the batch.

    $$
    \mu = \mathrm{E}[x], \quad \sigma^2 = \mathrm{E}[(x - \mu)^2]
    $$

    The variance takes a second pass over `x`, since $\mathrm{E}[x^2] - \mathrm{E}[x]^2$ loses all its digits
    where the mean is large.

    Args:
        x: the images `[N, H, W, C]` or features `[N, D]`.
        axis_name: the mesh axis over which the batch is split in equal parts, inside shard_map or pmap.

    Returns:
        The mean and the biased variance `[C]`, in float32, or in float64 if `x` is float64. Both are 0 if
        there are no examples.

    Raises:
        TypeError: `x` does not hold floating point numbers.

    Example:
        >>> mean, variance = batch_statistics(jnp.array([[1.0, 0.0], [3.0, 0.0]]))
        >>> mean.tolist(), variance.tolist()
        ([2.0, 0.0], [1.0, 0.0])
    """
    x = as_float(x)
    axes = tuple(range(x.ndim - 1))
    mean, variance = _moments(x, axes, axis_name)
    return mean.squeeze(axes), variance.squeeze(axes)


def batch_norm(
    x: Float[ArrayLike, "*batch c"],
    mean: Float[ArrayLike, " c"],
    variance: Float[ArrayLike, " c"],
    scale: Float[ArrayLike, " c"],
    bias: Float[ArrayLike, " c"],
    epsilon: float = 1e-5,
) -> Float[Array, "*batch c"]:
    r"""Normalise each channel by given statistics.

    $$
    y = \gamma\,(x - \mu) / \sqrt{\sigma^2 + \epsilon} + \beta
    $$

    In training the statistics are those of the batch; afterwards they are running averages.

    Args:
        x: the images `[N, H, W, C]` or features `[N, D]`.
        mean: the mean $\mu$ `[C]`, as `batch_statistics` returns it.
        variance: the variance $\sigma^2$ `[C]`.
        scale: the factor $\gamma$ `[C]`.
        bias: the offset $\beta$ `[C]`.
        epsilon: the number that is added to the variance.

    Returns:
        An array with the shape and dtype of `x`.

    Raises:
        ValueError: one of the vectors is not `[C]`.
        TypeError: `x` does not hold floating point numbers.

    Example:
        >>> x = jnp.array([[1.0], [3.0]])
        >>> batch_norm(x, *batch_statistics(x), jnp.ones(1), jnp.zeros(1)).round(3).tolist()
        [[-1.0], [1.0]]

    Source: Ioffe and Szegedy, Batch Normalization, 2015, algorithm 1.
    """
    x, mean, variance = as_float(x), jnp.asarray(mean), jnp.asarray(variance)
    check_channels(x, mean=mean, variance=variance)
    return _normalize(x, mean, variance, scale, bias, epsilon)


def layer_norm(
    x: Float[ArrayLike, "*batch c"],
    scale: Float[ArrayLike, " c"],
    bias: Float[ArrayLike, " c"],
    *,
    epsilon: float = 1e-5,
) -> Float[Array, "*batch c"]:
    r"""Normalise the channels of each pixel, or the features of each example.

    $$
    y = \gamma\,(x - \mu) / \sqrt{\sigma^2 + \epsilon} + \beta
    $$

    The statistics are taken over the last axis. To normalise over all of `[H, W, C]`, use `group_norm` with
    one group.

    Args:
        x: the input `[..., C]`.
        scale: the factor $\gamma$ `[C]`.
        bias: the offset $\beta$ `[C]`.
        epsilon: the number that is added to the variance.

    Returns:
        An array with the shape and dtype of `x`.

    Raises:
        ValueError: `scale` or `bias` is not `[C]`.
        TypeError: `x` does not hold floating point numbers.

    Example:
        >>> layer_norm(jnp.array([[1.0, 3.0]]), jnp.ones(2), jnp.zeros(2)).round(3).tolist()
        [[-1.0, 1.0]]

    Source: Ba, Kiros and Hinton, Layer Normalization, 2016, section 3.
    """
    x = as_float(x)
    return _normalize(x, *_moments(x, (x.ndim - 1,)), scale, bias, epsilon)


def group_norm(
    x: Float[ArrayLike, "n *spatial c"],
    scale: Float[ArrayLike, " c"],
    bias: Float[ArrayLike, " c"],
    *,
    num_groups: int,
    epsilon: float = 1e-5,
) -> Float[Array, "n *spatial c"]:
    r"""Normalise each group of neighbouring channels of each example, over all pixels.

    $$
    y = \gamma\,(x - \mu_g) / \sqrt{\sigma_g^2 + \epsilon} + \beta
    $$

    Args:
        x: the images `[N, H, W, C]` or features `[N, D]`.
        scale: the factor $\gamma$ `[C]`.
        bias: the offset $\beta$ `[C]`.
        num_groups: the number of groups, each of `C / num_groups` channels.
        epsilon: the number that is added to the variance.

    Returns:
        An array with the shape and dtype of `x`.

    Raises:
        ValueError: `num_groups` does not divide `C`, or `scale` or `bias` is not `[C]`.
        TypeError: `x` does not hold floating point numbers.

    Example:
        >>> x = jnp.array([[1.0, 3.0, 10.0, 30.0]])
        >>> group_norm(x, jnp.ones(4), jnp.zeros(4), num_groups=2).round(3).tolist()
        [[-1.0, 1.0, -1.0, 1.0]]

    Source: Wu and He, Group Normalization, 2018, section 3.
    """
    x = as_float(x)
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


def check_channels(x: Shaped[Array, "..."], **vectors: Shaped[Array, "..."]) -> None:
    """Raise a ValueError unless each vector is `[C]`, where `C` is the size of the last axis of `x`."""
    for name, vector in vectors.items():
        if vector.shape != x.shape[-1:]:
            raise ValueError(f"{name} has shape {vector.shape}, x has {x.shape[-1]} channels")


def _moments(
    x: Float[Array, "..."], axes: tuple[int, ...], axis_name: str | None = None
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Return the mean and the variance over `axes`, which are kept with size 1."""

    def mean_over(values: Array) -> Array:
        # The mean of no example would be NaN, and so would the gradients of scale and bias.
        mean = (values.mean if values.size else values.sum)(axes, keepdims=True)
        return mean if axis_name is None else lax.pmean(mean, axis_name)

    x = x.astype(accumulation_dtype(x))
    # The rounding of the first mean would count as a deviation where the values are nearly constant.
    rough = mean_over(x)
    mean = rough + mean_over(x - rough)
    return mean, mean_over(jnp.square(x - mean))


def _normalize(
    x: Float[Array, "*batch c"],
    mean: Float[Array, "..."],
    variance: Float[Array, "..."],
    scale: Float[ArrayLike, " c"],
    bias: Float[ArrayLike, " c"],
    epsilon: float,
) -> Float[Array, "*batch c"]:
    """Normalise by statistics that are `[C]`, or that have the rank of `x` and broadcast against it."""
    scale, bias = jnp.asarray(scale), jnp.asarray(bias)
    check_channels(x, scale=scale, bias=bias)
    dtype = accumulation_dtype(x)
    mean, variance, scale, bias = (
        v.astype(dtype).reshape((1,) * (x.ndim - v.ndim) + v.shape) for v in (mean, variance, scale, bias)
    )
    y = (x.astype(dtype) - mean) * (lax.rsqrt(variance + epsilon) * scale) + bias
    return y.astype(x.dtype)
