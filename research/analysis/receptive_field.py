"""The theoretical receptive field: the part of an image on which an output can depend."""

from dataclasses import dataclass
from functools import singledispatch

from research.analysis.walk import INPUT, SameShape, walk
from research.layers import (
    AdaptivePool,
    AveragePool,
    Conv2D,
    Dense,
    DepthwiseSeparableConv,
    Flatten,
    GlobalAveragePool,
    Layer,
    MaxPool,
    Shape,
)
from research.ops.padding import Pair, pair


@dataclass(frozen=True)
class Field:
    """A receptive field.

    Args:
        size: the height and width of the field, in pixels.
        stride: the distance between the fields of neighbouring outputs, in pixels.
    """

    size: Pair = (1, 1)
    stride: Pair = (1, 1)


def receptive_fields(net: Layer, in_shape: Shape) -> dict[str, Field]:
    r"""Return the theoretical receptive field of the output of each layer, by the path of the layer.

    $$
    r_l = r_{l-1} + (k_l - 1) \, j_{l-1}, \quad j_l = s_l \, j_{l-1}
    $$

    where $r$ is the size of the field, $j$ the distance between neighbouring fields, $k$ the extent of the
    window and $s$ its stride. If two branches meet in a `Residual`, the larger field counts. Padding is
    counted, so a field may be larger than the image. If a layer turns an image into a vector, the field of
    the vector covers the fields of all pixels. The statistics of normalisation layers are not counted.

    Args:
        net: the network.
        in_shape: the shape of the input `[N, H, W, C]`. `N` is not used.

    Raises:
        TypeError: no window is registered for a kind of layer.

    Example:
        >>> from research.layers import Sequential
        >>> net = Sequential((("a", Conv2D(4)), ("b", Conv2D(4, strides=2)), ("c", Conv2D(4))))
        >>> [field.size for field in receptive_fields(net, (1, 32, 32, 3)).values()]
        [(3, 3), (5, 5), (9, 9)]

    Source: Araujo, Norris and Sim (2019), Computing receptive fields of convolutional neural networks.
    """
    fields = {INPUT: Field()}
    for node in walk(net, in_shape):
        merged = [fields[source] for source in node.sources]
        extent, strides = window(node.layer, node.in_shape)
        size, stride = _largest([f.size for f in merged]), _largest([f.stride for f in merged])
        fields[node.path] = Field(
            (size[0] + (extent[0] - 1) * stride[0], size[1] + (extent[1] - 1) * stride[1]),
            (stride[0] * strides[0], stride[1] * strides[1]),
        )
    del fields[INPUT]
    return fields


@singledispatch
def window(layer: Layer, in_shape: Shape) -> tuple[Pair, Pair]:
    """Return the extent of the input that one output of a layer sees, and the stride between outputs.

    `window.register` adds another kind of layer.

    Args:
        layer: the layer.
        in_shape: the shape of the input, `[N, H, W, C]` or `[N, D]`.

    Returns:
        The extent and the stride, each as (height, width) in pixels of the input.

    Raises:
        TypeError: no window is registered for this kind of layer.
    """
    raise TypeError(
        f"the receptive field of {type(layer).__name__} is not known; add its window with window.register"
    )


@window.register
def _(layer: Conv2D | DepthwiseSeparableConv, in_shape: Shape) -> tuple[Pair, Pair]:
    (kh, kw), (dh, dw) = pair(layer.kernel_size, "kernel_size"), pair(layer.dilation, "dilation")
    return ((kh - 1) * dh + 1, (kw - 1) * dw + 1), pair(layer.strides, "strides")


@window.register
def _(layer: MaxPool | AveragePool, in_shape: Shape) -> tuple[Pair, Pair]:
    size = pair(layer.window, "window")
    return size, size if layer.strides is None else pair(layer.strides, "strides")


@window.register
def _(layer: AdaptivePool, in_shape: Shape) -> tuple[Pair, Pair]:
    """Return the extent of the largest bin and the largest distance between bins."""
    (rows, row_step), (columns, column_step) = (
        _largest([(-(-(i + 1) * n // bins) - i * n // bins, -(-n // bins)) for i in range(bins)])
        for n, bins in zip(in_shape[1:3], pair(layer.output_size, "output_size"), strict=True)
    )
    return (rows, columns), (row_step, column_step)


@window.register
def _(layer: Flatten | GlobalAveragePool, in_shape: Shape) -> tuple[Pair, Pair]:
    whole = (in_shape[1], in_shape[2]) if len(in_shape) == 4 else (1, 1)
    return whole, whole


@window.register
def _(layer: SameShape | Dense, in_shape: Shape) -> tuple[Pair, Pair]:
    return (1, 1), (1, 1)


def _largest(pairs: list[Pair]) -> Pair:
    """Return the largest of the first numbers, and the largest of the second numbers."""
    return max(first for first, _ in pairs), max(second for _, second in pairs)
