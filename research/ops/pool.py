"""Max and average pooling over windows."""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Shaped

from research.ops.maximum import first_max
from research.ops.padding import (
    Padding,
    Pads,
    Pair,
    Size,
    as_images,
    conv_output_size,
    pair,
    resolve_padding,
)
from research.ops.precision import as_float

Reduction = Callable[[Array, tuple[int, ...]], Array]
"""A function that reduces axes of an array, and that may reduce one axis after the other."""


def max_pool(
    x: Shaped[ArrayLike, "n h w c"], window: Size = 2, strides: Size | None = None, padding: Padding = "VALID"
) -> Shaped[Array, "n h_out w_out c"]:
    r"""Return the largest value in each window.

    $$
    y_{i,j} = \max_{a,b} x_{i s + a,\ j s + b}
    $$

    The gradient goes to one pixel of each window. If several pixels are equal, it goes to the first of them
    in reading order.

    Args:
        x: the images `[N, H, W, C]`, of numbers of any kind.
        window: the height and width of the window.
        strides: the step of the window, which is the size of the window if not given.
        padding: the padding, in any form that `resolve_padding` reads. A border pixel never wins. With
            `"VALID"`, rows and columns that do not fill a window are left out.

    Returns:
        The maxima `[N, H_out, W_out, C]`, with the dtype of `x`. Integers stay exact.

    Raises:
        ValueError: the window does not fit into the padded image, or a window would see the border alone.

    Example:
        >>> x = jnp.array([[1.0, 3, 2, 4], [5, 1, 6, 2], [7, 9, 3, 8], [2, 4, 1, 5]])
        >>> max_pool(x.reshape(1, 4, 4, 1))[0, :, :, 0].tolist()
        [[5.0, 6.0], [9.0, 8.0]]

    Source: Jarrett et al., What is the Best Multi-Stage Architecture for Object Recognition?, 2009.
    """
    x = as_images(x)
    window, strides, pads = _geometry(x, window, strides, padding)
    if x.dtype == jnp.bool_:
        border = 0
    else:
        border = -math.inf if jnp.issubdtype(x.dtype, jnp.floating) else int(jnp.iinfo(x.dtype).min)
    return _pool(x, window, strides, pads, border, first_max)


def average_pool(
    x: Float[ArrayLike, "n h w c"], window: Size = 2, strides: Size | None = None, padding: Padding = "VALID"
) -> Float[Array, "n h_out w_out c"]:
    r"""Return the mean of the pixels in each window, without counting the border.

    $$
    y_{i,j} = \frac{1}{|W_{i,j}|} \sum_{p \in W_{i,j}} x_p
    $$

    where $W_{i,j}$ are the pixels of the window that lie in the image.

    Args:
        x: the images `[N, H, W, C]`, of floating point numbers.
        window: the height and width of the window.
        strides: the step of the window, which is the size of the window if not given.
        padding: the padding, in any form that `resolve_padding` reads.

    Returns:
        The means `[N, H_out, W_out, C]`, with the dtype of `x`.

    Raises:
        ValueError: the window does not fit into the padded image, or a window would see the border alone.
        TypeError: `x` does not hold floating point numbers.

    Example:
        >>> average_pool(jnp.array([1.0, 2.0, 6.0]).reshape(1, 1, 3, 1), padding="SAME").ravel().tolist()
        [1.5, 6.0]

    Source: LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998, section II.B.
    """
    x = as_images(as_float(x))
    window, strides, pads = _geometry(x, window, strides, padding)
    mean = _pool(x, window, strides, pads, 0.0, jnp.mean)
    if not any(map(any, pads)):
        return mean
    return mean / _pool(jnp.ones((1, *x.shape[1:3], 1), x.dtype), window, strides, pads, 0.0, jnp.mean)


def _geometry(
    x: Shaped[Array, "n h w c"], window: Size, strides: Size | None, padding: Padding
) -> tuple[Pair, Pair, Pads]:
    """Return the window, the strides and the pixels of padding, after checking that they fit the images."""
    window = pair(window, "window")
    strides = window if strides is None else pair(strides, "strides")
    pads = resolve_padding(padding, x.shape[1:3], window, strides)
    if any(max(sides) >= size for sides, size in zip(pads, window, strict=True)):
        raise ValueError(
            f"padding {pads} leaves windows of {window[0]}x{window[1]} with no pixel of the image"
        )
    return window, strides, pads


def _pool(
    x: Shaped[Array, "n h w c"], window: Pair, strides: Pair, pads: Pads, border: float, reduce: Reduction
) -> Shaped[Array, "n h_out w_out c"]:
    """Return the reduction of each window, after padding the images with the value `border`."""
    out_size = conv_output_size(x.shape[1:3], window, strides=strides, padding=pads)
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=border)
    if strides == window:
        (height, width), (rows, columns) = out_size, window
        x = x[:, : height * rows, : width * columns]
        return reduce(x.reshape(x.shape[0], height, rows, width, columns, x.shape[3]), (2, 4))
    # Slices are used because the gradient of `lax.reduce_window` is 5 to 15 times slower in a scan on the
    # CPU. Columns are reduced before rows, as in `adaptive_pool`, so that the first winner is the first in
    # reading order.
    for axis in (2, 1):
        size, step, count = window[axis - 1], strides[axis - 1], out_size[axis - 1]
        parts = [lax.slice_in_dim(x, a, a + (count - 1) * step + 1, step, axis) for a in range(size)]
        x = reduce(jnp.stack(parts, axis + 1), (axis + 1,))
    return x
