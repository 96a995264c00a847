"""Statistics of the activations of a network on given images."""

from collections.abc import Mapping, Sequence
from functools import partial

import jax
import jax.numpy as jnp

from research.analysis.walk import INPUT, Node, walk
from research.layers import Activation, Array, Params, Sequential, State
from research.ops.activation import ACTIVATIONS
from research.utils.lookup import lookup
from research.utils.xla import for_few_calls

SATURATED_BELOW = 0.01
"""An activation is saturated if the absolute slope of its function is below this number."""


def activation_statistics(
    net: Sequential, params: Params, state: State, x: Array
) -> dict[str, dict[str, float]]:
    """Return statistics of the output of every layer, computed as outside training.

    Args:
        net: the network.
        params: the parameters, as `net.init` returns them.
        state: the state, as `net.init` returns it.
        x: the images `[N, H, W, C]` or features `[N, D]`.

    Returns:
        A dict by the path of the layer. Each entry has the `mean`, the standard deviation `std`, and `zeros`,
        the fraction of elements that are exactly zero. The entry of an `Activation` also has `saturated`, the
        fraction of elements at which the absolute slope of the function is below 0.01, and `dead`, the
        fraction of units that are saturated on every image, so that no image can train them. A unit of
        images is a channel, whose kernel all positions share.

    Example:
        >>> net = Sequential((("act1", Activation("relu")),))
        >>> activation_statistics(net, {}, {}, jnp.array([[-1.0, -1.0, 0.0, 5.0]]))["act1"]["zeros"]
        0.75
    """
    nodes = walk(net, x.shape)

    @partial(jax.jit, compiler_options=for_few_calls())
    def compute(params: Params, state: State, x: Array) -> dict[str, dict[str, Array]]:
        return describe_outputs(nodes, x, net.trace(params, state, x, train=False)[2])

    statistics = jax.tree.map(float, compute(params, state, x))
    return {node.path: statistics[node.path] for node in nodes}  # jit has sorted the paths by name


def describe_outputs(
    nodes: Sequence[Node], x: Array, outputs: Mapping[str, Array]
) -> dict[str, dict[str, Array]]:
    """Return what `activation_statistics` returns as arrays, for outputs that are computed already.

    Args:
        nodes: the layers of the network, as `walk` returns them.
        x: the input of the network.
        outputs: the output of every layer, as `trace` returns them.
    """
    values, statistics = {INPUT: x, **outputs}, {}
    for node in nodes:
        y = values[node.path].astype(jnp.float32)
        statistics[node.path] = {"mean": y.mean(), "std": y.std(), "zeros": (y == 0).mean()}
        if isinstance(node.layer, Activation):
            flat = jnp.abs(_slope(node.layer, values[node.sources[0]])) < SATURATED_BELOW
            dead = flat.all(tuple(range(flat.ndim - 1)))
            statistics[node.path] |= {"saturated": flat.mean(), "dead": dead.mean()}
    return statistics


def _slope(layer: Activation, x: Array) -> Array:
    """Return the derivative of the activation function at each element of `x`."""
    function = lookup(ACTIVATIONS, layer.name, "activation")
    return jax.jvp(function, (x,), (jnp.ones_like(x),))[1]
