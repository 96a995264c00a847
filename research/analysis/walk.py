"""A network as a flat list of its layers, in the order in which they run."""

from dataclasses import dataclass

from research import layers
from research.layers import Layer, Params, Residual, Sequential, Shape, State
from research.layers.base import abstract_init, out_shape
from research.models.assemble import SkippedPool

INPUT = ""
"""The path that stands for the input of the network."""

SameShape = (
    layers.Activation
    | layers.BatchNorm
    | layers.Dropout
    | layers.GroupNorm
    | layers.LayerNorm
    | layers.Residual
    | layers.SpatialDropout
    | layers.StochasticDepth
    | SkippedPool
)
"""Layers without a kernel whose output has the shape of the input."""


@dataclass(frozen=True)
class Node:
    """One layer and its place in a network.

    Args:
        path: the path of the layer, such as `block1/body/conv1`, as in `Sequential.trace`.
        layer: the layer. A `Residual` stands for its sum only.
        sources: the paths of the layers whose outputs this layer reads; two for a `Residual`.
        in_shape: the shape of the input, `[N, H, W, C]` or `[N, D]`.
        out_shape: the shape of the output.
        params: the parameters of the layer, as `jax.ShapeDtypeStruct`.
    """

    path: str
    layer: Layer
    sources: tuple[str, ...]
    in_shape: Shape
    out_shape: Shape
    params: Params


def walk(net: Layer, in_shape: Shape) -> list[Node]:
    """Return the layers of a network, including those inside every `Sequential` and `Residual`.

    Shapes are traced and nothing is computed.

    Args:
        net: the network.
        in_shape: the shape of the input, `[N, H, W, C]` or `[N, D]`.

    Returns:
        The nodes in the order in which the layers run. There is none for a `Sequential`.

    Raises:
        ValueError: a layer does not fit its input.

    Example:
        >>> from research.models import MODELS
        >>> [node.path for node in walk(MODELS["mlp"]((8, 8, 1), 10), (1, 8, 8, 1))]
        ['flatten', 'dense1', 'act1', 'logits']
    """
    nodes: list[Node] = []

    def visit(
        layer: Layer, path: str, source: str, shape: Shape, params: Params, state: State
    ) -> tuple[str, Shape]:
        """Append the nodes of `layer`, and return the path and the shape of its output."""

        def visit_child(name: str, child: Layer, source: str, shape: Shape) -> tuple[str, Shape]:
            child_path = f"{path}/{name}" if path else name
            return visit(child, child_path, source, shape, params.get(name, {}), state.get(name, {}))

        if isinstance(layer, Sequential):
            for name, child in layer.layers:
                source, shape = visit_child(name, child, source, shape)
            return source, shape
        path = path or type(layer).__name__
        if isinstance(layer, Residual):
            ends = [visit_child(name, child, source, shape) for name, child in layer.branches()]
            sources = tuple(end for end, _ in ends) if len(ends) == 2 else (ends[0][0], source)
            nodes.append(Node(path, layer, sources, shape, ends[0][1], {}))
        else:
            after = out_shape(layer, params, state, shape)
            nodes.append(Node(path, layer, (source,), shape, after, params))
        return path, nodes[-1].out_shape

    visit(net, "", INPUT, in_shape, *abstract_init(net, in_shape))
    return nodes
