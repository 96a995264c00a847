"""A network as a list of the layers that compute, in the order in which they run."""

from dataclasses import dataclass

from research.layers import Layer, Params, Residual, Sequential, Shape, State
from research.layers.base import abstract_init, out_shape

INPUT = ""
"""The path that stands for the input of the network."""


@dataclass(frozen=True)
class Node:
    """One layer in its place in a network.

    Args:
        path: names from the outside in, ``block1/body/conv1``, as in ``Sequential.trace``.
        layer: the layer; a ``Residual`` stands for its sum only.
        sources: paths of the layers whose outputs it reads; more than one for a ``Residual``.
        in_shape, out_shape: ``[N, H, W, C]`` or ``[N, D]``.
        params: its parameters as ``jax.ShapeDtypeStruct``.
    """

    path: str
    layer: Layer
    sources: tuple[str, ...]
    in_shape: Shape
    out_shape: Shape
    params: Params


def walk(net: Layer, in_shape: Shape) -> list[Node]:
    """Descend into every ``Sequential`` and ``Residual``. Nothing is allocated: shapes are traced.

    Args:
        net: a layer.
        in_shape: ``[N, H, W, C]`` or ``[N, D]``.

    Raises:
        ValueError: a layer does not fit.

    Example:
        >>> from research.models import MODELS
        >>> [node.path for node in walk(MODELS["mlp"]((8, 8, 1), 10), (1, 8, 8, 1))]
        ['flatten', 'dense1', 'act1', 'logits']
    """
    nodes: list[Node] = []

    def visit(
        layer: Layer, path: str, source: str, shape: Shape, params: Params, state: State
    ) -> tuple[str, Shape]:
        """Append the nodes of ``layer``; return the path and shape of its output."""

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
