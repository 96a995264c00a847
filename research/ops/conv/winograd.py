"""Convolution of 3×3 kernels with fewer multiplications, by minimal filtering."""

from functools import partial, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from research.ops.conv.chunks import map_images, sum_images
from research.ops.conv.gradient import input_gradient
from research.ops.conv.groups import join_kernel, join_patches, split_kernel, split_patches
from research.ops.conv.im2col import conv_output_size
from research.ops.padding import Array, Pads, Pair, pad2d
from research.ops.precision import accumulation_dtype

Matrix = tuple[tuple[float, ...], ...]


class Transforms(NamedTuple):
    """``A^T``, ``G`` and ``B^T`` of Lavin and Gray."""

    output: Matrix
    kernel: Matrix
    input: Matrix


TRANSFORMS = {
    2: Transforms(
        ((1, 1, 1, 0), (0, 1, -1, -1)),
        ((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
        ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    ),
    4: Transforms(
        ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
        (
            (1 / 4, 0, 0),
            (-1 / 6, -1 / 6, -1 / 6),
            (-1 / 6, 1 / 6, -1 / 6),
            (1 / 24, 1 / 12, 1 / 6),
            (1 / 24, -1 / 12, 1 / 6),
            (0, 0, 1),
        ),
        (
            (4, 0, -5, 0, 1, 0),
            (0, -4, -4, 1, 1, 0),
            (0, 4, -4, -1, 1, 0),
            (0, -2, -1, 2, 1, 0),
            (0, 2, -1, -2, 1, 0),
            (0, 4, 0, -5, 0, 1),
        ),
    ),
}


def conv2d_winograd(
    x: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair, groups: int, *, tile: int
) -> Array:
    """`conv2d` by F(m×m, 3×3): ``(m + 2)²`` multiplications for m² outputs, where im2col takes ``9 m²``.

    .. math:: Y = A^T \\big[ (G k G^T) \\odot (B^T d B) \\big] A

    for each tile ``d`` of ``m + 2`` by ``m + 2`` pixels, the products summed over channels by one dot for
    each of the ``(m + 2)²`` positions, a few images at a time. Its gradients are its own and take as few
    multiplications; forward mode (``jax.jvp``, ``jax.jacfwd``) is not available. Computes in float32, or
    in float64 for float64. The transforms cost accuracy: the larger the tile, the more; what rounding
    leaves of a zero in the kernel's gradient is set to zero.

    Args:
        tile: m, a key of ``TRANSFORMS``; the other arguments as in `conv2d`.

    Raises:
        ValueError: a kernel other than 3×3, strides or dilation above 1.

    Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015, section 4.
    """
    given = {"kernel size": kernel.shape[:2], "strides": strides, "dilation": dilation}
    for (what, value), allowed in zip(given.items(), ((3, 3), (1, 1), (1, 1)), strict=True):
        if value != allowed:
            raise ValueError(f"winograd{tile} convolves with {what} {allowed} only, got {value}; use im2col")
    return _conv2d(x, kernel, pads, groups, tile)


conv2d_winograd2 = partial(conv2d_winograd, tile=2)
conv2d_winograd4 = partial(conv2d_winograd, tile=4)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _conv2d(x: Array, kernel: Array, pads: Pads, groups: int, tile: int) -> Array:
    features_in, features_out = kernel.shape[2:]
    kernels = _transform_kernel(kernel.astype(accumulation_dtype(x)), tile)
    kernels = split_kernel(kernels.reshape(-1, 1, features_in, features_out), groups)
    out_h, out_w = conv_output_size(x.shape[1:3], 3, padding=pads)
    rows, columns = -(-out_h // tile), -(-out_w // tile)

    def some(x: Array) -> Array:
        tiles = _input_tiles(x, pads, tile)
        products = join_patches(split_patches(tiles, groups) @ kernels, groups, 1)
        products = products.reshape(tile + 2, tile + 2, -1, rows, columns, features_out)
        # each pixel is written where it stays: XLA would fuse a transpose into the update of the loop's
        # result, which runs on one core
        y = _transform(TRANSFORMS[tile].output, products, out_axis=4)
        y = _transform(TRANSFORMS[tile].output, y, out_axis=2)
        y = y.reshape(-1, rows * tile, columns * tile, features_out)
        return y[:, :out_h, :out_w].astype(x.dtype)

    return map_images(some, x, _tile_bytes(x, kernel, pads, tile))


def _forward(
    x: Array, kernel: Array, pads: Pads, groups: int, tile: int
) -> tuple[Array, tuple[Array, Array]]:
    return _conv2d(x, kernel, pads, groups, tile), (x, kernel)


def _backward(
    pads: Pads, groups: int, tile: int, saved: tuple[Array, Array], dy: Array
) -> tuple[Array, Array]:
    x, kernel = saved

    def conv(dy: Array, kernel: Array, pads: Pads) -> Array:
        return _conv2d(dy, kernel, pads, groups, tile)

    def some_products(x: Array, dy: Array) -> Array:
        inputs, outputs = _input_tiles(x, pads, tile), _output_tiles(dy, tile)
        return jnp.einsum("ptc,pto->pco", split_patches(inputs, groups), split_patches(outputs, groups))

    products = sum_images(some_products, x, dy, _tile_bytes(x, kernel, pads, tile))
    products = join_kernel(products, groups, 1).reshape((tile + 2) ** 2, -1)
    dkernel = _kernel_gradient(products, tile).astype(kernel.dtype).reshape(kernel.shape)
    return input_gradient(conv, dy, kernel, pads, (1, 1), groups), dkernel


_conv2d.defvjp(_forward, _backward)


def _transform_kernel(kernel: Array, tile: int) -> Array:
    """``G k G^T``: ``[tile + 2, tile + 2, C_in, C_out]``, columns first, as in the tiles."""
    matrix = np.array(TRANSFORMS[tile].kernel)
    # in whole numbers, of which the products hardly round: compiled or not, the result is the same to the bit
    scale = round(1 / abs(matrix[matrix != 0]).min())
    matrix = np.rint(scale * matrix).astype(kernel.dtype)
    kernel = jnp.sum(matrix[:, :, None, None, None] * kernel[None], 1)
    return jnp.sum(matrix[:, None, :, None, None] * kernel[None], 2) / scale**2


def _kernel_gradient(products: Array, tile: int) -> Array:
    """``G^T products G``, and zero where that is no more than the rounding of its terms.

    Where a feature is almost dead, a tap may meet zeros only, and its gradient is zero. Rounding leaves
    something else, another value for every number of devices, of which Adam makes a whole step.
    """
    matrix = np.array(TRANSFORMS[tile].kernel, products.dtype)
    transform = np.einsum("cw,rh->hwcr", matrix, matrix).reshape(9, -1)  # columns come first in the tiles
    dot = partial(jnp.dot, precision=lax.Precision.HIGHEST)
    dkernel, terms = dot(transform, products), dot(abs(transform), abs(products))
    return jnp.where(abs(dkernel) < 4 * jnp.finfo(dkernel.dtype).eps * terms, 0, dkernel)


def _input_tiles(x: Array, pads: Pads, tile: int) -> Array:
    """``B^T d B`` of all tiles ``d``: ``[(tile + 2)², N * rows * columns, 1, C_in]``."""
    (top, bottom), (left, right) = pads
    out_h, out_w = conv_output_size(x.shape[1:3], 3, padding=pads)
    x = pad2d(x, ((top, bottom + -out_h % tile), (left, right + -out_w % tile)))
    return _transform_tiles(TRANSFORMS[tile].input, x, tile)


def _output_tiles(dy: Array, tile: int) -> Array:
    """``A dY A^T`` of all tiles, laid out as those of the input: the adjoint of the output transform."""
    dy = pad2d(dy, ((0, -dy.shape[1] % tile), (0, -dy.shape[2] % tile)))
    return _transform_tiles(_transposed(TRANSFORMS[tile].output), dy, tile)


def _transform_tiles(matrix: Matrix, x: Array, tile: int) -> Array:
    x = x.astype(accumulation_dtype(x))
    for axis in (1, 3):  # the rows give a new first axis
        x = _transform_windows(matrix, x, axis, tile)
    return x.reshape((tile + 2) ** 2, -1, 1, x.shape[-1])


def _tile_bytes(x: Array, kernel: Array, pads: Pads, tile: int) -> int:
    out_h, out_w = conv_output_size(x.shape[1:3], 3, padding=pads)
    num_tiles = -(-out_h // tile) * -(-out_w // tile)
    return (tile + 2) ** 2 * num_tiles * (x.shape[3] + kernel.shape[3]) * accumulation_dtype(x).itemsize


def _transposed(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix, strict=True))


def _transform(matrix: Matrix, x: Array, out_axis: int) -> Array:
    """The matrix times the vectors along the first axis, which ``out_axis`` replaces."""
    return _stack(matrix, [lax.index_in_dim(x, i, 0, keepdims=False) for i in range(len(x))], out_axis)


def _transform_windows(matrix: Matrix, x: Array, axis: int, step: int) -> Array:
    """The matrix times each window along the axis, ``step`` apart; its rows give a new first axis."""
    last = x.shape[axis] - len(matrix[0]) + 1
    return _stack(matrix, [lax.slice_in_dim(x, i, i + last, step, axis) for i in range(len(matrix[0]))], 0)


def _stack(matrix: Matrix, parts: list[Array], axis: int) -> Array:
    # written out: a product with so small a matrix would be slower than these sums, which XLA fuses
    rows = [reduce(lax.add, _terms(row, parts)) for row in matrix]
    return lax.concatenate([lax.expand_dims(row, (axis,)) for row in rows], axis)


def _terms(weights: tuple[float, ...], parts: list[Array]) -> list[Array]:
    # by functions of lax: there are hundreds, and JAX traces the operators of arrays three times as slowly
    weighted = [(weight, x) for weight, x in zip(weights, parts, strict=True) if weight]
    return [x if weight == 1 else lax.mul(x, float(weight)) for weight, x in weighted]
