"""A comparison of the gradient of each layer with central differences."""

import statistics
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from research.analysis.single_layer import single_layer
from research.analysis.walk import Node, walk
from research.layers import Array, Conv2D, Layer, Residual, Shape
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
    points = [single_layer(node, seed, jnp.float64) for seed in range(NUM_POINTS)]
    apply = points[0].apply

    def project(arguments: Any, weights: Array) -> Array:
        return jnp.vdot(weights, apply(*arguments))

    value, gradient = (
        jax.jit(each, compiler_options=for_few_calls()) for each in (project, jax.grad(project))
    )
    errors: dict[str, list[float]] = {name: [] for name in names}
    for seed, point in enumerate(points, start=NUM_POINTS):
        rng = np.random.default_rng(seed)
        leaves, tree = jax.tree.flatten((point.params, point.inputs))
        leaves = [np.asarray(leaf, np.float64) for leaf in leaves]
        weights = jnp.asarray(rng.standard_normal(node.out_shape))
        grads = jax.tree.leaves(gradient(tree.unflatten(leaves), weights))
        for index, (name, grad) in enumerate(zip(names, grads, strict=True)):
            direction = rng.standard_normal(leaves[index].shape)
            ahead, behind = (
                value(tree.unflatten([*leaves[:index], leaves[index] + step, *leaves[index + 1 :]]), weights)
                for step in (STEP * direction, -STEP * direction)
            )
            difference, expected = float(ahead - behind) / (2 * STEP), float(np.vdot(grad, direction))
            scale = max(float(np.linalg.norm(grad)), abs(difference))
            errors[name].append(abs(difference - expected) / scale if scale else 0.0)
    return {name: statistics.median(each) for name, each in errors.items()}


def _as_in_float32(node: Node) -> Layer:
    """Return the layer; a convolution names the algorithm that `auto` stands for in float32."""
    layer = node.layer
    if not isinstance(layer, Conv2D) or layer.algorithm != "auto":
        return layer
    x, kernel = (jnp.zeros(shape, jnp.float32) for shape in (node.in_shape, node.params["kernel"].shape))
    strides, dilation = pair(layer.strides, "strides"), pair(layer.dilation, "dilation")
    pads = resolve_padding(layer.padding, x.shape[1:3], kernel.shape[:2], strides, dilation)
    return replace(layer, algorithm=choose_algorithm(x, kernel, strides, pads, dilation, layer.groups))
