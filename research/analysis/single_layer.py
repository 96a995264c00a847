"""One layer of a network as a function of its parameters and its inputs, apart from all other layers."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.analysis.walk import Node
from research.layers import Array, Layer, Params, Residual, Shape, State
from research.utils.xla import jit_for_one_call


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


def single_layer(node: Node, seed: int, dtype: Any) -> SingleLayer:
    """Return a layer of a network as a function, with random arguments.

    Args:
        node: the layer and the shapes of its input and its output, as `walk` returns them.
        seed: the seed of all random numbers.
        dtype: the dtype of the inputs. The parameters are float32.

    Example:
        >>> from research.analysis.walk import walk
        >>> from research.layers import Dense
        >>> layer = single_layer(walk(Dense(3), (5, 2))[0], 0, jnp.float32)
        >>> layer.apply(layer.params, layer.inputs).shape
        (5, 3)
    """
    rng = np.random.default_rng(seed)  # JAX would compile a program for each shape
    if isinstance(node.layer, Residual):
        draws = [jnp.asarray(rng.standard_normal(node.out_shape), dtype) for _ in range(2)]
        return SingleLayer(lambda _, inputs: inputs[0] + inputs[1], {}, tuple(draws))
    key = jax.random.key(seed)
    params, state = _init(node.layer, key, node.in_shape)
    keys = jax.random.split(key, node.in_shape[0])

    def apply(params: Params, inputs: tuple[Array, ...]) -> Array:
        return node.layer.apply(params, state, *inputs, train=True, key=keys)[0]

    return SingleLayer(apply, params, (jnp.asarray(rng.standard_normal(node.in_shape), dtype),))


@partial(jit_for_one_call, static_argnums=(0, 2))  # equal layers share a program, and so do all seeds
def _init(layer: Layer, key: Array, in_shape: Shape) -> tuple[Params, State]:
    return layer.init(key, in_shape)
