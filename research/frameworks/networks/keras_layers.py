"""Networks of `research.models` in Keras 3.

Keras has the layouts of `research.layers`. The name of a Keras layer is the path of our layer, with dots
instead of slashes. Keras takes its backend from `KERAS_BACKEND` when it is first imported, so that variable
must be set before this module is imported.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from research import layers
from research.analysis.walk import walk
from research.frameworks.base import Arrays
from research.frameworks.networks.names import apply_all
from research.models.assemble import SkippedPool
from research.ops.padding import resolve_padding

NAMES = {"gamma": "scale", "beta": "bias", "moving_mean": "mean", "moving_variance": "variance"}
"""Our names of arrays by the names of Keras, where the two differ."""


def build(net: layers.Sequential, image_shape: layers.Shape) -> Any:
    """Return the Keras model of a network.

    Args:
        net: the network.
        image_shape: `(H, W, C)` of one image.

    Raises:
        NotImplementedError: Keras has no such layer.
    """
    images, nodes = keras.Input(image_shape), walk(net, (1, *image_shape))
    return keras.Model(images, apply_all(nodes, images, lambda node, x: _apply(node.layer, node.path, x)))


def _apply(layer: layers.Layer, path: str, x: Any) -> Any:
    """Return the symbolic output of the layer at `path` for its symbolic input."""
    name = path.replace("/", ".")
    match layer:
        case layers.Conv2D(padding=padding, padding_mode="zeros") as conv:
            if not isinstance(padding, str):
                x, padding = keras.layers.ZeroPadding2D(resolve_padding(padding, 1, 1))(x), "VALID"
            options = {"dilation_rate": conv.dilation, "groups": conv.groups, "use_bias": conv.use_bias}
            sizes = (conv.features, conv.kernel_size, conv.strides, padding.lower())
            made: Any = keras.layers.Conv2D(*sizes, **options, name=name)
        case layers.BatchNorm(decay, epsilon, axis_name=None):
            made = keras.layers.BatchNormalization(momentum=decay, epsilon=epsilon, name=name)
        case layers.Activation("leaky_relu"):
            made = keras.layers.LeakyReLU(0.01)  # Keras's own slope is 0.2
        case layers.Activation(function):
            made = keras.layers.Activation(function)
        case layers.MaxPool(window=window, strides=None, padding="VALID"):
            made = keras.layers.MaxPooling2D(window)
        case layers.GlobalAveragePool():
            made = keras.layers.GlobalAveragePooling2D()
        case layers.Flatten():
            made = keras.layers.Flatten()
        case layers.Dense(features, use_bias):
            made = keras.layers.Dense(features, use_bias=use_bias, name=name)
        case layers.Dropout(rate):
            made = keras.layers.Dropout(rate)
        case SkippedPool():
            return x
        case _:
            raise NotImplementedError(f"no Keras layer for {layer}")
    return made(x)


def variables(model: Any) -> dict[str, Any]:
    """Return the variables of a model by our paths: parameters, and the statistics of batch norm."""
    found = {}
    for variable in model.variables:
        layer, name = variable.path.split("/")[-2:]
        if name != "seed_generator_state":  # the state of the random numbers of dropout is no array of ours
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
