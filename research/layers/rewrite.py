"""Changing layers inside a layer: it is data, so a change gives another value."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

from research.layers.base import Layer
from research.layers.conv import Conv2D, DepthwiseSeparableConv
from research.layers.norm import BatchNorm

T = TypeVar("T")


def rewrite(value: T, change: Callable[[Any], Any]) -> T:
    """The same layer with ``change`` applied to it and to every layer inside, from the inside out.

    Args:
        value: a layer, or a tuple that holds some.
        change: a layer to the layer that takes its place, of the same parameters and state.

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
    """The same network, its batch normalisations averaging over ``axis_name`` of shard_map or pmap."""
    return rewrite(
        net,
        lambda layer: (
            dataclasses.replace(layer, axis_name=axis_name) if isinstance(layer, BatchNorm) else layer
        ),
    )


def without_chunks(net: T) -> T:
    """The same network, its convolutions left to choose ("auto") made of slices and dots."""
    return with_algorithm(net, "shifted", (Conv2D, DepthwiseSeparableConv))


def with_algorithm(net: T, algorithm: str, kinds: tuple[type, ...] = (Conv2D,)) -> T:
    """The same network, those of its convolutions that are left to choose ("auto") by this algorithm."""
    return rewrite(
        net,
        lambda layer: (
            dataclasses.replace(layer, algorithm=algorithm)
            if isinstance(layer, kinds) and layer.algorithm == "auto"
            else layer
        ),
    )
