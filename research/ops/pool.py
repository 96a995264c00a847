"""Max and average pooling, over windows, global and adaptive."""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from research.ops.conv.im2col import conv_output_size
from research.ops.maximum import first_max
from research.ops.padding import Array, Padding, Pads, Pair, Size, check_images, pair, resolve_padding

Reduce = Callable[[Array, tuple[int, ...]], Array]


def max_pool(x: Array, window: Size = 2, strides: Size | None = None, padding: Padding = "VALID") -> Array:
    """Largest value in each window; the gradient goes to one pixel, on a tie the first in reading order.

    .. math:: y_{i,j} = \\max_{a,b} x_{i s + a,\\ j s + b}

    Args:
        x: images ``[N, H, W, C]``, floating.
        window: height and width of the window.
        strides: step of the window; its size if not given.
        padding: as in `resolve_padding`; the border never wins. Under ``"VALID"`` rows and columns that do
            not fill a window are left out.

    Returns:
        ``[N, H_out, W_out, C]``, the dtype of ``x``.

    Raises:
        ValueError: the window does not fit into the padded image, or into the border alone.

    Example:
        >>> x = jnp.array([[1.0, 3, 2, 4], [5, 1, 6, 2], [7, 9, 3, 8], [2, 4, 1, 5]])
        >>> max_pool(x.reshape(1, 4, 4, 1))[0, :, :, 0].tolist()
        [[5.0, 6.0], [9.0, 8.0]]

    Source: Jarrett et al., What is the Best Multi-Stage Architecture for Object Recognition?, 2009.
    """
    window, strides, pads = _geometry(x, window, strides, padding)
    return _pool(x, window, strides, pads, -math.inf, first_max)


def average_pool(
    x: Array, window: Size = 2, strides: Size | None = None, padding: Padding = "VALID"
) -> Array:
    """Mean of the pixels of the image in each window; the border does not count.

    .. math:: y_{i,j} = \\frac{1}{|W_{i,j}|} \\sum_{p \\in W_{i,j}} x_p

    with ``W`` the pixels of the window that lie in the image.

    Args:
        x: images ``[N, H, W, C]``, floating.
        window: height and width of the window.
        strides: step of the window; its size if not given.
        padding: as in `resolve_padding`.

    Returns:
        ``[N, H_out, W_out, C]``, the dtype of ``x``.

    Raises:
        ValueError: the window does not fit into the padded image, or into the border alone.

    Example:
        >>> average_pool(jnp.array([1.0, 2.0, 6.0]).reshape(1, 1, 3, 1), padding="SAME").ravel().tolist()
        [1.5, 6.0]

    Source: LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998, section II.B.
    """
    window, strides, pads = _geometry(x, window, strides, padding)
    mean = _pool(x, window, strides, pads, 0.0, jnp.mean)
    if not any(map(any, pads)):
        return mean
    return mean / _pool(jnp.ones((1, *x.shape[1:3], 1), x.dtype), window, strides, pads, 0.0, jnp.mean)


def global_max_pool(x: Array) -> Array:
    """Largest value of each channel: ``[N, H, W, C]`` to ``[N, C]``, with the gradient of `max_pool`.

    Example:
        >>> global_max_pool(jnp.arange(8.0).reshape(1, 2, 2, 2)).tolist()
        [[6.0, 7.0]]
    """
    check_images(x)
    return first_max(x, (1, 2))


def global_average_pool(x: Array) -> Array:
    """Mean of each channel: ``[N, H, W, C]`` to ``[N, C]``.

    Example:
        >>> global_average_pool(jnp.arange(8.0).reshape(1, 2, 2, 2)).tolist()
        [[3.0, 4.0]]

    Source: Lin, Chen and Yan, Network in Network, 2014, section 3.2.
    """
    check_images(x)
    return jnp.mean(x, (1, 2))


def adaptive_max_pool(x: Array, output_size: Size) -> Array:
    """Largest value of each bin, the bins those of `adaptive_average_pool`, with the gradient of `max_pool`.

    Args:
        x: images ``[N, H, W, C]``, floating.
        output_size: height and width of the output.

    Returns:
        ``[N, *output_size, C]``, the dtype of ``x``.

    Example:
        >>> adaptive_max_pool(jnp.arange(5.0).reshape(1, 5, 1, 1), (2, 1)).ravel().tolist()
        [2.0, 4.0]
    """
    return _adaptive(x, output_size, first_max)


def adaptive_average_pool(x: Array, output_size: Size) -> Array:
    """Mean over bins that cover the image, whatever its size.

    Bin ``i`` of ``n`` along an axis of ``h`` pixels is

    .. math:: [\\lfloor i h / n \\rfloor,\\ \\lceil (i + 1) h / n \\rceil)

    so neighbours share a pixel where ``n`` does not divide ``h``, and pixels repeat where ``n > h``.

    Args:
        x: images ``[N, H, W, C]``, floating.
        output_size: height and width of the output.

    Returns:
        ``[N, *output_size, C]``, the dtype of ``x``.

    Example:
        >>> adaptive_average_pool(jnp.arange(5.0).reshape(1, 5, 1, 1), (2, 1)).ravel().tolist()
        [1.0, 3.0]

    Source: the bins of ``torch.nn.AdaptiveAvgPool2d``.
    """
    return _adaptive(x, output_size, jnp.mean)


def _geometry(x: Array, window: Size, strides: Size | None, padding: Padding) -> tuple[Pair, Pair, Pads]:
    check_images(x)
    window = pair(window, "window")
    strides = window if strides is None else pair(strides, "strides")
    pads = resolve_padding(padding, x.shape[1:3], window, strides)
    if any(max(sides) >= size for sides, size in zip(pads, window, strict=True)):
        raise ValueError(
            f"padding {pads} leaves windows of {window[0]}x{window[1]} with no pixel of the image"
        )
    return window, strides, pads


def _pool(x: Array, window: Pair, strides: Pair, pads: Pads, border: float, reduce: Reduce) -> Array:
    """Reduce windows by a function of arrays and axes that can be applied to one axis after the other."""
    out_size = conv_output_size(x.shape[1:3], window, strides=strides, padding=pads)
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=border)
    if strides == window:
        (height, width), (rows, columns) = out_size, window
        x = x[:, : height * rows, : width * columns]
        return reduce(x.reshape(x.shape[0], height, rows, width, columns, x.shape[3]), (2, 4))
    # Slices, not reduce_window, whose gradient is 5 to 15 times slower in a scan on the CPU. Columns before
    # rows, here and below: so the first winner is the first in reading order.
    for axis in (2, 1):
        size, step, count = window[axis - 1], strides[axis - 1], out_size[axis - 1]
        parts = [lax.slice_in_dim(x, a, a + (count - 1) * step + 1, step, axis) for a in range(size)]
        x = reduce(jnp.stack(parts, axis + 1), (axis + 1,))
    return x


def _adaptive(x: Array, output_size: Size, reduce: Reduce) -> Array:
    check_images(x)
    num_bins = pair(output_size, "output_size")
    for axis in (2, 1):
        size, num = x.shape[axis], num_bins[axis - 1]
        bins = [(i * size // num, -(-(i + 1) * size // num)) for i in range(num)]
        x = jnp.stack([reduce(lax.slice_in_dim(x, *ends, axis=axis), (axis,)) for ends in bins], axis)
    return x
