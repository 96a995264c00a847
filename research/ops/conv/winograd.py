"""Convolution of 3×3 kernels with fewer multiplications, by minimal filtering."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from research.ops.conv.chunks import map_images, sum_images
from research.ops.conv.gradient import input_gradient
from research.ops.conv.groups import join_kernel, join_patches, split_kernel, split_patches
from research.ops.conv.phases import dilated_by_phases
from research.ops.conv.winograd_tiles import (
    input_tiles,
    kernel_gradient,
    output_from_products,
    output_gradient_tiles,
    transform_kernel,
)
from research.ops.padding import Pads, Pair, conv_output_size
from research.ops.precision import accumulation_dtype


def conv2d_winograd(
    x: Float[Array, "n h w c_in"],
    kernel: Float[Array, "kh kw c_group c_out"],
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    groups: int,
    *,
    tile: int,
) -> Float[Array, "n h_out w_out c_out"]:
    r"""Compute `conv2d` by F(m×m, 3×3), with $(m + 2)^2$ multiplications for $m^2$ outputs.

    For comparison, im2col takes $9 m^2$ multiplications. For each tile $d$ of $m + 2$ by $m + 2$ pixels:

    $$
    Y = A^T \big[ (G k G^T) \odot (B^T d B) \big] A
    $$

    The products are summed over channels by one dot for each of the $(m + 2)^2$ positions, for a few images
    at a time. The gradients are written by hand and take as few multiplications. Forward mode (`jax.jvp`,
    `jax.jacfwd`) is not available. The computation is in float32, or in float64 if `x` is float64. The
    transforms lose accuracy, and a larger tile loses more. A gradient of a kernel element that is not larger
    than its rounding error is set to zero. A convolution with dilation is computed by `dilated_by_phases`.

    Args:
        x: the images, as in `conv2d`.
        kernel: the kernel, which must be 3×3.
        strides: the strides, which must be 1.
        pads: the padding in pixels.
        dilation: the dilation.
        groups: the number of groups of channels.
        tile: the side $m$ of the square of outputs that one tile gives, 2 or 4.

    Raises:
        ValueError: the kernel is not 3×3, or strides are above 1.

    Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015, section 4.
    """
    for what, value, allowed in (("kernel size", kernel.shape[:2], (3, 3)), ("strides", strides, (1, 1))):
        if value != allowed:
            raise ValueError(f"winograd{tile} convolves with {what} {allowed} only, got {value}; use im2col")

    def conv(x: Array, kernel: Array, pads: Pads) -> Array:
        return _conv2d(x, kernel, pads, groups, tile)

    return conv(x, kernel, pads) if dilation == (1, 1) else dilated_by_phases(conv, x, kernel, pads, dilation)


conv2d_winograd2 = partial(conv2d_winograd, tile=2)
conv2d_winograd4 = partial(conv2d_winograd, tile=4)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _conv2d(
    x: Float[Array, "n h w c_in"],
    kernel: Float[Array, "3 3 c_group c_out"],
    pads: Pads,
    groups: int,
    tile: int,
) -> Float[Array, "n h_out w_out c_out"]:
    """Compute the convolution of arguments that `conv2d_winograd` has checked."""
    kernels = transform_kernel(kernel.astype(accumulation_dtype(x)), tile)
    return conv2d_transformed(x, kernels, pads, groups, tile)


def conv2d_transformed(
    x: Float[Array, "n h w c_in"],
    kernels: Float[Array, "{tile}+2 {tile}+2 c_group c_out"],
    pads: Pads,
    groups: int,
    tile: int,
) -> Float[Array, "n h_out w_out c_out"]:
    """Compute the convolution whose kernel `transform_kernel` has transformed, without gradients.

    Args:
        x: the images.
        kernels: the transformed kernel.
        pads: the padding in pixels.
        groups: the number of groups of channels.
        tile: the side of the square of outputs that one tile gives, 2 or 4.
    """
    features_in, features_out = kernels.shape[2:]
    kernels = split_kernel(kernels.reshape(-1, 1, features_in, features_out), groups)
    out_h, out_w = conv_output_size(x.shape[1:3], 3, padding=pads)
    rows, columns = -(-out_h // tile), -(-out_w // tile)

    def conv_some(x: Array) -> Array:
        tiles = input_tiles(x, pads, tile)
        products = join_patches(split_patches(tiles, groups) @ kernels, groups, 1)
        products = products.reshape(tile + 2, tile + 2, -1, rows, columns, features_out)
        return output_from_products(products, tile)[:, :out_h, :out_w].astype(x.dtype)

    return map_images(conv_some, x, _tile_bytes(x, features_out, pads, tile))


def _forward(
    x: Array, kernel: Array, pads: Pads, groups: int, tile: int
) -> tuple[Array, tuple[Array, Array]]:
    """Return the output and what `_backward` needs."""
    return _conv2d(x, kernel, pads, groups, tile), (x, kernel)


def _backward(
    pads: Pads, groups: int, tile: int, saved: tuple[Array, Array], dy: Array
) -> tuple[Array, Array]:
    """Return the gradients of the images and of the kernel."""
    x, kernel = saved

    def conv(dy: Array, kernel: Array, pads: Pads) -> Array:
        return _conv2d(dy, kernel, pads, groups, tile)

    def products_of_some(x: Array, dy: Array) -> Array:
        inputs, outputs = input_tiles(x, pads, tile), output_gradient_tiles(dy, tile)
        return jnp.einsum("ptc,pto->pco", split_patches(inputs, groups), split_patches(outputs, groups))

    products = sum_images(products_of_some, x, dy, _tile_bytes(x, kernel.shape[3], pads, tile))
    products = join_kernel(products, groups, 1).reshape((tile + 2) ** 2, -1)
    dkernel = kernel_gradient(products, tile).astype(kernel.dtype).reshape(kernel.shape)
    return input_gradient(conv, dy, kernel, pads, (1, 1), groups), dkernel


_conv2d.defvjp(_forward, _backward)


def _tile_bytes(x: Array, features_out: int, pads: Pads, tile: int) -> int:
    """Return the bytes of the transformed tiles of one image, before and after the products."""
    out_h, out_w = conv_output_size(x.shape[1:3], 3, padding=pads)
    num_tiles = -(-out_h // tile) * -(-out_w // tile)
    return (tile + 2) ** 2 * num_tiles * (x.shape[3] + features_out) * accumulation_dtype(x).itemsize
