"""Convolution by the compiler, with gradients that are written by hand."""

import math
from functools import cache, partial
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap
from jaxtyping import Float

from research.ops.conv.algorithm import ConvAlgorithm
from research.ops.conv.chunks import sum_images
from research.ops.conv.fast import conv_wide, has_fast_kernel
from research.ops.conv.gradient import Bilinear, make_bilinear, strided_input_gradient
from research.ops.conv.im2col import conv2d_im2col
from research.ops.conv.lax import conv2d_lax
from research.ops.conv.subpixel import subpixel_input_gradient
from research.ops.conv.weight_gradient import weight_gradient
from research.ops.padding import Pads, Pair
from research.ops.precision import accumulation_dtype


@runtime_checkable
class Convolve(Protocol):
    """A function of images and a kernel that convolves by a given algorithm."""

    def __call__(self, images: Array, kernel: Array, /, *, convolve: ConvAlgorithm = ...) -> Array:
        """Return the convolution, or one of its gradients."""
        ...


class Geometry(NamedTuple):
    """The arguments of a convolution that are not arrays, and the sizes of its images and kernel."""

    in_size: Pair
    kernel_size: Pair
    strides: Pair
    pads: Pads
    dilation: Pair
    groups: int


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
    sizes = (x.shape[1], x.shape[2]), (kernel.shape[0], kernel.shape[1])
    return _make_conv(Geometry(*sizes, strides, pads, dilation, groups))(x, kernel)


@cache
def _make_conv(geometry: Geometry) -> Bilinear:
    """Return the convolution of images and kernel, with its gradients."""
    forward = _unless_kernels_vary(partial(_forward, geometry))
    backward = _unless_kernels_vary(partial(_input_gradient, geometry))
    return make_bilinear(forward, backward, _weights(geometry))


def _unless_kernels_vary(function: Convolve) -> Bilinear:
    """Return `function` without `convolve`, which is `conv2d_im2col` under `vmap` over kernels."""
    mapped = custom_vmap(function)

    @mapped.def_vmap
    def _(size: int, in_batched: list[bool], images: Array, kernel: Array) -> tuple[Array, bool]:
        if in_batched[1]:
            axes = 0 if in_batched[0] else None, 0
            return jax.vmap(partial(function, convolve=conv2d_im2col), axes)(images, kernel), True
        y = mapped(images.reshape(size * images.shape[1], *images.shape[2:]), kernel)
        return y.reshape(size, images.shape[1], *y.shape[1:]), True

    return mapped


def _weights(geometry: Geometry) -> Bilinear:
    """Return the function that gives the gradient of the kernel.

    It is a convolution where XLA has a fast kernel for it, and a sum of dots otherwise and under `vmap`.
    """
    by_dots = partial(_weight_gradient, geometry)

    @custom_vmap
    def gradient(x: Array, dy: Array) -> Array:
        if not _is_fast(geometry, x):
            return by_dots(x, dy)
        return weight_gradient(x, dy, *geometry[1:5])

    @gradient.def_vmap
    def _(size: int, in_batched: list[bool], x: Array, dy: Array) -> tuple[Array, bool]:
        return jax.vmap(by_dots, [0 if batched else None for batched in in_batched])(x, dy), True

    return lambda x, dy: gradient(x, dy)


def _is_fast(geometry: Geometry, x: Array) -> bool:
    """Return whether XLA has a fast kernel for the convolution and for those that give its gradients."""
    return geometry.groups == 1 and x.dtype == jnp.float32 and x.size > 0 and has_fast_kernel()


def _forward(
    geometry: Geometry,
    x: Float[Array, "n h w c_in"],
    kernel: Float[Array, "kh kw c_group c_out"],
    convolve: ConvAlgorithm = conv2d_lax,
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
    if convolve is conv2d_lax and _is_fast(geometry, x):
        return conv_wide(x, kernel, strides, pads, dilation)
    return convolve(x, kernel, strides, pads, dilation, groups)


def _input_gradient(
    geometry: Geometry,
    dy: Float[Array, "n h_out w_out c_out"],
    kernel: Float[Array, "kh kw c_group c_out"],
    convolve: ConvAlgorithm = conv2d_lax,
) -> Float[Array, "n h w c_in"]:
    """Return the gradient of the images.

    With strides above 1, one group and no dilation, the gradient is several convolutions of `dy`. Otherwise
    it is one convolution of `dy`, with zeros between the pixels of `dy` if there are strides.
    """
    in_size, _, strides, pads, dilation, groups = geometry

    def conv(dy: Array, kernel: Array, pads: Pads) -> Array:
        return _forward(geometry._replace(strides=(1, 1), pads=pads), dy, kernel, convolve)

    if groups == 1 and dilation == (1, 1) and max(strides) > 1:
        return subpixel_input_gradient(conv, dy, kernel, in_size, strides, pads)
    return strided_input_gradient(conv, dy, kernel, in_size, strides, pads, dilation, groups)


def _weight_gradient(
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
