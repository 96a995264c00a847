"""Convolution by oneDNN, with gradients that are convolutions by oneDNN, too."""

import math
from functools import cache, partial

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from research.ops.conv.chunks import CHUNK_BYTES, sum_images
from research.ops.conv.depthwise import MAX_CHANNELS, depthwise_weight_gradient
from research.ops.conv.fast import FEW_CHANNELS, NARROW, has_fast_kernel
from research.ops.conv.geometry import Geometry, make_convolution
from research.ops.conv.gradient import Bilinear, crop
from research.ops.conv.lax import conv2d_lax
from research.ops.conv.lax_vjp import conv2d_lax_vjp, convolve_by_lax, patches_weight_gradient
from research.ops.conv.onednn_call import call_onednn, has_onednn
from research.ops.padding import Pads, Pair

SMALLER = 3
"""For the weight gradient, the limit on the bytes of a chunk is divided by this number."""

FEWEST_IMAGES = 8
"""For the weight gradient, the limit on bytes is raised so that this many images fit into a chunk."""


def conv2d_onednn(
    x: Float[Array, "n h w c_in"],
    kernel: Float[Array, "kh kw c_group c_out"],
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    groups: int,
) -> Float[Array, "n h_out w_out c_out"]:
    """Compute `conv2d` by the kernels of oneDNN, which PyTorch uses on x86 processors, too.

    XLA contains oneDNN, but calls it only if a flag is set, and never for gradients. This function calls it
    for the convolution and most gradients, which are as fast inside a loop as outside. Under `vmap` over
    kernels, `conv2d_im2col` is used instead. If XLA has no oneDNN (`has_onednn`), or if the images are not in
    float32, this is `conv2d_lax_vjp`. Reverse mode works to any order; forward mode (`jax.jvp`) is not
    available.

    Source: oneDNN, the oneAPI Deep Neural Network Library, https://github.com/uxlfoundation/oneDNN.
    """
    if x.dtype != jnp.float32 or not x.size or not kernel.size or not has_onednn():
        return conv2d_lax_vjp(x, kernel, strides, pads, dilation, groups)
    return _make_conv(Geometry.of(x, kernel, strides, pads, dilation, groups))(x, kernel)


@cache
def _make_conv(geometry: Geometry) -> Bilinear:
    """Return the convolution of images and kernel, with its gradients."""
    return make_convolution(geometry, _forward, _weight_gradient, patches_weight_gradient)


def _forward(
    geometry: Geometry, x: Float[Array, "n h w c_in"], kernel: Float[Array, "kh kw c_group c_out"]
) -> Float[Array, "n h_out w_out c_out"]:
    """Return the convolution by oneDNN, or by the compiler for images without any pixel.

    With many channels and few features, as in the gradient of the input of a first layer, the convolution is
    computed as in `lax_vjp`, several pixels at a time. oneDNN would leave most of a vector empty.
    """
    if not x.size:
        return conv2d_lax(x, kernel, *geometry[2:])
    channels, features = kernel.shape[2:]
    if geometry.groups == 1 and features <= NARROW and channels > 2 * FEW_CHANNELS and has_fast_kernel():
        return convolve_by_lax(geometry, x, kernel)
    return call_onednn(x, kernel, *geometry[2:])


def _weight_gradient(
    geometry: Geometry, x: Float[Array, "n h w c_in"], dy: Float[Array, "n h_out w_out c_out"]
) -> Float[Array, "kh kw c_group c_out"]:
    """Return the gradient of the kernel, as a sum over a few images at a time."""
    if x.shape[3] == geometry.groups > 1 and dy.shape[3] <= MAX_CHANNELS * geometry.groups:
        return depthwise_weight_gradient(geometry, x, dy)
    if geometry.kernel_size == (1, 1) or x.shape[3] == geometry.groups > 1:
        return patches_weight_gradient(geometry, x, dy)
    bytes_per_image = (2 * math.prod(x.shape[1:]) + math.prod(dy.shape[1:])) * x.dtype.itemsize
    bytes_per_image = min(SMALLER * bytes_per_image, CHUNK_BYTES // FEWEST_IMAGES)
    return sum_images(partial(_of_some, geometry), x, dy, bytes_per_image)


def _of_some(
    geometry: Geometry, x: Float[Array, "n h w c_in"], dy: Float[Array, "n h_out w_out c_out"]
) -> Float[Array, "kh kw c_group c_out"]:
    r"""Return the gradient of the kernel for a few images.

    $$
    dk_{a,b,c,o} = \sum_{n,i,j} x_{n,\ i s + a d,\ j s + b d,\ c}\; dy_{n,i,j,o}
    $$

    This is a convolution with one image, whose channels are the images $n$, and whose columns are the pairs
    of column and channel $(j, c)$. Its kernel is `dy`, with a dilation by the strides and, along the columns,
    by the number of channels. So the images are transposed once and not copied for each kernel element.
    """
    _, (kh, kw), strides, pads, dilation, groups = geometry
    n, rows, columns, features = dy.shape
    sizes = zip(x.shape[1:3], (kh, kw), (rows, columns), strides, dilation, pads, strict=True)
    needed = [(low, (k - 1) * d + (out - 1) * s + 1 - size - low) for size, k, out, s, d, (low, _) in sizes]
    (top, bottom), (left, right) = needed
    x, (vertical, (left, right)) = crop(x, ((top, bottom), (left, right)))
    height, width, channels = x.shape[1], x.shape[2], x.shape[3] // groups
    x = x.reshape(n, height * width, groups, channels).transpose(1, 3, 2, 0)
    dk = call_onednn(
        x.reshape(1, height, width * channels, groups * n),
        dy,
        (dilation[0], 1),
        (vertical, (left * channels, right * channels)),
        (strides[0], strides[1] * channels),
        groups,
        kernel_axes=(1, 2, 0, 3),
    )
    return dk.reshape(kh, -1, channels, features)[:, :: dilation[1]]
