"""Functions that replace layers inside a network. A layer is a value, so they return a new network."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from research.layers.base import Layer, Sequential, Shape, abstract_init, out_shape
from research.layers.conv import Conv2D, DepthwiseSeparableConv
from research.layers.dropout import Dropout, SpatialDropout, StochasticDepth
from research.layers.norm import BatchNorm
from research.layers.residual import Residual
from research.ops.conv.inference import choose_inference_algorithm
from research.ops.padding import pair

T = TypeVar("T")


def rewrite(value: T, change: Callable[[Any], Any]) -> T:
    """Return the layer with `change` applied to it and to every layer inside it.

    Inner layers are changed before the layers that hold them.

    Args:
        value: a layer, or a tuple that holds layers.
        change: a function from a layer to its replacement, which must have the same parameters and state.

    Example:
        >>> from research.layers import Activation, Sequential
        >>> net = Sequential((("act", Activation("relu")),))
        >>> rewrite(net, lambda layer: Activation("tanh") if layer == Activation("relu") else layer)
        Sequential(layers=(('act', Activation(name='tanh')),))
    """
    rebuilt: Any = value
    if isinstance(value, tuple):
        return type(value)(rewrite(item, change) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        changed = {name: rewrite(item, change) for name, item in fields.items()}
        rebuilt = dataclasses.replace(value, **changed) if changed != fields else value
    return change(rebuilt) if isinstance(rebuilt, Layer) else rebuilt


def with_axis_name(net: T, axis_name: str | None) -> T:
    """Return the network with batch normalisations that average over `axis_name` of shard_map or pmap."""
    return rewrite(
        net,
        lambda layer: (
            dataclasses.replace(layer, axis_name=axis_name) if isinstance(layer, BatchNorm) else layer
        ),
    )


def rewrite_by_path(net: T, change: Callable[[str, Any], Any], path: str = "") -> T:
    """Return the network in which every layer inside `Sequential` and `Residual` is changed.

    Args:
        net: the network, or a layer.
        change: returns the new layer of a path, such as `block1/body/norm1`, and the layer there.
        path: the path of `net` inside another network; "" for a network that is in no other.
    """

    def inner(layers: Iterable[tuple[str, Layer]]) -> Iterator[tuple[str, Layer]]:
        return ((name, rewrite_by_path(each, change, f"{path}/{name}".lstrip("/"))) for name, each in layers)

    if isinstance(net, Sequential):
        return dataclasses.replace(net, layers=tuple(inner(net.layers)))
    if isinstance(net, Residual):
        return dataclasses.replace(net, **dict(inner(net.branches())))
    return change(path, net)


def with_frozen_statistics(net: T, is_frozen: Callable[[str], bool]) -> T:
    """Return the network in which some batch normalisations use their running averages in training, too.

    Args:
        net: the network.
        is_frozen: whether the running average of a path, such as `block1/body/norm1/mean`, is frozen.
    """

    def change(path: str, layer: Any) -> Any:
        frozen = isinstance(layer, BatchNorm) and is_frozen(f"{path}/mean")
        return dataclasses.replace(layer, frozen=True) if frozen else layer

    return rewrite_by_path(net, change)


def without_dropout(net: T) -> T:
    """Return the network in which dropout and stochastic depth drop nothing."""
    kinds = (Dropout, SpatialDropout, StochasticDepth)
    return rewrite(
        net, lambda layer: dataclasses.replace(layer, rate=0.0) if isinstance(layer, kinds) else layer
    )


def without_chunks(net: T) -> T:
    """Return the network with the algorithm `shifted`, which has no loop over chunks of a batch.

    Only convolutions whose algorithm is "auto" are changed.
    """
    return with_algorithm(net, "shifted", (Conv2D, DepthwiseSeparableConv))


def with_algorithm(net: T, algorithm: str, kinds: tuple[type, ...] = (Conv2D,)) -> T:
    """Return the network with the given algorithm in its convolutions whose algorithm is "auto".

    Args:
        net: the network.
        algorithm: the name of the algorithm in `CONV_ALGORITHMS`.
        kinds: the kinds of layers that are changed.
    """
    return rewrite(
        net,
        lambda layer: (
            dataclasses.replace(layer, algorithm=algorithm)
            if isinstance(layer, kinds) and layer.algorithm == "auto"
            else layer
        ),
    )


def with_inference_algorithms(
    layer: T, in_shape: Shape, choose: Callable[..., str] = choose_inference_algorithm
) -> T:
    """Return the network with the algorithms that are fastest for inference in its convolutions.

    Only convolutions in float32 whose algorithm is "auto" and that have one group are changed.

    Args:
        layer: the network, or a layer of it. Only layers inside `Sequential` and `Residual` are changed.
        in_shape: the shape `[N, H, W, C]` of the images that the layer takes.
        choose: the function that chooses the algorithm of a convolution. It takes the arguments of
            `choose_inference_algorithm`.
    """
    if isinstance(layer, Residual):
        branches = {
            name: with_inference_algorithms(inner, in_shape, choose) for name, inner in layer.branches()
        }
        return dataclasses.replace(layer, **branches)
    if isinstance(layer, Sequential):
        layers = []
        for name, inner in layer.layers:
            layers.append((name, with_inference_algorithms(inner, in_shape, choose)))
            in_shape = out_shape(inner, *abstract_init(inner, in_shape), in_shape)
        return dataclasses.replace(layer, layers=tuple(layers))
    if not isinstance(layer, Conv2D) or layer.algorithm != "auto" or layer.groups != 1:
        return layer
    params, state = abstract_init(layer, in_shape)
    num_images, height, width, _ = out_shape(layer, params, state, in_shape)
    strides, dilation = pair(layer.strides, "strides"), pair(layer.dilation, "dilation")
    kernel_shape = params["kernel"].shape
    chosen = choose(num_images, (height, width), kernel_shape, strides, dilation)
    return dataclasses.replace(layer, algorithm=chosen)
