"""Max and average pooling to a fixed size: over the whole image, or over bins that cover it."""

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Shaped

from research.ops.maximum import first_max
from research.ops.padding import Size, as_images, pair
from research.ops.pool import Reduction
from research.ops.precision import as_float


def global_max_pool(x: Shaped[ArrayLike, "n h w c"]) -> Shaped[Array, "n c"]:
    """Return the largest value of each channel, with the gradient of `max_pool`.

    Args:
        x: the images `[N, H, W, C]`, of numbers of any kind.

    Returns:
        The maxima `[N, C]`, with the dtype of `x`. Integers stay exact.

    Example:
        >>> global_max_pool(jnp.arange(8.0).reshape(1, 2, 2, 2)).tolist()
        [[6.0, 7.0]]
    """
    return first_max(as_images(x), (1, 2))


def global_average_pool(x: Float[ArrayLike, "n h w c"]) -> Float[Array, "n c"]:
    """Return the mean of each channel.

    Args:
        x: the images `[N, H, W, C]`, of floating point numbers.

    Returns:
        The means `[N, C]`, with the dtype of `x`.

    Raises:
        TypeError: `x` does not hold floating point numbers.

    Example:
        >>> global_average_pool(jnp.arange(8.0).reshape(1, 2, 2, 2)).tolist()
        [[3.0, 4.0]]

    Source: Lin, Chen and Yan, Network in Network, 2014, section 3.2.
    """
    return jnp.mean(as_images(as_float(x)), (1, 2))


def adaptive_max_pool(x: Shaped[ArrayLike, "n h w c"], output_size: Size) -> Shaped[Array, "n h_out w_out c"]:
    """Return the largest value of each bin, with the gradient of `max_pool`.

    Args:
        x: the images `[N, H, W, C]`, of numbers of any kind.
        output_size: the height and width of the output. The bins are those of `adaptive_average_pool`.

    Returns:
        The maxima `[N, *output_size, C]`, with the dtype of `x`. Integers stay exact.

    Example:
        >>> adaptive_max_pool(jnp.arange(5.0).reshape(1, 5, 1, 1), (2, 1)).ravel().tolist()
        [2.0, 4.0]
    """
    return _adaptive(x, output_size, first_max)


def adaptive_average_pool(
    x: Float[ArrayLike, "n h w c"], output_size: Size
) -> Float[Array, "n h_out w_out c"]:
    r"""Return the means of a fixed number of bins that cover the image, whatever its size.

    Bin $i$ of $n$ along an axis of $h$ pixels holds the pixels

    $$
    [\lfloor i h / n \rfloor,\ \lceil (i + 1) h / n \rceil)
    $$

    Neighbouring bins share a pixel if $n$ does not divide $h$, and pixels are repeated if $n > h$.

    Args:
        x: the images `[N, H, W, C]`, of floating point numbers.
        output_size: the height and width of the output.

    Returns:
        The means `[N, *output_size, C]`, with the dtype of `x`.

    Raises:
        TypeError: `x` does not hold floating point numbers.

    Example:
        >>> adaptive_average_pool(jnp.arange(5.0).reshape(1, 5, 1, 1), (2, 1)).ravel().tolist()
        [1.0, 3.0]

    Source: the bins are those of `torch.nn.AdaptiveAvgPool2d`.
    """
    return _adaptive(as_float(x), output_size, jnp.mean)


def _adaptive(
    x: Shaped[ArrayLike, "n h w c"], output_size: Size, reduce: Reduction
) -> Shaped[Array, "n h_out w_out c"]:
    """Return the reduction of each bin."""
    x = as_images(x)
    num_bins = pair(output_size, "output_size")
    for axis in (2, 1):
        size, num = x.shape[axis], num_bins[axis - 1]
        bins = [(i * size // num, -(-(i + 1) * size // num)) for i in range(num)]
        x = jnp.stack([reduce(lax.slice_in_dim(x, *ends, axis=axis), (axis,)) for ends in bins], axis)
    return x
