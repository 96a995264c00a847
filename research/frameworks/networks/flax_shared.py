"""The code that Flax linen and Flax NNX share: the arguments of modules, names and optimizers.

Both have the layouts of `research.layers`, and almost the same names of arrays. The name of a module is the
path of its layer.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.linen import max_pool

from research import layers
from research.frameworks.base import ADAM_EPSILON, Arrays, Task
from research.models.assemble import SkippedPool
from research.ops.activation import ACTIVATIONS
from research.ops.padding import pair, resolve_padding
from research.utils.lookup import lookup

STATISTICS = {"mean": "mean", "variance": "var"}
"""Names of the running averages of batch norm: ours, and those of Flax."""

OPTIMIZERS = {
    "sgd": optax.sgd,
    "momentum": lambda learning_rate: optax.sgd(learning_rate, momentum=0.9),
    "adam": lambda learning_rate: optax.adam(learning_rate, eps=ADAM_EPSILON),
}


Function = Callable[[jax.Array], jax.Array]
"""A layer without parameters: a function of its input that returns its output."""


def make_layer(layer: layers.Layer, in_shape: layers.Shape) -> Function | tuple[str, tuple, dict[str, Any]]:
    """Return the function of a layer, or what its module is made of.

    Args:
        layer: a layer that holds no other layer.
        in_shape: the shape of its input, `[N, H, W, C]` or `[N, D]`.

    Returns:
        The function of the layer, if the layer has no parameters and draws no random numbers. Otherwise the
        name of the class in linen, its positional arguments and its keyword arguments.

    Raises:
        NotImplementedError: Flax has no such layer.
    """
    match layer:
        case layers.Conv2D(features=features, padding=padding, padding_mode="zeros"):
            if not isinstance(padding, str):
                padding = resolve_padding(padding, in_shape[1:3], 1)
            sizes = (features, pair(layer.kernel_size, "kernel_size"), pair(layer.strides, "strides"))
            dilation = pair(layer.dilation, "dilation")
            options = {"padding": padding, "kernel_dilation": dilation, "feature_group_count": layer.groups}
            return "Conv", sizes, {**options, "use_bias": layer.use_bias}
        case layers.BatchNorm(decay, epsilon, axis_name):
            return "BatchNorm", (), {"momentum": decay, "epsilon": epsilon, "axis_name": axis_name}
        case layers.Dense(features, use_bias):
            return "Dense", (features,), {"use_bias": use_bias}
        case layers.Dropout(rate):
            return "Dropout", (), {"rate": rate}
        case layers.Activation(name):
            return ACTIVATIONS[name]
        case layers.MaxPool(window=window, strides=None, padding="VALID"):
            size = pair(window, "window")
            return lambda x: max_pool(x, size, strides=size)
        case layers.GlobalAveragePool():
            return lambda x: x.mean((1, 2))
        case layers.Flatten():
            return lambda x: x.reshape(len(x), -1)
        case SkippedPool():
            return lambda x: x
    raise NotImplementedError(f"no Flax module for {layer}")


def make_optimizer(task: Task) -> optax.GradientTransformation:
    """Return the optimizer of a task."""
    return lookup(OPTIMIZERS, task.optimizer, "optimizer")(task.learning_rate)


def to_flax(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, jax.Array]]:
    """Return our arrays under the names of Flax, in a dict of modules."""
    tree: dict[str, dict[str, jax.Array]] = {}
    for path, array in arrays.items():
        module, _, name = path.rpartition("/")
        tree.setdefault(module, {})[STATISTICS.get(name, name)] = jnp.asarray(array)
    return tree


def from_flax(tree: Mapping[str, Mapping[str, Any]]) -> Arrays:
    """Return the arrays of Flax under our names by path, the inverse of `to_flax`."""
    ours = {theirs: our for our, theirs in STATISTICS.items()}
    return {f"{m}/{ours.get(n, n)}": np.asarray(a) for m, own in tree.items() for n, a in own.items()}
