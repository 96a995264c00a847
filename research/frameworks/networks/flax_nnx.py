"""Networks of `research.models` in Flax NNX."""

from collections.abc import Mapping

import jax
import numpy as np
from flax import nnx

from research.analysis.walk import Node, walk
from research.frameworks.base import Arrays
from research.frameworks.networks.flax_shared import from_flax, make_layer, to_flax
from research.frameworks.networks.names import apply_all
from research.layers import Residual, Sequential, Shape


class Net(nnx.Module):
    """The module of a network. `train()` and `eval()` switch batch norm and dropout.

    Args:
        net: the network.
        image_shape: `(H, W, C)` of one image.
        rngs: keys of the initial parameters and of dropout.

    Raises:
        NotImplementedError: NNX has no such module.
    """

    def __init__(self, net: Sequential, image_shape: Shape, rngs: nnx.Rngs) -> None:
        self.net = net
        for node in walk(net, (1, *image_shape)):
            if isinstance(node.layer, Residual):
                continue
            made = make_layer(node.layer, node.in_shape)
            if isinstance(made, tuple):
                kind, sizes, arguments = made
                features = () if kind == "Dropout" else (node.in_shape[-1],)
                module = getattr(nnx, "Linear" if kind == "Dense" else kind)
                setattr(self, node.path, module(*features, *sizes, **arguments, rngs=rngs))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the logits for images `[N, H, W, C]`."""

        def apply(node: Node, x: jax.Array) -> jax.Array:
            made = make_layer(node.layer, node.in_shape)
            return getattr(self, node.path)(x) if isinstance(made, tuple) else made(x)

        return apply_all(walk(self.net, x.shape), x, apply)


def load(module: Net, arrays: Mapping[str, np.ndarray]) -> None:
    """Copy our arrays into a module's parameters and batch-norm statistics."""
    nnx.update(module, to_flax(arrays))


def read(module: Net) -> Arrays:
    """Return a module's parameters and batch-norm statistics by path, the inverse of `load`."""
    return from_flax(nnx.to_pure_dict(nnx.state(module, (nnx.Param, nnx.BatchStat))))
