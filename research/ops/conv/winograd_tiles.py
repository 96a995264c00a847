"""The transforms of Winograd's convolution: of the kernel, of the tiles of the images and of the outputs."""

from functools import partial, reduce
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from research.ops.padding import Pads, conv_output_size, pad2d
from research.ops.precision import accumulation_dtype

Matrix = tuple[tuple[float, ...], ...]


class Transforms(NamedTuple):
    """The matrices $A^T$, $G$ and $B^T$ of Lavin and Gray, in this order."""

    output: Matrix
    kernel: Matrix
    input: Matrix


TRANSFORMS: dict[int, Transforms] = {
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
"""The matrices by the side of the square of outputs that one tile gives."""


def transform_kernel(
    kernel: Float[Array, "3 3 c_in c_out"], tile: int
) -> Float[Array, "{tile}+2 {tile}+2 c_in c_out"]:
    """Return $G k G^T$, with the columns before the rows, as in the tiles."""
    matrix = np.array(TRANSFORMS[tile].kernel)
    # The matrix is scaled to whole numbers, for which the products are hardly rounded. So the result has the
    # same bits whether it is compiled or not.
    scale = round(1 / abs(matrix[matrix != 0]).min())
    matrix = np.rint(scale * matrix).astype(kernel.dtype)
    kernel = jnp.sum(matrix[:, :, None, None, None] * kernel[None], 1)
    return jnp.sum(matrix[:, None, :, None, None] * kernel[None], 2) / scale**2


def kernel_gradient(products: Float[Array, "positions c"], tile: int) -> Float[Array, "9 c"]:
    """Return $G^T P G$ for the products $P$, with zeros where the result is no more than rounding error.

    If a feature is almost dead, a kernel element may meet zeros only, and then its gradient is zero. Rounding
    leaves another number, which depends on the number of devices, and which Adam would turn into a whole
    step.
    """
    matrix = np.array(TRANSFORMS[tile].kernel, products.dtype)
    transform = np.einsum("cw,rh->hwcr", matrix, matrix).reshape(9, -1)  # columns come first in the tiles
    dot = partial(jnp.dot, precision=lax.Precision.HIGHEST)
    dkernel, terms = dot(transform, products), dot(abs(transform), abs(products))
    return jnp.where(abs(dkernel) < 4 * jnp.finfo(dkernel.dtype).eps * terms, 0, dkernel)


def input_tiles(
    x: Float[Array, "n h w c_in"], pads: Pads, tile: int
) -> Float[Array, "({tile}+2)**2 num_tiles 1 c_in"]:
    """Return $B^T d B$ of all tiles $d$, as `[(tile + 2)², N * rows * columns, 1, C_in]`."""
    (top, bottom), (left, right) = pads
    out_h, out_w = conv_output_size(x.shape[1:3], 3, padding=pads)
    x = pad2d(x, ((top, bottom + -out_h % tile), (left, right + -out_w % tile)))
    return _transform_images(TRANSFORMS[tile].input, x, tile)


def output_gradient_tiles(
    dy: Float[Array, "n h_out w_out c_out"], tile: int
) -> Float[Array, "({tile}+2)**2 num_tiles 1 c_out"]:
    r"""Return $A\, dY A^T$ of all tiles of the output's gradient, in the layout of `input_tiles`.

    This is the adjoint of `output_from_products`.
    """
    dy = pad2d(dy, ((0, -dy.shape[1] % tile), (0, -dy.shape[2] % tile)))
    transposed = tuple(zip(*TRANSFORMS[tile].output, strict=True))
    return _transform_images(transposed, dy, tile)


def output_from_products(
    products: Float[Array, "columns_in rows_in n rows columns c_out"], tile: int
) -> Float[Array, "n h_tiled w_tiled c_out"]:
    """Return $A^T M A$ of the products $M$ of all tiles, as images of whole tiles."""
    _, _, _, rows, columns, features = products.shape
    # Each pixel is written to its final place. XLA would fuse a transpose into the update of the loop's
    # result, and that update runs on one core.
    y = _transform_first_axis(TRANSFORMS[tile].output, products, out_axis=4)
    y = _transform_first_axis(TRANSFORMS[tile].output, y, out_axis=2)
    return y.reshape(-1, rows * tile, columns * tile, features)


def _transform_images(matrix: Matrix, x: Array, tile: int) -> Array:
    """Transform the rows and then the columns of all tiles of the images `[N, H, W, C]`."""
    x = x.astype(accumulation_dtype(x))
    for axis in (1, 3):  # each transform adds an axis in front, so the columns move from axis 2 to axis 3
        x = _transform_windows(matrix, x, axis, tile)
    return x.reshape((tile + 2) ** 2, -1, 1, x.shape[-1])


def _transform_first_axis(matrix: Matrix, x: Array, out_axis: int) -> Array:
    """Multiply the vectors along the first axis by the matrix; the products lie along `out_axis` instead."""
    return _multiply(matrix, [lax.index_in_dim(x, i, 0, keepdims=False) for i in range(len(x))], out_axis)


def _transform_windows(matrix: Matrix, x: Array, axis: int, step: int) -> Array:
    """Multiply the windows along `axis`, `step` apart, by the matrix, whose rows give a new first axis."""
    last = x.shape[axis] - len(matrix[0]) + 1
    return _multiply(matrix, [lax.slice_in_dim(x, i, i + last, step, axis) for i in range(len(matrix[0]))], 0)


def _multiply(matrix: Matrix, parts: list[Array], axis: int) -> Array:
    """Return the product of the matrix with a vector of arrays, stacked along a new `axis`."""
    # The product is written out as sums, which XLA fuses. A dot with so small a matrix would be slower.
    rows = [reduce(lax.add, _terms(row, parts)) for row in matrix]
    return lax.concatenate([lax.expand_dims(row, (axis,)) for row in rows], axis)


def _terms(weights: tuple[float, ...], parts: list[Array]) -> list[Array]:
    """Return the products of weights and arrays, without those whose weight is zero."""
    # There are hundreds of products, and JAX traces functions of lax three times as fast as the operators of
    # arrays.
    weighted = [(weight, x) for weight, x in zip(weights, parts, strict=True) if weight]
    return [x if weight == 1 else lax.mul(x, x.dtype.type(weight)) for weight, x in weighted]
