"""The gradient of the kernel of a convolution, as a convolution with the gradient of the output."""

import math
from functools import partial

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from research.ops.conv.chunks import CHUNK_BYTES, sum_images
from research.ops.padding import Pads, Pair

SMALLER = 2
"""The factor by which the chunks of `weight_gradient` have fewer bytes than those of other passes."""


def weight_gradient(
    x: Float[Array, "n h w c_in"],
    dy: Float[Array, "n h_out w_out c_out"],
    size: Pair,
    strides: Pair,
    pads: Pads,
    dilation: Pair,
) -> Float[Array, "kh kw c_in c_out"]:
    r"""Return the gradient of the kernel of a convolution of one group.

    $$
    dk_{a,b,c,o} = \sum_{i} \Big(\sum_{n,j} x_{n,\ i s + a d,\ j s + b d,\ c}\; dy_{n,i,j,o}\Big)
    $$

    The sum over the rows $i$ is a convolution along the rows, whose kernel is `dy` and has as many rows as
    `dy`. Its channels are the pairs of image and column $(n, j)$, and its columns of pixels are the pairs of
    kernel column and channel $(b, c)$. So XLA computes dots of the form `[M, K] [K, N]`, which are the
    fastest, and the images are copied only once for each column of the kernel.

    Args:
        x: the images.
        dy: the gradient of the output.
        size: the height and width of the kernel.
        strides: the strides of the convolution.
        pads: the padding of the convolution, in pixels.
        dilation: the dilation of the convolution.

    Returns:
        The gradient, with the dtype of `x`.
    """
    image_bytes = (2 + size[1]) * math.prod(x.shape[1:]) * x.dtype.itemsize
    # A chunk is small, so that it stays in the level-2 cache of one core. It has at least two images, because
    # for single images XLA would move the transpose out of the loop, to a copy of all images.
    image_bytes = min(SMALLER * image_bytes, CHUNK_BYTES // 2)
    return sum_images(partial(_of_some, size, strides, pads, dilation), x, dy, image_bytes)


def _of_some(
    size: Pair, strides: Pair, pads: Pads, dilation: Pair, x: Array, dy: Array
) -> Float[Array, "kh kw c_in c_out"]:
    """Return the gradient of the kernel for a few images."""
    n, rows, columns, features = dy.shape
    x = jnp.pad(x.transpose(1, 3, 0, 2), (pads[0], (0, 0), (0, 0), pads[1]))  # [H, C_in, N, W]
    starts = range(0, size[1] * dilation[1], dilation[1])
    seen = [x[..., b : b + (columns - 1) * strides[1] + 1 : strides[1]] for b in starts]
    seen = jnp.concatenate(seen, 1).reshape(1, x.shape[0], -1, n * columns)
    seen = seen[:, : (size[0] - 1) * dilation[0] + (rows - 1) * strides[0] + 1]
    dy = dy.transpose(1, 0, 2, 3).reshape(rows, 1, n * columns, features)
    dk = lax.conv_general_dilated(
        seen,
        dy,
        (dilation[0], 1),
        "VALID",
        rhs_dilation=(strides[0], 1),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return dk.reshape(*size, -1, features)
