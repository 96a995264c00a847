"""Convolution of 3×3 kernels with fewer multiplications, by minimal filtering."""

from functools import partial

import jax.numpy as jnp
from jax import lax

from research.ops.conv.im2col import conv_output_size
from research.ops.padding import Array, Pads, Pair, pad2d
from research.ops.precision import accumulation_dtype

Matrix = tuple[tuple[float, ...], ...]

# output transform, kernel transform, input transform: A^T, G and B^T of Lavin and Gray, by tile size
TRANSFORMS: dict[int, tuple[Matrix, Matrix, Matrix]] = {
    2: (
        ((1, 1, 1, 0), (0, 1, -1, -1)),
        ((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
        ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    ),
    4: (
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
    each of the ``(m + 2)²`` positions. Computes in float32, or in float64 for float64. The transforms cost
    accuracy: the larger the tile, the more.

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
    out_transform, kernel_transform, in_transform = TRANSFORMS[tile]
    features_in, features_out = kernel.shape[2:]
    dtype, compute = x.dtype, accumulation_dtype(x)
    out_h, out_w = conv_output_size(x.shape[1:3], 3, padding=pads)
    tiles = -(-out_h // tile), -(-out_w // tile)
    (top, bottom), (left, right) = pads
    x = pad2d(x, ((top, bottom + tiles[0] * tile - out_h), (left, right + tiles[1] * tile - out_w)))
    inputs = _transform(in_transform, _transform(in_transform, x.astype(compute), 1, tile), 3, tile)
    kernels = _transform(kernel_transform, _transform(kernel_transform, kernel.astype(compute), 0), 2)
    inputs = inputs.reshape(-1, x.shape[0], *tiles, groups, features_in)
    kernels = kernels.reshape(-1, features_in, groups, features_out // groups)
    products = jnp.einsum("pnhwgc,pcgo->pnhwgo", inputs, kernels)
    products = products.reshape(tile + 2, tile + 2, x.shape[0], *tiles, features_out)
    y = _transform(out_transform, _transform(out_transform, products, 1), 1)
    y = y.reshape(tile, tile, x.shape[0], *tiles, features_out).transpose(2, 3, 1, 4, 0, 5)
    y = y.reshape(x.shape[0], tiles[0] * tile, tiles[1] * tile, features_out)
    return y[:, :out_h, :out_w].astype(dtype)


conv2d_winograd2 = partial(conv2d_winograd, tile=2)
conv2d_winograd4 = partial(conv2d_winograd, tile=4)


def _transform(matrix: Matrix, x: Array, axis: int, step: int = 1) -> Array:
    """The matrix times each window along the axis, ``step`` apart; its rows give a new first axis."""
    last = x.shape[axis] - len(matrix[0]) + 1
    windows = [lax.slice_in_dim(x, i, i + last, step, axis) for i in range(len(matrix[0]))]
    # written out: a product with so small a matrix would be slower than these sums, which XLA fuses
    return jnp.stack([sum(w * x for w, x in zip(row, windows, strict=True) if w) for row in matrix])
