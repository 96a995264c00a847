"""A comparison of the gradient of each layer with central differences."""

import statistics
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp

from research.analysis.single_layer import single_layer
from research.analysis.walk import Node, walk
from research.layers import Array, Conv2D, Key, Layer, Residual, Shape
from research.layers.base import by_path
from research.ops.conv import choose_algorithm
from research.ops.padding import pair, resolve_padding
from research.utils.xla import for_few_calls

STEP = 1e-7
"""The step of the central differences. Inputs are of order 1, so few of them are so close to a kink."""

TOLERANCE = 1e-5
"""The largest relative error of a gradient that agrees. Rounding in float64 causes errors below 1e-7."""

NUM_POINTS = 3
"""The number of random points of each layer. An input close to a kink of ReLU spoils one of them at most."""


@dataclass(frozen=True)
class GradientError:
    """The error of one gradient of one layer.

    Args:
        path: the path of the layer, such as `block1/body/conv1`.
        layer: the kind of layer.
        array: the array to which the gradient belongs: a parameter, such as `kernel`, or `input`.
        error: the relative error.
    """

    path: str
    layer: str
    array: str
    error: float

    @property
    def agrees(self) -> bool:
        """Whether the gradient agrees with the central differences. An error of NaN does not."""
        return self.error <= TOLERANCE


def check_gradients(net: Layer, in_shape: Shape) -> list[GradientError]:
    r"""Return the error of the gradient of each layer, for each of its parameters and for its input.

    For a layer $f$, an array $a$, random weights $w$ and a random direction $u$, the gradient $g$ of
    $\langle w, f(a) \rangle$ is compared with the central difference along $u$:

    $$
    \mathrm{error} = \frac{|d - \langle g, u \rangle|}{\max(\|g\|, |d|)},\quad
    d = \frac{\langle w, f(a + hu) \rangle - \langle w, f(a - hu) \rangle}{2h}
    $$

    Every layer is computed alone in float64, as in training, at random points. The error is the median over
    the points. A convolution uses the algorithm that it uses in float32.

    Args:
        net: the network, or any other layer.
        in_shape: the shape of the input, `[N, H, W, C]` or `[N, D]`.

    Raises:
        ValueError: a layer does not fit its input.

    Example:
        >>> from research.layers import Activation
        >>> [(each.path, each.array, each.agrees) for each in check_gradients(Activation("tanh"), (2, 3))]
        [('Activation', 'input', True)]

    Source: `jax.test_util.check_grads` compares along random directions in the same way.
    """
    found: dict[tuple[Layer, Shape], dict[str, float]] = {}  # equal layers are checked once
    errors = []
    with jax.enable_x64(True):
        for node in walk(net, in_shape):
            which = (node.layer, node.in_shape)
            if which not in found:
                found[which] = _errors(node)
            kind = type(node.layer).__name__
            errors += [GradientError(node.path, kind, *item) for item in found[which].items()]
    return errors


def _errors(node: Node) -> dict[str, float]:
    """Return the error of the gradient of each array of a layer, by the name of the array."""
    node = replace(node, layer=_as_in_float32(node))
    inputs = ("first input", "second input") if isinstance(node.layer, Residual) else ("input",)
    names = [*by_path(node.params), *inputs]

    @partial(jax.jit, compiler_options=for_few_calls())
    def at_point(key: Key) -> list[Array]:
        draw_key, weight_key, *keys = jax.random.split(key, 2 + len(names))
        apply, *arguments = single_layer(node, draw_key, jnp.float64)
        leaves, tree = jax.tree.flatten(jax.tree.map(lambda leaf: leaf.astype(jnp.float64), arguments))
        weights = jax.random.normal(weight_key, node.out_shape)
        directions = [jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]

        def value(leaves: list[Array]) -> Array:
            return jnp.vdot(weights, apply(*jax.tree.unflatten(tree, leaves)))

        def difference(index: Array) -> Array:
            """Return the central difference for one array; a loop over the arrays compiles faster."""
            steps = [STEP * (index == i) * direction for i, direction in enumerate(directions)]
            ahead, behind = (jax.tree.map(move, leaves, steps) for move in (jnp.add, jnp.subtract))
            return (value(ahead) - value(behind)) / (2 * STEP)

        def error(grad: Array, direction: Array, difference: Array) -> Array:
            scale = jnp.maximum(jnp.linalg.norm(grad), abs(difference))
            return jnp.where(scale == 0, 0, abs(difference - jnp.vdot(grad, direction)) / scale)

        differences = list(jax.lax.map(difference, jnp.arange(len(leaves))))
        return list(map(error, jax.grad(value)(leaves), directions, differences))

    points = jax.random.split(jax.random.key(0), NUM_POINTS)
    by_array = zip(*(map(float, at_point(point)) for point in points), strict=True)
    return {name: statistics.median(errors) for name, errors in zip(names, by_array, strict=True)}


def _as_in_float32(node: Node) -> Layer:
    """Return the layer; a convolution names the algorithm that `auto` stands for in float32."""
    layer = node.layer
    if not isinstance(layer, Conv2D) or layer.algorithm != "auto":
        return layer
    x, kernel = (jnp.zeros(shape, jnp.float32) for shape in (node.in_shape, node.params["kernel"].shape))
    strides, dilation = pair(layer.strides, "strides"), pair(layer.dilation, "dilation")
    pads = resolve_padding(layer.padding, x.shape[1:3], kernel.shape[:2], strides, dilation)
    return replace(layer, algorithm=choose_algorithm(x, kernel, strides, pads, dilation, layer.groups))
