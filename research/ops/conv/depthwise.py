"""Convolution whose groups have few channels, as sums of shifted images times one weight for each feature."""

import itertools
import math
from collections.abc import Sequence
from functools import cache, partial, reduce
from operator import add

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from research.ops.conv.chunks import sum_images
from research.ops.conv.geometry import Geometry
from research.ops.conv.gradient import Bilinear, make_bilinear, strided_input_gradient
from research.ops.conv.im2col import conv2d_im2col
from research.ops.conv.patches import window_slice
from research.ops.conv.rotations import rotate_images, rotate_kernel
from research.ops.padding import Pads, Pair, conv_output_size, pad2d
from research.ops.precision import accumulation_dtype

MAX_CHANNELS = 8
"""Groups with more channels or more features than this are convolved by `conv2d_im2col`."""

MAX_SUMS, MAX_TERMS = 9, 8
"""The largest number of sums that one pass over the pixels computes, and of the terms of each sum."""


def conv2d_depthwise(
    x: Float[Array, "n h w c_in"],
    kernel: Float[Array, "kh kw c_group c_out"],
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    groups: int,
) -> Float[Array, "n h_out w_out c_out"]:
    r"""Compute `conv2d` by arithmetic on whole images instead of matrix products.

    For a depthwise convolution this is

    $$
    y = \sum_{a,b} \mathrm{shift}_{a,b}(x) \odot k_{a,b}
    $$

    XLA fuses this sum into one pass over the image. With groups of $c$ channels, the convolution is a sum of
    $c$ such convolutions, in which the channels of the images are rotated within each group. The gradient of
    a kernel element is the sum over all pixels of a shifted image times the gradient of the output. Reverse
    mode works to any order; forward mode (`jax.jvp`) is not available. Groups with more than `MAX_CHANNELS`
    channels or features are convolved by `conv2d_im2col`.
    """
    if max(kernel.shape[2], kernel.shape[3] // groups) > MAX_CHANNELS:
        return conv2d_im2col(x, kernel, strides, pads, dilation, groups)
    return _make_conv(Geometry.of(x, kernel, strides, pads, dilation, groups))(x, kernel)


@cache
def _make_conv(geometry: Geometry) -> Bilinear:
    """Return the convolution of images and kernel, with its gradients."""
    in_size, _, strides, pads, dilation, groups = geometry

    def conv(x: Array, kernel: Array, pads: Pads, strides: Pair = (1, 1)) -> Array:
        return _forward(x, kernel, strides, pads, dilation, groups)

    def input_gradient(dy: Array, kernel: Array) -> Array:
        return strided_input_gradient(conv, dy, kernel, in_size, strides, pads, dilation, groups)

    return make_bilinear(
        lambda x, kernel: conv(x, kernel, pads, strides),
        input_gradient,
        partial(depthwise_weight_gradient, geometry),
    )


def depthwise_weight_gradient(
    geometry: Geometry, x: Float[Array, "n h w c_in"], dy: Float[Array, "n h_out w_out c_out"]
) -> Float[Array, "kh kw c_group c_out"]:
    """Return the gradient of the kernel, as sums over the pixels of shifted images times `dy`."""
    _, kernel_size, strides, pads, dilation, groups = geometry

    def sums_of_some(x: Array, dy: Array) -> Array:
        images = rotate_images(pad2d(x, pads), dy.shape[3], groups)
        rows, columns = (range(0, k * d, d) for k, d in zip(kernel_size, dilation, strict=True))
        starts = list(itertools.product(rows, columns))
        return _sums(images, starts, strides, dy)

    channels, features = x.shape[3] // groups, dy.shape[3]
    sums_per_pixel = math.prod(kernel_size) * channels / MAX_TERMS
    bytes_per_image = 2 * math.prod(x.shape[1:]) + (1 + sums_per_pixel) * math.prod(dy.shape[1:])
    sums = sum_images(sums_of_some, x, dy, int(bytes_per_image * x.dtype.itemsize))
    return rotate_kernel(sums.reshape(*kernel_size, channels, features), groups, 1).astype(x.dtype)


def _forward(
    x: Float[Array, "n h w c_in"],
    kernel: Float[Array, "kh kw c_group c_out"],
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    groups: int,
) -> Float[Array, "n h_out w_out c_out"]:
    """Return the convolution."""
    kh, kw, channels, features = kernel.shape
    out_size = conv_output_size(x.shape[1:3], (kh, kw), strides=strides, padding=pads, dilation=dilation)
    kernel = rotate_kernel(kernel.astype(accumulation_dtype(x)), groups, -1)
    images = rotate_images(pad2d(x, pads), features, groups)

    def term(a: int, b: int, r: int) -> Array:
        start = a * dilation[0], b * dilation[1]
        window = window_slice(images[r], start, out_size, strides).astype(kernel.dtype)
        return window * kernel[a : a + 1, b : b + 1, r : r + 1]

    # Each row of the kernel has its own sum, because a processor computes several sums at the same time.
    rows = [reduce(add, [term(a, b, r) for b in range(kw)]) for r in range(channels) for a in range(kh)]
    return reduce(add, rows).astype(x.dtype)


def _sums(
    images: Sequence[Float[Array, "n h_pad w_pad c_out"]],
    starts: Sequence[Pair],
    strides: Pair,
    dy: Float[Array, "n h_out w_out c_out"],
) -> Float[Array, "sums c_out"]:
    """Return the sums over all pixels of `dy` times the images, shifted by each of `starts`.

    XLA on the CPU computes sums over leading axes slowly, one feature after the other, unless a sum has so
    few terms that LLVM unrolls it. So the rows of each image, or the images, are cut into at most `MAX_TERMS`
    parts. One pass over the pixels of a part adds the products of all parts, for several shifts at the same
    time. The arrays that remain to be summed are small.
    """
    n, rows, columns, features = dy.shape
    dtype = accumulation_dtype(dy)
    by_rows, by_images = (max(i for i in range(1, MAX_TERMS + 1) if size % i == 0) for size in (rows, n))
    parts = (
        (n, by_rows, rows // by_rows)
        if by_rows > 3 or by_rows >= by_images
        else (1, by_images, n // by_images * rows)
    )

    def split(x: Array) -> Array:
        return x.reshape(*parts, columns, features).astype(dtype)

    # The zero is made from dy so that, under shard_map, it varies over the same devices as dy.
    zero = lax.full_like(dy, 0, dtype, shape=())
    factor, sums = split(dy), []
    shifts = [(image, start) for start in starts for image in images]
    for first in range(0, len(shifts), MAX_SUMS):
        windows = [
            window_slice(x, at, (rows, columns), strides) for x, at in shifts[first : first + MAX_SUMS]
        ]
        products = [split(window) * factor for window in windows]
        sums += lax.reduce(products, [zero] * len(products), lambda x, y: [*map(add, x, y)], (1,))
    return jnp.stack([x.reshape(-1, features) for x in sums]).sum(1)
