"""One layer of a network as a function of its parameters and its inputs, apart from all other layers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from research.analysis.walk import Node
from research.layers import Array, Key, Params, Residual


class SingleLayer(NamedTuple):
    """A layer as a function, and random arguments of that function.

    Args:
        apply: returns the output of the layer in training, for parameters and inputs.
        params: the parameters, as `init` draws them.
        inputs: the inputs, drawn from a standard normal distribution: two for a `Residual`, which stands for
            its sum, and one for any other layer.
    """

    apply: Callable[[Params, tuple[Array, ...]], Array]
    params: Params
    inputs: tuple[Array, ...]


def single_layer(node: Node, key: Key, dtype: Any) -> SingleLayer:
    """Return a layer of a network as a function, with random arguments.

    Args:
        node: the layer and the shapes of its input and its output, as `walk` returns them.
        key: a single typed key.
        dtype: the dtype of the inputs. The parameters are float32.

    Example:
        >>> import jax.numpy as jnp
        >>> from research.analysis.walk import walk
        >>> from research.layers import Dense
        >>> layer = single_layer(walk(Dense(3), (5, 2))[0], jax.random.key(0), jnp.float32)
        >>> layer.apply(layer.params, layer.inputs).shape
        (5, 3)
    """
    init_key, input_key, example_key = jax.random.split(key, 3)
    if isinstance(node.layer, Residual):
        draw = [jax.random.normal(each, node.out_shape, dtype) for each in jax.random.split(input_key)]
        return SingleLayer(lambda _, inputs: inputs[0] + inputs[1], {}, tuple(draw))
    params, state = node.layer.init(init_key, node.in_shape)
    keys = jax.random.split(example_key, node.in_shape[0])

    def apply(params: Params, inputs: tuple[Array, ...]) -> Array:
        return node.layer.apply(params, state, *inputs, train=True, key=keys)[0]

    return SingleLayer(apply, params, (jax.random.normal(input_key, node.in_shape, dtype),))
