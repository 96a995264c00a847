"""Networks of `research.models` in Flax linen. Layouts and names are ours, so parameters are only nested."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from research.frameworks.base import Arrays
from research.frameworks.networks.names import STATISTICS, flatten, nest
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


class Net(nn.Module):
    """The module of a `Sequential` or a `Residual`.

    Args:
        layer: the layer; its children become submodules of the same names.
    """

    layer: Layer

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Return the output for images ``[N, H, W, C]``."""
        match self.layer:
            case Sequential(layers):
                for name, child in layers:
                    x = self._apply(name, child, x, train)
                return x
            case Residual(body, shortcut):
                around = x if shortcut is None else self._apply("shortcut", shortcut, x, train)
                return self._apply("body", body, x, train) + around
        raise NotImplementedError(f"no Flax module for {self.layer}")

    def _apply(self, name: str, layer: Layer, x: jax.Array, train: bool) -> jax.Array:
        """Return the output of the child ``name``."""
        match layer:
            case Sequential() | Residual():
                return Net(layer, name=name)(x, train=train)
            case Conv2D(padding=padding, padding_mode="zeros") as conv:
                return nn.Conv(
                    conv.features,
                    pair(conv.kernel_size, "kernel_size"),
                    pair(conv.strides, "strides"),
                    padding if isinstance(padding, str) else resolve_padding(padding, x.shape[1:3], 1),
                    kernel_dilation=pair(conv.dilation, "dilation"),
                    feature_group_count=conv.groups,
                    use_bias=conv.use_bias,
                    name=name,
                )(x)
            case BatchNorm(decay, epsilon, axis_name):
                return nn.BatchNorm(
                    not train, momentum=decay, epsilon=epsilon, axis_name=axis_name, name=name
                )(x)
            case Activation(function):
                return ACTIVATIONS[function](x)
            case MaxPool(window=window, strides=None, padding="VALID"):
                size = pair(window, "window")
                return nn.max_pool(x, size, strides=size)
            case GlobalAveragePool():
                return x.mean((1, 2))
            case Flatten():
                return x.reshape(len(x), -1)
            case Dense(features, use_bias):
                return nn.Dense(features, use_bias, name=name)(x)
            case Dropout(rate):
                return nn.Dropout(rate, deterministic=not train)(x)
            case SkippedPool():
                return x
        raise NotImplementedError(f"no Flax module for {layer}")


def build(net: Sequential, image_shape: Shape) -> Net:
    """Return the linen module of a network; it is called with ``train`` true or false.

    Args:
        net: the network.
        image_shape: ``(H, W, C)`` of one image.

    Raises:
        NotImplementedError: linen has no such module.
    """
    module, x = Net(net), jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=False), x)
    return module


def load(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return linen's variables, ``params`` and ``batch_stats``, with the values of our arrays."""
    params, statistics = {}, {}
    for path, array in arrays.items():
        parent, _, name = path.rpartition("/")
        if name in STATISTICS:
            statistics[f"{parent}/{STATISTICS[name]}"] = jnp.asarray(array)
        else:
            params[path] = jnp.asarray(array)
    return {"params": nest(params), "batch_stats": nest(statistics)}


def read(variables: Mapping[str, Any]) -> Arrays:
    """Return our arrays by path, the inverse of `load`."""
    statistics = {}
    for path, array in flatten(variables.get("batch_stats", {})).items():
        parent, _, name = path.rpartition("/")
        ours = {theirs: our for our, theirs in STATISTICS.items()}
        statistics[f"{parent}/{ours[name]}"] = array
    return flatten(variables["params"]) | statistics
