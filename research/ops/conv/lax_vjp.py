"""Convolution by the compiler, with gradients that are written by hand."""

import math
from functools import cache, partial

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from research.ops.conv.chunks import sum_images
from research.ops.conv.fast import conv_wide, has_fast_kernel
from research.ops.conv.geometry import Geometry, make_convolution
from research.ops.conv.gradient import Bilinear
from research.ops.conv.lax import conv2d_lax
from research.ops.conv.weight_gradient import weight_gradient
from research.ops.padding import Pads, Pair
from research.ops.precision import accumulation_dtype


def conv2d_lax_vjp(
    x: Float[Array, "n h w c_in"],
    kernel: Float[Array, "kh kw c_group c_out"],
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    groups: int,
) -> Float[Array, "n h_out w_out c_out"]:
    """Compute `conv2d` by `lax.conv_general_dilated`, with gradients that are fast on the CPU.

    All passes are written in forms for which XLA on the CPU has fast kernels. The gradient of the images is a
    convolution of the output's gradient with the flipped kernel. The gradient of the kernel is a convolution
    along the rows (`weight_gradient`) where XLA has a fast kernel for it, and a sum of dots over patches
    otherwise. Under `vmap` over kernels, `conv2d_im2col` is used instead. Reverse mode works to any order;
    forward mode (`jax.jvp`) is not available.
    """
    return _make_conv(Geometry.of(x, kernel, strides, pads, dilation, groups))(x, kernel)


@cache
def _make_conv(geometry: Geometry) -> Bilinear:
    """Return the convolution of images and kernel, with its gradients."""
    return make_convolution(geometry, convolve_by_lax, _weights, patches_weight_gradient)


def _weights(geometry: Geometry, x: Array, dy: Array) -> Array:
    """Return the gradient of the kernel, as a convolution if XLA has a fast kernel, and by dots otherwise."""
    if _is_fast(geometry, x):
        return weight_gradient(x, dy, *geometry[1:5])
    return patches_weight_gradient(geometry, x, dy)


def _is_fast(geometry: Geometry, x: Array) -> bool:
    """Return whether XLA has a fast kernel for the convolution and for those that give its gradients."""
    return geometry.groups == 1 and x.dtype == jnp.float32 and x.size > 0 and has_fast_kernel()


def convolve_by_lax(
    geometry: Geometry, x: Float[Array, "n h w c_in"], kernel: Float[Array, "kh kw c_group c_out"]
) -> Float[Array, "n h_out w_out c_out"]:
    """Return the convolution. The part of the padding that is wider than the kernel is added before it."""
    _, _, strides, pads, dilation, groups = geometry
    # XLA on the CPU falls back to a naive loop if the padding is wider than the kernel.
    reach = [(k - 1) * d for k, d in zip(kernel.shape[:2], dilation, strict=True)]
    rest = [[max(p - r, 0) for p in sides] for sides, r in zip(pads, reach, strict=True)]
    if any(map(any, rest)):
        x = jnp.pad(x, ((0, 0), *map(tuple, rest), (0, 0)))
        (top, bottom), (left, right) = (
            [p - q for p, q in zip(*both, strict=True)] for both in zip(pads, rest, strict=True)
        )
        pads = (top, bottom), (left, right)
    if _is_fast(geometry, x):
        return conv_wide(x, kernel, strides, pads, dilation)
    return conv2d_lax(x, kernel, strides, pads, dilation, groups)


def patches_weight_gradient(
    geometry: Geometry, x: Float[Array, "n h w c_in"], dy: Float[Array, "n h_out w_out c_out"]
) -> Float[Array, "kh kw c_group c_out"]:
    """Return the gradient of the kernel, as a sum of dots over a few images at a time."""
    bytes_per_patched_image = 2 * (1 + geometry.kernel_size[1]) * math.prod(x.shape[1:]) * x.dtype.itemsize
    return sum_images(partial(_patches_dot, geometry), x, dy, bytes_per_patched_image).astype(x.dtype)


def _patches_dot(
    geometry: Geometry, x: Float[Array, "n h w c_in"], dy: Float[Array, "n h_out w_out c_out"]
) -> Float[Array, "kh kw c_group c_out"]:
    """Return the gradient of the kernel by one dot per kernel row, over patches `[kw * C, pixels]` of rows.

    The patches have the channels first, for two reasons. XLA on the CPU has a fast dot for `[M, K] [K, N]`
    only, and the patches of the next kernel row are a slice of the same array instead of a copy.
    """
    _, (kh, kw), (sh, sw), pads, (dh, dw), groups = geometry
    n, rows, columns, features = dy.shape
    channels = x.shape[3] // groups
    x = jnp.pad(x.transpose(3, 1, 0, 2), ((0, 0), pads[0], (0, 0), pads[1]))
    x = x.reshape(groups, channels, *x.shape[1:])
    shifts = [x[..., b * dw : b * dw + (columns - 1) * sw + 1 : sw] for b in range(kw)]
    patches = jnp.concatenate(shifts, 1)  # [groups, kw * channels, H, N, columns]
    dy = dy.transpose(1, 0, 2, 3).reshape(rows * n * columns, groups, features // groups)
    dy = dy.transpose(1, 0, 2)
    products = []
    for a in range(kh):
        seen = patches[:, :, a * dh : a * dh + (rows - 1) * sh + 1 : sh]
        seen = seen.reshape(groups, kw * channels, rows * n * columns)
        products.append(
            lax.dot_general(
                seen, dy, (((2,), (1,)), ((0,), (0,))), preferred_element_type=accumulation_dtype(x)
            )
        )
    dk = jnp.stack(products).reshape(kh, groups, kw, channels, features // groups)
    return dk.transpose(0, 2, 3, 1, 4).reshape(kh, kw, channels, features)
