"""Networks of `research.models` in Flax linen."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from research.analysis.walk import Node, walk
from research.frameworks.base import Arrays
from research.frameworks.networks.flax_shared import STATISTICS, from_flax, make_layer, to_flax
from research.frameworks.networks.names import apply_all
from research.layers import Sequential, Shape


class Net(nn.Module):
    """The module of a network.

    Args:
        net: the network.
    """

    net: Sequential

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Return the logits for images `[N, H, W, C]`."""

        def apply(node: Node, x: jax.Array) -> jax.Array:
            made = make_layer(node.layer, node.in_shape)
            if not isinstance(made, tuple):
                return made(x)
            kind, sizes, arguments = made
            modes = {"BatchNorm": {"use_running_average": not train}, "Dropout": {"deterministic": not train}}
            return getattr(nn, kind)(*sizes, **arguments, name=node.path)(x, **modes.get(kind, {}))

        return apply_all(walk(self.net, x.shape), x, apply)


def build(net: Sequential, image_shape: Shape) -> Net:
    """Return the linen module of a network; it is called with `train` true or false.

    Args:
        net: the network.
        image_shape: `(H, W, C)` of one image.

    Raises:
        NotImplementedError: linen has no such module.
    """
    module, x = Net(net), jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=False), x)
    return module


def load(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return linen's variables, `params` and `batch_stats`, with the values of our arrays."""
    statistics = {path: array for path, array in arrays.items() if path.rpartition("/")[2] in STATISTICS}
    params = {path: array for path, array in arrays.items() if path not in statistics}
    return {"params": to_flax(params), "batch_stats": to_flax(statistics)}


def read(variables: Mapping[str, Any]) -> Arrays:
    """Return the arrays of linen's variables under our names by path, the inverse of `load`."""
    return from_flax(variables["params"]) | from_flax(variables.get("batch_stats", {}))
