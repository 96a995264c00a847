"""The time and the memory of each layer of a network, forward and backward."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from research.analysis.single_layer import single_layer
from research.analysis.walk import INPUT, Node, walk
from research.layers import Array, Params, Sequential, Shape


class Pass(NamedTuple):
    """The cost of one pass through a layer.

    Args:
        ms: the median time in milliseconds.
        num_bytes: the size of the arguments, results and temporary arrays of the compiled pass; `None` if the
            backend does not report it.
    """

    ms: float
    num_bytes: int | None


@dataclass(frozen=True)
class LayerProfile:
    """The costs of one layer.

    Args:
        path: the path of the layer, such as `block1/body/conv1`.
        layer: the kind of layer.
        forward: the pass from the input to the output.
        backward: the pass from the gradient of the output to those of the parameters and the input. It costs
            nothing if neither this layer nor a layer before it has parameters.
    """

    path: str
    layer: str
    forward: Pass
    backward: Pass


def profile_layers(
    net: Sequential, in_shape: Shape, *, rounds: int = 7, dtype: Any = jnp.float32
) -> tuple[list[LayerProfile], LayerProfile]:
    """Return the time and the memory of every layer, and of the whole network.

    Each pass of each layer is compiled as a program of its own, on random inputs and as in training. The sum
    over the layers therefore differs from the network, in which XLA fuses layers, and which passes through
    memory only what it must.

    Args:
        net: the network.
        in_shape: the shape of the input `[N, H, W, C]`.
        rounds: the number of timings of each pass, of which the median counts. One more call comes first.
        dtype: the dtype of the inputs of the layers.

    Returns:
        The profiles of the layers in the order in which they run, and the profile of the network as one
        program, without the loss and the optimizer.

    Raises:
        ValueError: a layer does not fit its input.
    """
    rows = []
    trained: set[str] = set()  # the paths behind which there are parameters
    nodes = walk(net, in_shape)
    for node in nodes:
        needs_input_gradient = not trained.isdisjoint(node.sources)
        if node.params or needs_input_gradient:
            trained.add(node.path)
        rows.append(_measure(node, needs_input_gradient, rounds, dtype))
    whole = Node("network", net, (INPUT,), in_shape, nodes[-1].out_shape, {})
    return rows, _measure(whole, False, rounds, dtype)


def _measure(node: Node, needs_input_gradient: bool, rounds: int, dtype: Any) -> LayerProfile:
    apply, params, inputs = single_layer(node, 0, dtype)

    def linearize(params: Params, inputs: tuple[Array, ...]) -> tuple[Array, Callable[[Array], Any]]:
        if needs_input_gradient:
            return jax.vjp(apply, params, inputs)
        return jax.vjp(lambda params: apply(params, inputs), params)

    forward = _cost(apply, rounds, params, inputs)
    backward = Pass(0.0, 0)
    if params or needs_input_gradient:
        # the function that takes the gradient back is a tree of arrays, so it can be an argument
        y, pull_back = jax.jit(linearize)(params, inputs)
        backward = _cost(lambda pull_back, dy: pull_back(dy), rounds, pull_back, y)
    return LayerProfile(node.path, type(node.layer).__name__, forward, backward)


def _cost(function: Callable[..., Any], rounds: int, *arguments: Any) -> Pass:
    """Return the time and the memory of a function of arrays, which is compiled."""
    compiled = jax.jit(function).lower(*arguments).compile()
    seconds = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        seconds.append(time.perf_counter() - began)
    memory = compiled.memory_analysis()
    parts = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
    num_bytes = None if memory is None else sum(getattr(memory, part) for part in parts)
    return Pass(1e3 * statistics.median(seconds[1:]), num_bytes)
