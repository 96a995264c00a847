"""Convolution written by hand: the image copied for each kernel element, then one matrix product."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from research.ops.conv.chunks import map_images, sum_images
from research.ops.conv.gradient import input_gradient
from research.ops.conv.groups import join_kernel, join_patches, split_kernel, split_patches
from research.ops.padding import Array, Padding, Pads, Pair, Size, check_images, pad2d, pair, resolve_padding
from research.ops.precision import accumulation_dtype

FEW_CHANNELS = 4
"""Most channels of an image whose patches are faster laid out in two copies, kernel columns, then rows."""

FEW_PIXELS = 64
"""Most pixels of an output for which these, for up to 3 kernel columns, are as fast and sooner compiled."""


def conv_output_size(
    in_size: Size, kernel_size: Size, *, strides: Size = 1, padding: Padding = "SAME", dilation: Size = 1
) -> Pair:
    """Height and width of what a window slid over an image gives.

    .. math:: \\lfloor (n + p - (k - 1)\\,d - 1) / s \\rfloor + 1

    with ``p`` the padding of both sides together.

    Args:
        in_size: height and width of the image, in pixels.
        kernel_size: height and width of the kernel or pooling window.
        strides: step of the window.
        padding: as in `resolve_padding`.
        dilation: distance between neighbouring kernel elements.

    Raises:
        ValueError: the window does not fit into the padded image.

    Example:
        >>> conv_output_size((28, 28), 3, strides=2), conv_output_size((28, 28), 3, padding="VALID")
        ((14, 14), (26, 26))
    """
    in_size, kernel_size = pair(in_size, "in_size"), pair(kernel_size, "kernel_size")
    strides, dilation = pair(strides, "strides"), pair(dilation, "dilation")
    pads = resolve_padding(padding, in_size, kernel_size, strides, dilation)
    height, width = (n + low + high for n, (low, high) in zip(in_size, pads, strict=True))
    rows, columns = ((k - 1) * d + 1 for k, d in zip(kernel_size, dilation, strict=True))
    if rows > height or columns > width:
        raise ValueError(f"window spans {rows}x{columns} pixels, the padded image has {height}x{width}")
    return (height - rows) // strides[0] + 1, (width - columns) // strides[1] + 1


def im2col(
    x: Array,
    kernel_size: Size,
    *,
    strides: Size = 1,
    padding: Padding = "SAME",
    padding_mode: str = "zeros",
    dilation: Size = 1,
) -> Array:
    """Lay out, for each output pixel, the input pixels that its window sees.

    .. math:: P_{n,i,j,(a,b,c)} = x_{n,\\ i s + a d,\\ j s + b d,\\ c}

    on the padded image. The last axis runs over kernel row, kernel column and channel, so that it multiplies
    ``kernel.reshape(-1, C_out)``.

    Args:
        x: images ``[N, H, W, C]``.
        kernel_size: height ``kh`` and width ``kw`` of the window.
        strides: step of the window.
        padding: as in `resolve_padding`.
        padding_mode: as in `pad2d`.
        dilation: distance between neighbouring kernel elements.

    Returns:
        Patches ``[N, H_out, W_out, kh * kw * C]``, the dtype of ``x``.

    Raises:
        ValueError: the window does not fit, or an argument has no meaning.

    Example:
        >>> image = jnp.arange(1.0, 17.0).reshape(1, 4, 4, 1)
        >>> im2col(image, 3, padding="VALID").reshape(4, 9)[0].astype(int).tolist()
        [1, 2, 3, 5, 6, 7, 9, 10, 11]

    Source: Chellapilla, Puri and Simard, High Performance Convolutional Neural Networks for Document
    Processing, 2006, section 3.
    """
    check_images(x)
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


def _side_by_side(x: Array, rows: range, columns: range, out_size: Pair, strides: Pair) -> Array:
    """What the kernel elements see that lie ``rows`` below and ``columns`` right of the first."""
    windows = [window_slice(x, (row, column), out_size, strides) for row in rows for column in columns]
    return lax.concatenate(windows, 3)


def window_slice(x: Array, start: Pair, out_size: Pair, strides: Pair) -> Array:
    """The pixels that one kernel element sees: ``out_size`` of them from ``start`` on, ``strides`` apart."""
    stop = [low + (n - 1) * s + 1 for low, n, s in zip(start, out_size, strides, strict=True)]
    return lax.slice(x, (0, *start, 0), (x.shape[0], *stop, x.shape[3]), (1, *strides, 1))


def col2im(
    patches: Array,
    in_size: Size,
    kernel_size: Size,
    *,
    strides: Size = 1,
    padding: Padding = "SAME",
    padding_mode: str = "zeros",
    dilation: Size = 1,
) -> Array:
    """Add patches up where `im2col` took them from: its exact adjoint, not its inverse.

    .. math:: \\langle \\mathrm{im2col}(x), p \\rangle = \\langle x, \\mathrm{col2im}(p) \\rangle

    Args:
        patches: ``[N, H_out, W_out, kh * kw * C]``.
        in_size: height ``H`` and width ``W`` of the image.
        kernel_size: as in `im2col`, as are the arguments after it.
        strides: step of the window.
        padding: as in `resolve_padding`.
        padding_mode: as in `pad2d`.
        dilation: distance between neighbouring kernel elements.

    Returns:
        Images ``[N, H, W, C]``, the dtype of ``patches``.

    Raises:
        ValueError: patches are not of the shape that `im2col` returns for these arguments.

    Example:
        >>> col2im(jnp.ones((1, 2, 2, 9)), (4, 4), 3, padding="VALID")[0, :, :, 0].astype(int).tolist()
        [[1, 2, 2, 1], [2, 4, 4, 2], [2, 4, 4, 2], [1, 2, 2, 1]]
    """
    (h, w), (kh, kw) = pair(in_size, "in_size"), pair(kernel_size, "kernel_size")
    out_size = conv_output_size((h, w), (kh, kw), strides=strides, padding=padding, dilation=dilation)
    if patches.ndim != 4 or patches.shape[1:3] != out_size or patches.shape[3] % (kh * kw):
        raise ValueError(
            f"patches must be [N, {out_size[0]}, {out_size[1]}, a multiple of {kh * kw}], got {patches.shape}"
        )
    in_shape = patches.shape[0], h, w, patches.shape[3] // (kh * kw)
    # like patches: under shard_map both differ between devices
    image = lax.full_like(patches, 0, shape=in_shape)

    def lay_out(x: Array) -> Array:
        return im2col(
            x, (kh, kw), strides=strides, padding=padding, padding_mode=padding_mode, dilation=dilation
        )

    return jax.vjp(lay_out, image)[1](patches)[0]


def conv2d_im2col(x: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair, groups: int) -> Array:
    """`conv2d` as slices and one dot for a few images at a time, batched over the groups.

    Its gradients are its own, and again slices and dots for a few images at a time: no patch matrix of the
    whole batch is ever in memory, and nothing becomes slow inside a loop on the CPU or under ``vmap`` over
    kernels. Forward mode (``jax.jvp``, ``jax.jacfwd``) is available for 1×1 kernels only.
    """
    if kernel.shape[:2] == (1, 1):
        return _multiply(im2col(x, 1, strides=strides, padding=pads), kernel, groups)
    return _conv2d(x, kernel, strides, pads, dilation, groups)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5))
def _conv2d(x: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair, groups: int) -> Array:
    def some(x: Array) -> Array:
        patches = im2col(x, kernel.shape[:2], strides=strides, padding=pads, dilation=dilation)
        return _multiply(patches, kernel, groups)

    return map_images(some, x, _patch_bytes(x, kernel, strides, pads, dilation))


def _forward(
    x: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair, groups: int
) -> tuple[Array, tuple[Array, Array]]:
    return _conv2d(x, kernel, strides, pads, dilation, groups), (x, kernel)


def _backward(
    strides: Pair, pads: Pads, dilation: Pair, groups: int, saved: tuple[Array, Array], dy: Array
) -> tuple[Array, Array]:
    x, kernel = saved
    size = kernel.shape[:2]
    elements = size[0] * size[1]
    patch_bytes = _patch_bytes(x, kernel, strides, pads, dilation)

    def some_dkernel(x: Array, dy: Array) -> Array:
        patches = im2col(x, size, strides=strides, padding=pads, dilation=dilation)
        patches = split_patches(patches.reshape(1, -1, elements, x.shape[3]), groups)
        dy = split_patches(dy.reshape(1, -1, 1, dy.shape[3]), groups)
        return jnp.einsum("gtk,gto->gko", patches, dy, preferred_element_type=accumulation_dtype(x))

    def some_dx(dy: Array) -> Array:
        outputs = split_patches(dy.reshape(1, -1, 1, dy.shape[3]), groups)
        weights = split_kernel(kernel.reshape(1, elements, *kernel.shape[2:]), groups)
        patches = join_patches(jnp.einsum("gto,gko->gtk", outputs, weights), groups, elements)
        patches = patches.reshape(*dy.shape[:3], -1)
        return col2im(patches, x.shape[1:3], size, strides=strides, padding=pads, dilation=dilation)

    def conv(dy: Array, kernel: Array, pads: Pads) -> Array:
        return _conv2d(dy, kernel, strides, pads, dilation, groups)

    if strides == (1, 1):
        dx = input_gradient(conv, dy, kernel, pads, dilation, groups)
    else:
        dx = map_images(some_dx, dy, patch_bytes)
    dkernel = join_kernel(sum_images(some_dkernel, x, dy, patch_bytes), groups, elements)
    return dx, dkernel.reshape(kernel.shape).astype(kernel.dtype)


_conv2d.defvjp(_forward, _backward)


def _multiply(patches: Array, kernel: Array, groups: int) -> Array:
    kh, kw, features_in, features_out = kernel.shape
    rows = split_patches(patches.reshape(1, -1, kh * kw, features_in * groups), groups)
    weights = split_kernel(kernel.reshape(1, kh * kw, features_in, features_out), groups)
    return join_patches(rows @ weights, groups, 1).reshape(*patches.shape[:3], features_out)


def _patch_bytes(x: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair) -> int:
    size = kernel.shape[:2]
    depth = size[0] * size[1] * x.shape[3]
    if depth <= kernel.shape[3]:
        return 0  # patches no larger than the output: a loop would cost more than it saves
    out_h, out_w = conv_output_size(x.shape[1:3], size, strides=strides, padding=pads, dilation=dilation)
    return out_h * out_w * depth * x.dtype.itemsize
