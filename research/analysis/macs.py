"""The number of multiply-accumulates of a layer, by formula."""

from functools import singledispatch
from math import prod

from research import layers
from research.analysis.walk import SameShape
from research.layers import Conv2D, Dense, DepthwiseSeparableConv, Layer, Shape
from research.ops.padding import pair

WithoutKernel = (
    SameShape
    | layers.AdaptivePool
    | layers.AveragePool
    | layers.Flatten
    | layers.GlobalAveragePool
    | layers.MaxPool
)
"""Layers that multiply nothing with a kernel."""


@singledispatch
def macs(layer: Layer, in_shape: Shape, out_shape: Shape) -> int:
    r"""Return the number of multiply-accumulates per image of one layer.

    Only products with a kernel are counted. For a convolution, products with padding are counted too:

    $$
    H_{out} W_{out} \, k_h k_w \, (C_{in} / groups) \, C_{out}
    $$

    `macs.register` adds another kind of layer.

    Args:
        layer: the layer. The layers inside a container are not counted; `walk` lists them one by one.
        in_shape: the shape of the input, `[N, H, W, C]` or `[N, D]`. `N` is not used.
        out_shape: the shape of the output.

    Raises:
        TypeError: no formula is registered for this kind of layer.

    Example:
        >>> macs(Conv2D(32), (1, 28, 28, 1), (1, 28, 28, 32))
        225792
    """
    raise TypeError(f"the MACs of {type(layer).__name__} are not known; add them with macs.register")


@macs.register
def _(layer: Conv2D, in_shape: Shape, out_shape: Shape) -> int:
    window = prod(pair(layer.kernel_size, "kernel_size"))
    return prod(out_shape[1:]) * window * (in_shape[-1] // layer.groups)


@macs.register
def _(layer: DepthwiseSeparableConv, in_shape: Shape, out_shape: Shape) -> int:
    depthwise, pointwise = layer.parts(in_shape[-1])
    middle = (*out_shape[:-1], in_shape[-1])
    return macs(depthwise, in_shape, middle) + macs(pointwise, middle, out_shape)


@macs.register
def _(layer: Dense, in_shape: Shape, out_shape: Shape) -> int:
    return in_shape[-1] * out_shape[-1]


@macs.register
def _(layer: WithoutKernel, in_shape: Shape, out_shape: Shape) -> int:
    return 0
