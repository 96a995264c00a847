"""Convolutions whose kernels are transformed once, before inference, instead of in each call."""

import math
from dataclasses import dataclass
from typing import Any

import jax
from jax.typing import ArrayLike
from jaxtyping import Float

from research.layers import Conv2D, Params, Shape, State
from research.layers.base import Array, Key, by_path, cast
from research.layers.rewrite import rewrite_by_path
from research.ops.conv.inference import direct_algorithm
from research.ops.conv.winograd import conv2d_transformed
from research.ops.conv.winograd_tiles import transform_kernel
from research.ops.padding import Pair, pad2d, resolve_padding
from research.ops.precision import as_float
from research.utils.nested import nested

TILES = {"winograd2": 2, "winograd4": 4}
"""The side of the square of outputs that one tile computes, by the name of the algorithm."""

NARROW, WIDE, LARGE_KERNEL, MANY_TILES = 32, 64, 128 * 256, 16
"""Limits of `choose_transformed_algorithm`; `docs/benchmarks/log.md` has the times that they rest on."""


def choose_transformed_algorithm(
    num_images: int,
    out_size: Pair,
    kernel_shape: tuple[int, ...],
    strides: Pair = (1, 1),
    dilation: Pair = (1, 1),
) -> str:
    """Return the name of the algorithm that is fastest on the CPU if its kernel is transformed beforehand.

    It is `winograd4` for 3×3 kernels with at least 32 input and 32 output channels, and that of
    `direct_algorithm` otherwise, with two exceptions. With fewer than 64 input or output channels, it is that
    of `direct_algorithm` if the tiles cover more than 1.5 times the output. With few tiles and a large
    kernel, it is `winograd2`, which reads fewer transformed weights.

    Args:
        num_images: the number of images.
        out_size: the height and width of the output.
        kernel_shape: `(kh, kw, C_in, C_out)`.
        strides: the step of the window.
        dilation: the distance of neighbouring kernel elements.

    Example:
        >>> choose_transformed_algorithm(1, (14, 14), (3, 3, 32, 64))
        'winograd4'
        >>> choose_transformed_algorithm(1, (5, 5), (3, 3, 32, 64))
        'lax'
    """
    num_channels = min(kernel_shape[2:])
    if kernel_shape[:2] != (3, 3) or not strides == dilation == (1, 1) or num_channels < NARROW:
        return direct_algorithm(num_images, out_size, kernel_shape)
    tiles = math.prod(-(-size // 4) for size in out_size)
    if num_channels < WIDE and 16 * tiles > 1.5 * math.prod(out_size):
        return direct_algorithm(num_images, out_size, kernel_shape)
    is_large = math.prod(kernel_shape[2:]) > LARGE_KERNEL
    return "winograd2" if is_large and num_images * tiles < MANY_TILES else "winograd4"


@dataclass(frozen=True)
class TransformedConv2D:
    """A convolution by Winograd's algorithm with a transformed kernel. The layer is for inference only.

    Args:
        conv: the convolution before the transform, with an algorithm in `TILES` and one group.
    """

    conv: Conv2D

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        """Return the transformed kernel and the bias of a new convolution, and no state."""
        params, state = self.conv.init(key, in_shape)
        return transform_kernels(self.conv, params)[1], state

    def apply(
        self,
        params: Params,
        state: State,
        x: Float[ArrayLike, "n h w c_in"],
        *,
        train: bool,
        key: Key | None = None,
    ) -> tuple[Float[Array, "n h_out w_out features"], State]:
        """Return the output `[N, H_out, W_out, features]`, with the dtype of `x`, and an empty state."""
        x, conv = as_float(x), self.conv
        pads = resolve_padding(conv.padding, x.shape[1:3], (3, 3), (1, 1), (1, 1))
        if conv.padding_mode != "zeros":
            x, pads = pad2d(x, pads, conv.padding_mode), ((0, 0), (0, 0))
        y = conv2d_transformed(x, cast(params["kernel"], x), pads, 1, TILES[conv.algorithm])
        return y + cast(params["bias"], x) if conv.use_bias else y, {}


_transform = jax.jit(transform_kernel, static_argnums=1)


def transform_kernels(layer: Any, params: Params) -> tuple[Any, Params]:
    """Return a network in which every convolution by Winograd's algorithm is a `TransformedConv2D`.

    The result gives the same outputs, and cannot be trained further.

    Args:
        layer: the network, or a layer of it. Only the layers inside `Sequential` and `Residual` are changed.
        params: its parameters.
    """
    arrays: dict[str, Any] = by_path(params)

    def change(path: str, inner: Any) -> Any:
        if not (isinstance(inner, Conv2D) and inner.algorithm in TILES and inner.groups == 1):
            return inner
        kernel = f"{path}/kernel".lstrip("/")
        arrays[kernel] = _transform(arrays[kernel], TILES[inner.algorithm])
        return TransformedConv2D(inner)

    return rewrite_by_path(layer, change), nested(arrays, "/")
