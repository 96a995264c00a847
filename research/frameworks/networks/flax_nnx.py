"""Networks of `research.models` in Flax NNX. Layouts and names are ours, so parameters are only nested."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from research.frameworks.base import Arrays
from research.frameworks.networks.names import STATISTICS, flatten, join, nest, places
from research.layers import (
    Activation,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Layer,
    MaxPool,
    Residual,
    Sequential,
    Shape,
)
from research.models.assemble import SkippedPool
from research.ops.activation import ACTIVATIONS
from research.ops.padding import pair, resolve_padding


@runtime_checkable
class Function(Protocol):
    """A function of one array."""

    def __call__(self, x: jax.Array, /) -> jax.Array:
        """Return the output."""
        ...


class Stateless(nnx.Module):
    """A module that applies a function and has no parameters."""

    def __init__(self, function: Function) -> None:
        self.function = function

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return ``function(x)``."""
        return self.function(x)


class Chain(nnx.Module):
    """Modules applied one after the other; each is an attribute under its name."""

    def __init__(self, modules: Mapping[str, nnx.Module]) -> None:
        self.names = tuple(modules)
        for name, module in modules.items():
            setattr(self, name, module)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the output of the last module."""
        for name in self.names:
            x = getattr(self, name)(x)
        return x


class Sum(nnx.Module):
    """A module that returns the sum of the outputs of two modules."""

    def __init__(self, body: nnx.Module, shortcut: nnx.Module) -> None:
        self.body, self.shortcut = body, shortcut

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return ``body(x) + shortcut(x)``."""
        both: Any = (self.body, self.shortcut)
        return both[0](x) + both[1](x)


def build(net: Sequential, image_shape: Shape, rngs: nnx.Rngs) -> Chain:
    """Return the NNX module of a network.

    ``module.train()`` and ``module.eval()`` switch batch norm and dropout.

    Args:
        net: the network.
        image_shape: ``(H, W, C)`` of one image.
        rngs: keys of the initial parameters and of dropout.

    Raises:
        NotImplementedError: NNX has no such module.
    """
    nodes, identity = places(net, image_shape), Stateless(lambda x: x)

    def build_one(layer: Layer, path: str) -> nnx.Module:
        match layer:
            case Sequential(layers):
                return Chain({name: build_one(child, join(path, name)) for name, child in layers})
            case Residual(body, shortcut):
                around = identity if shortcut is None else build_one(shortcut, join(path, "shortcut"))
                return Sum(build_one(body, join(path, "body")), around)
            case SkippedPool():
                return identity
        return _leaf(layer, nodes[path].in_shape, rngs)

    return Chain({name: build_one(child, name) for name, child in net.layers})


def _leaf(layer: Layer, in_shape: Shape, rngs: nnx.Rngs) -> nnx.Module:
    """Return the module of a layer that holds no other layer."""
    channels = in_shape[-1]
    match layer:
        case Conv2D(padding=padding, padding_mode="zeros") as conv:
            return nnx.Conv(
                channels,
                conv.features,
                pair(conv.kernel_size, "kernel_size"),
                pair(conv.strides, "strides"),
                padding=padding if isinstance(padding, str) else resolve_padding(padding, in_shape[1:3], 1),
                kernel_dilation=pair(conv.dilation, "dilation"),
                feature_group_count=conv.groups,
                use_bias=conv.use_bias,
                rngs=rngs,
            )
        case BatchNorm(decay, epsilon, axis_name):
            return nnx.BatchNorm(channels, momentum=decay, epsilon=epsilon, axis_name=axis_name, rngs=rngs)
        case Activation(function):
            return Stateless(ACTIVATIONS[function])
        case MaxPool(window=window, strides=None, padding="VALID"):
            size = pair(window, "window")
            return Stateless(lambda x: nnx.max_pool(x, size, strides=size))
        case GlobalAveragePool():
            return Stateless(lambda x: x.mean((1, 2)))
        case Flatten():
            return Stateless(lambda x: x.reshape(len(x), -1))
        case Dense(features, use_bias):
            return nnx.Linear(channels, features, use_bias=use_bias, rngs=rngs)
        case Dropout(rate):
            return nnx.Dropout(rate, rngs=rngs)
    raise NotImplementedError(f"no Flax module for {layer}")


def load(module: Chain, arrays: Mapping[str, np.ndarray]) -> None:
    """Copy our arrays into a module's parameters and batch-norm statistics."""
    renamed = {}
    for path, array in arrays.items():
        parent, _, name = path.rpartition("/")
        renamed[f"{parent}/{STATISTICS.get(name, name)}"] = jnp.asarray(array)
    nnx.update(module, nest(renamed))


def read(module: Chain) -> Arrays:
    """Return a module's parameters and batch-norm statistics by path, the inverse of `load`."""
    params = flatten(nnx.to_pure_dict(nnx.state(module, nnx.Param)))
    ours = {theirs: our for our, theirs in STATISTICS.items()}
    for path, array in flatten(nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))).items():
        parent, _, name = path.rpartition("/")
        params[f"{parent}/{ours[name]}"] = array
    return params
