"""The patches of images: the pixels that a sliding window sees, laid out one window after the other."""

import math

import jax
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Shaped

from research.ops.padding import (
    Padding,
    Pair,
    Size,
    as_images,
    conv_output_size,
    pad2d,
    pair,
    resolve_padding,
)
from research.ops.precision import as_float

FEW_CHANNELS = 4
"""The largest number of channels for which `im2col` copies twice: first kernel columns, then kernel rows.

For such images two copies are faster than one.
"""

FEW_PIXELS = 64
"""The largest number of output pixels for which `im2col` copies twice, for up to 3 kernel columns.

For such outputs two copies are as fast as one, and they take less time to compile.
"""


def im2col(
    x: Shaped[ArrayLike, "n h w c"],
    kernel_size: Size,
    *,
    strides: Size = 1,
    padding: Padding = "SAME",
    padding_mode: str = "zeros",
    dilation: Size = 1,
) -> Shaped[Array, "n h_out w_out khkwc"]:
    r"""Return, for each output pixel, the input pixels that its window sees.

    $$
    P_{n,i,j,(a,b,c)} = x_{n,\ i s + a d,\ j s + b d,\ c}
    $$

    on the padded image. The last axis runs over kernel row, kernel column and channel, so that the patches
    can be multiplied by `kernel.reshape(-1, C_out)`.

    Args:
        x: the images `[N, H, W, C]`.
        kernel_size: the height `kh` and width `kw` of the window.
        strides: the step of the window, in pixels.
        padding: the padding, in any form that `resolve_padding` reads.
        padding_mode: what the border holds: `zeros`, `reflect`, `symmetric`, `replicate` or `circular`.
        dilation: the distance between neighbouring kernel elements, in pixels.

    Returns:
        The patches `[N, H_out, W_out, kh * kw * C]`, with the dtype of `x`.

    Raises:
        ValueError: the window does not fit into the padded image, or an argument is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> image = jnp.arange(1.0, 17.0).reshape(1, 4, 4, 1)
        >>> im2col(image, 3, padding="VALID").reshape(4, 9)[0].astype(int).tolist()
        [1, 2, 3, 5, 6, 7, 9, 10, 11]

    Source: Chellapilla, Puri and Simard, High Performance Convolutional Neural Networks for Document
    Processing, 2006, section 3.
    """
    x = as_images(x)
    (kh, kw), strides = pair(kernel_size, "kernel_size"), pair(strides, "strides")
    dh, dw = pair(dilation, "dilation")
    pads = resolve_padding(padding, x.shape[1:3], (kh, kw), strides, dilation)
    out_size = conv_output_size(x.shape[1:3], (kh, kw), strides=strides, padding=pads, dilation=dilation)
    x = pad2d(x, pads, padding_mode)
    rows, columns = range(0, kh * dh, dh), range(0, kw * dw, dw)
    if x.shape[3] <= FEW_CHANNELS or (math.prod(out_size) <= FEW_PIXELS and kw <= 3 and strides == (1, 1)):
        x = _side_by_side(x, range(1), columns, (x.shape[1], out_size[1]), (1, strides[1]))
        columns, strides = range(1), (strides[0], 1)
    return _side_by_side(x, rows, columns, out_size, strides)


def col2im(
    patches: Float[ArrayLike, "n h_out w_out khkwc"],
    in_size: Size,
    kernel_size: Size,
    *,
    strides: Size = 1,
    padding: Padding = "SAME",
    padding_mode: str = "zeros",
    dilation: Size = 1,
) -> Float[Array, "n h w c"]:
    r"""Add each patch to the pixels from which `im2col` took it.

    This is the adjoint of `im2col`, not its inverse:

    $$
    \langle \mathrm{im2col}(x), p \rangle = \langle x, \mathrm{col2im}(p) \rangle
    $$

    Args:
        patches: the patches `[N, H_out, W_out, kh * kw * C]`.
        in_size: the height `H` and width `W` of the images, in pixels.
        kernel_size: the height `kh` and width `kw` of the window.
        strides: the step of the window, in pixels.
        padding: the padding, in any form that `resolve_padding` reads.
        padding_mode: what the border holds: `zeros`, `reflect`, `symmetric`, `replicate` or `circular`.
        dilation: the distance between neighbouring kernel elements, in pixels.

    Returns:
        The images `[N, H, W, C]`, with the dtype of `patches`.

    Raises:
        ValueError: `patches` does not have the shape that `im2col` returns for these arguments.
        TypeError: `patches` does not hold floating point numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> col2im(jnp.ones((1, 2, 2, 9)), (4, 4), 3, padding="VALID")[0, :, :, 0].astype(int).tolist()
        [[1, 2, 2, 1], [2, 4, 4, 2], [2, 4, 4, 2], [1, 2, 2, 1]]
    """
    patches = as_float(patches)
    (h, w), (kh, kw) = pair(in_size, "in_size"), pair(kernel_size, "kernel_size")
    out_size = conv_output_size((h, w), (kh, kw), strides=strides, padding=padding, dilation=dilation)
    if patches.ndim != 4 or patches.shape[1:3] != out_size or patches.shape[3] % (kh * kw):
        raise ValueError(
            f"patches must be [N, {out_size[0]}, {out_size[1]}, a multiple of {kh * kw}], got {patches.shape}"
        )
    in_shape = patches.shape[0], h, w, patches.shape[3] // (kh * kw)
    # The image is made from the patches, so that under shard_map both may differ between devices.
    image = lax.full_like(patches, 0, shape=in_shape)

    def lay_out(x: Array) -> Array:
        return im2col(
            x, (kh, kw), strides=strides, padding=padding, padding_mode=padding_mode, dilation=dilation
        )

    return jax.vjp(lay_out, image)[1](patches)[0]


def window_slice(
    x: Shaped[Array, "n h w c"], start: Pair, out_size: Pair, strides: Pair
) -> Shaped[Array, "n h_out w_out c"]:
    """Return the pixels that one kernel element sees.

    Args:
        x: the padded images `[N, H, W, C]`.
        start: the row and column of the first pixel.
        out_size: the number of rows and columns of pixels.
        strides: the distance between neighbouring pixels.

    Returns:
        The pixels `[N, *out_size, C]`, with the dtype of `x`.
    """
    stop = [low + (n - 1) * s + 1 for low, n, s in zip(start, out_size, strides, strict=True)]
    return lax.slice(x, (0, *start, 0), (x.shape[0], *stop, x.shape[3]), (1, *strides, 1))


def _side_by_side(
    x: Shaped[Array, "n h w c"], rows: range, columns: range, out_size: Pair, strides: Pair
) -> Shaped[Array, "n h_out w_out khkwc"]:
    """Return what the kernel elements at the offsets `rows` and `columns` see, channel after channel."""
    windows = [window_slice(x, (row, column), out_size, strides) for row in rows for column in columns]
    return lax.concatenate(windows, 3)
