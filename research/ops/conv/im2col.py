"""Convolution as one matrix product of the patches of the images with the kernel."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from research.ops.conv.chunks import map_images, sum_images
from research.ops.conv.gradient import input_gradient
from research.ops.conv.groups import join_kernel, join_patches, split_kernel, split_patches
from research.ops.conv.patches import col2im, im2col
from research.ops.padding import Pads, Pair, conv_output_size
from research.ops.precision import accumulation_dtype


def conv2d_im2col(
    x: Float[Array, "n h w c_in"],
    kernel: Float[Array, "kh kw c_group c_out"],
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    groups: int,
) -> Float[Array, "n h_out w_out c_out"]:
    """Compute `conv2d` by slices and dots, for a few images at a time.

    Its gradients are written by hand, and they are slices and dots for a few images at a time too. So the
    patch matrix of the whole batch is never in memory, and nothing becomes slow inside a loop on the CPU or
    under `vmap` over kernels. Forward mode (`jax.jvp`, `jax.jacfwd`) is available for 1×1 kernels only.
    """
    if kernel.shape[:2] == (1, 1):
        return _multiply(im2col(x, 1, strides=strides, padding=pads), kernel, groups)
    return _conv2d(x, kernel, strides, pads, dilation, groups)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5))
def _conv2d(
    x: Float[Array, "n h w c_in"],
    kernel: Float[Array, "kh kw c_group c_out"],
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    groups: int,
) -> Float[Array, "n h_out w_out c_out"]:
    """Compute the convolution of kernels that are larger than 1×1."""

    def conv_some(x: Array) -> Array:
        patches = im2col(x, kernel.shape[:2], strides=strides, padding=pads, dilation=dilation)
        return _multiply(patches, kernel, groups)

    return map_images(conv_some, x, _patch_bytes(x, kernel, strides, pads, dilation))


def _forward(
    x: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair, groups: int
) -> tuple[Array, tuple[Array, Array]]:
    """Return the output and what `_backward` needs."""
    return _conv2d(x, kernel, strides, pads, dilation, groups), (x, kernel)


def _backward(
    strides: Pair, pads: Pads, dilation: Pair, groups: int, saved: tuple[Array, Array], dy: Array
) -> tuple[Array, Array]:
    """Return the gradients of the images and of the kernel."""
    x, kernel = saved
    size = kernel.shape[:2]
    elements = size[0] * size[1]
    patch_bytes = _patch_bytes(x, kernel, strides, pads, dilation)

    def kernel_gradient_of_some(x: Array, dy: Array) -> Array:
        patches = im2col(x, size, strides=strides, padding=pads, dilation=dilation)
        pixels = math.prod(dy.shape[:3])
        patches = split_patches(patches.reshape(1, pixels, elements, x.shape[3]), groups)
        dy = split_patches(dy.reshape(1, pixels, 1, dy.shape[3]), groups)
        dtype = accumulation_dtype(x)
        if groups > 1 and jax.default_backend() == "cpu":
            # XLA on the CPU makes this conversion itself, but not if `vmap` maps `dy` alone. The program then
            # fails with "Unsupported element type for DotThunk::Execute: BF16 x BF16 = F32".
            patches, dy = patches.astype(dtype), dy.astype(dtype)
        return jnp.einsum("gtk,gto->gko", patches, dy, preferred_element_type=dtype)

    def input_gradient_of_some(dy: Array) -> Array:
        outputs = split_patches(dy.reshape(1, math.prod(dy.shape[:3]), 1, dy.shape[3]), groups)
        weights = split_kernel(kernel.reshape(1, elements, *kernel.shape[2:]), groups)
        patches = join_patches(jnp.einsum("gto,gko->gtk", outputs, weights), groups, elements)
        patches = patches.reshape(*dy.shape[:3], elements * x.shape[3])
        return col2im(patches, x.shape[1:3], size, strides=strides, padding=pads, dilation=dilation)

    def conv(dy: Array, kernel: Array, pads: Pads) -> Array:
        return _conv2d(dy, kernel, strides, pads, dilation, groups)

    if strides == (1, 1):
        dx = input_gradient(conv, dy, kernel, pads, dilation, groups)
    else:
        dx = map_images(input_gradient_of_some, dy, patch_bytes)
    dkernel = join_kernel(sum_images(kernel_gradient_of_some, x, dy, patch_bytes), groups, elements)
    return dx, dkernel.reshape(kernel.shape).astype(kernel.dtype)


_conv2d.defvjp(_forward, _backward)


def _multiply(
    patches: Float[Array, "n h_out w_out khkwc"], kernel: Float[Array, "kh kw c_group c_out"], groups: int
) -> Float[Array, "n h_out w_out c_out"]:
    """Return the product of the patches and the kernel, for each group of channels separately."""
    kh, kw, features_in, features_out = kernel.shape
    pixels = math.prod(patches.shape[:3])
    rows = split_patches(patches.reshape(1, pixels, kh * kw, features_in * groups), groups)
    weights = split_kernel(kernel.reshape(1, kh * kw, features_in, features_out), groups)
    return join_patches(rows @ weights, groups, 1).reshape(*patches.shape[:3], features_out)


def _patch_bytes(x: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair) -> int:
    """Return the bytes of the patches of one image, or 0 if they are no larger than the output.

    For such small patches, a loop over a few images at a time would cost more than it saves.
    """
    size = kernel.shape[:2]
    depth = size[0] * size[1] * x.shape[3]
    if depth <= kernel.shape[3]:
        return 0
    out_h, out_w = conv_output_size(x.shape[1:3], size, strides=strides, padding=pads, dilation=dilation)
    return out_h * out_w * depth * x.dtype.itemsize
