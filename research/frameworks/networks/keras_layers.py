"""Networks of `research.models` in Keras 3. Layouts are ours; a path is a layer's name, with dots.

Keras takes its backend from ``KERAS_BACKEND`` when it is first imported, so whoever imports this module sets
that variable before.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import layers

from research.frameworks.base import Arrays
from research.frameworks.networks.names import join
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
from research.ops.padding import resolve_padding

NAMES = {"gamma": "scale", "beta": "bias", "moving_mean": "mean", "moving_variance": "variance"}
"""Our names for those of Keras, where they differ."""


def build(net: Sequential, image_shape: Shape) -> Any:
    """Return the Keras model of a network.

    Args:
        net: the network.
        image_shape: ``(H, W, C)`` of one image.

    Raises:
        NotImplementedError: Keras has no such layer.
    """
    images: Any = keras.Input(image_shape)
    return keras.Model(images, _apply(net, images, ""))


def _apply(layer: Layer, x: Any, path: str) -> Any:
    """Return the symbolic output of the layer at ``path`` for a symbolic input."""
    name = path.replace("/", ".")
    match layer:
        case Sequential(children):
            for child_name, child in children:
                x = _apply(child, x, join(path, child_name))
            return x
        case Residual(body, shortcut):
            around = x if shortcut is None else _apply(shortcut, x, join(path, "shortcut"))
            return layers.add([_apply(body, x, join(path, "body")), around])
        case Conv2D(padding=padding, padding_mode="zeros") as conv:
            if not isinstance(padding, str):
                x, padding = layers.ZeroPadding2D(resolve_padding(padding, 1, 1))(x), "VALID"
            return layers.Conv2D(
                conv.features,
                conv.kernel_size,
                conv.strides,
                padding.lower(),
                dilation_rate=conv.dilation,
                groups=conv.groups,
                use_bias=conv.use_bias,
                name=name,
            )(x)
        case BatchNorm(decay, epsilon, axis_name=None):
            return layers.BatchNormalization(momentum=decay, epsilon=epsilon, name=name)(x)
        case Activation("leaky_relu"):
            return layers.LeakyReLU(0.01)(x)  # Keras's own slope is 0.2
        case Activation(function):
            return layers.Activation(function)(x)
        case MaxPool(window=window, strides=None, padding="VALID"):
            return layers.MaxPooling2D(window)(x)
        case GlobalAveragePool():
            return layers.GlobalAveragePooling2D()(x)
        case Flatten():
            return layers.Flatten()(x)
        case Dense(features, use_bias):
            return layers.Dense(features, use_bias=use_bias, name=name)(x)
        case Dropout(rate):
            return layers.Dropout(rate)(x)
        case SkippedPool():
            return x
    raise NotImplementedError(f"no Keras layer for {layer}")


def variables(model: Any) -> dict[str, Any]:
    """Return the variables of a model by our paths: parameters, and the statistics of batch norm."""
    found = {}
    for variable in model.variables:
        layer, name = variable.path.split("/")[-2:]
        if name != "seed_generator_state":  # of dropout
            found[f"{layer.replace('.', '/')}/{NAMES.get(name, name)}"] = variable
    return found


def load(model: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Copy our arrays into a model's variables."""
    own = variables(model)
    for path, array in arrays.items():
        own[path].assign(array)


def read(model: Any) -> Arrays:
    """Return a model's variables by path as NumPy arrays, the inverse of `load`."""
    return {path: np.asarray(keras.ops.convert_to_numpy(v.value)) for path, v in variables(model).items()}
