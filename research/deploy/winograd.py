"""Convolutions whose kernels are transformed once, before inference, instead of in each call."""

from dataclasses import dataclass, replace
from typing import Any

import jax
from jax.typing import ArrayLike
from jaxtyping import Float

from research.layers import Conv2D, Params, Residual, Sequential, Shape, State
from research.layers.base import Array, Key, cast
from research.ops.conv.winograd import conv2d_transformed
from research.ops.conv.winograd_tiles import transform_kernel
from research.ops.padding import pad2d, resolve_padding
from research.ops.precision import as_float

TILES = {"winograd2": 2, "winograd4": 4}
"""The side of the square of outputs that one tile computes, by the name of the algorithm."""


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
    if isinstance(layer, Conv2D) and layer.algorithm in TILES and layer.groups == 1:
        kernel = _transform(params["kernel"], TILES[layer.algorithm])
        return TransformedConv2D(layer), {**params, "kernel": kernel}
    if not isinstance(layer, Sequential | Residual):
        return layer, params
    inner = layer.branches() if isinstance(layer, Residual) else layer.layers
    done = {name: transform_kernels(each, params.get(name, {})) for name, each in inner}
    layers = {name: new for name, (new, _) in done.items()}
    changed = (
        replace(layer, **layers)
        if isinstance(layer, Residual)
        else replace(layer, layers=tuple(layers.items()))
    )
    return changed, {name: own for name, (_, own) in done.items() if own}
