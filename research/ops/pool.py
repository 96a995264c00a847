"""Max and average pooling, global and adaptive."""

from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from research.ops.conv.im2col import conv_output_size
from research.ops.padding import Array, Padding, Pair, Size, pair, resolve_padding


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _max(x: Array, axes: tuple[int, ...]) -> Array:
    """Maximum over ``axes``, kept as axes of size 1; its gradient goes to the first winner only."""
    return jnp.max(x, axes, keepdims=True)


@_max.defjvp
def _max_jvp(axes: tuple[int, ...], primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (tangent,) = primals, tangents
    y = _max(x, axes)
    position = jnp.zeros(x.shape, jnp.int32)
    size = 1
    for axis in reversed(axes):
        position += size * lax.broadcasted_iota(jnp.int32, x.shape, axis)
        size *= x.shape[axis]
    wins = (x == y) | jnp.isnan(x)
    first = jnp.min(jnp.where(wins, position, size), axes, keepdims=True)
    return y, jnp.sum(jnp.where(position == first, tangent, 0), axes, keepdims=True)


def max_pool(x: Array, window: Size = 2, strides: Size | None = None, padding: Padding = "VALID") -> Array:
    """Largest value in each window; on a tie the gradient goes to the first winner only.

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
        ValueError: the window does not fit into the padded image.

    Example:
        >>> x = jnp.array([[1.0, 3, 2, 4], [5, 1, 6, 2], [7, 9, 3, 8], [2, 4, 1, 5]])
        >>> max_pool(x.reshape(1, 4, 4, 1))[0, :, :, 0].tolist()
        [[5.0, 6.0], [9.0, 8.0]]
    """
    window, strides, pads, (out_h, out_w) = _geometry(x, window, strides, padding)
    if strides == window and pads == ((0, 0), (0, 0)):
        return _max(_split(x, window, (out_h, out_w)), (2, 4)).reshape(x.shape[0], out_h, out_w, x.shape[3])
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, *window, 1), (1, *strides, 1), ((0, 0), *pads, (0, 0)))


def average_pool(
    x: Array, window: Size = 2, strides: Size | None = None, padding: Padding = "VALID"
) -> Array:
    """Mean of each window; pixels of the border count neither above nor below the line.

    .. math:: y_{i,j} = \\frac{1}{|W|} \\sum_{(a,b) \\in W} x_{i s + a,\\ j s + b}

    with ``W`` the pixels of the window that lie inside the image.

    Args:
        x: images ``[N, H, W, C]``, floating.
        window: height and width of the window.
        strides: step of the window; its size if not given.
        padding: as in `resolve_padding`.

    Returns:
        ``[N, H_out, W_out, C]``, the dtype of ``x``.

    Raises:
        ValueError: the window does not fit into the padded image.

    Example:
        >>> average_pool(jnp.arange(4.0).reshape(1, 2, 2, 1)).item()
        1.5
    """
    window, strides, pads, out_size = _geometry(x, window, strides, padding)
    if strides == window and pads == ((0, 0), (0, 0)):
        return _split(x, window, out_size).mean((2, 4))
    dims = (1, *window, 1), (1, *strides, 1), ((0, 0), *pads, (0, 0))
    total = lax.reduce_window(x, 0.0, lax.add, *dims)
    count = lax.reduce_window(jnp.ones((1, *x.shape[1:3], 1), x.dtype), 0.0, lax.add, *dims)
    return total / count


def global_max_pool(x: Array) -> Array:
    """Largest value of each channel: ``[N, H, W, C]`` to ``[N, C]``, with the gradient rule of `max_pool`.

    Example:
        >>> global_max_pool(jnp.arange(8.0).reshape(1, 2, 2, 2)).tolist()
        [[6.0, 7.0]]
    """
    return _max(x, (1, 2)).squeeze((1, 2))


def global_average_pool(x: Array) -> Array:
    """Mean of each channel: ``[N, H, W, C]`` to ``[N, C]``.

    Example:
        >>> global_average_pool(jnp.arange(8.0).reshape(1, 2, 2, 2)).tolist()
        [[3.0, 4.0]]

    Source: Lin, Chen and Yan, Network in Network, 2014, section 3.2.
    """
    return x.mean((1, 2))


def adaptive_max_pool(x: Array, output_size: Size) -> Array:
    """`max_pool` to a fixed output size; bins as in `adaptive_average_pool`.

    Example:
        >>> adaptive_max_pool(jnp.arange(5.0).reshape(1, 5, 1, 1), (2, 1)).ravel().tolist()
        [2.0, 4.0]
    """
    return _adaptive(x, output_size, lambda part, axis: _max(part, (axis,)))


def adaptive_average_pool(x: Array, output_size: Size) -> Array:
    """Mean over bins that cover the image, whatever its size.

    Bin ``i`` of ``n`` along an axis of ``h`` pixels is

    .. math:: [\\lfloor i h / n \\rfloor,\\ \\lceil (i + 1) h / n \\rceil)

    so bins may overlap by a pixel, and repeat pixels where ``n > h``.

    Args:
        x: images ``[N, H, W, C]``, floating.
        output_size: height and width of the output.

    Returns:
        ``[N, *output_size, C]``, the dtype of ``x``.

    Example:
        >>> adaptive_average_pool(jnp.arange(5.0).reshape(1, 5, 1, 1), (2, 1)).ravel().tolist()
        [1.0, 3.0]
    """
    return _adaptive(x, output_size, lambda part, axis: part.mean(axis, keepdims=True))


def _adaptive(x: Array, output_size: Size, reduce: Callable[[Array, int], Array]) -> Array:
    rows, columns = pair(output_size, "output_size")
    # columns before rows, so that the winner of a maximum is the first in reading order
    for axis, num_bins in ((2, columns), (1, rows)):
        parts = [reduce(lax.slice_in_dim(x, *b, axis=axis), axis) for b in _bins(x.shape[axis], num_bins)]
        x = lax.concatenate(parts, axis)
    return x


def _bins(size: int, num_bins: int) -> Iterator[Pair]:
    return ((i * size // num_bins, -(-(i + 1) * size // num_bins)) for i in range(num_bins))


def _geometry(x: Array, window: Size, strides: Size | None, padding: Padding):
    window = pair(window, "window")
    strides = window if strides is None else pair(strides, "strides")
    pads = resolve_padding(padding, x.shape[1:3], window, strides)
    return window, strides, pads, conv_output_size(x.shape[1:3], window, strides=strides, padding=pads)


def _split(x: Array, window: Pair, out_size: Pair) -> Array:
    (wh, ww), (out_h, out_w) = window, out_size
    return x[:, : out_h * wh, : out_w * ww].reshape(x.shape[0], out_h, wh, out_w, ww, x.shape[3])
