"""Names of parameters that all frameworks share, and the shapes that a conversion of parameters needs."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from research.analysis.walk import Node, walk
from research.frameworks.base import Arrays
from research.layers import Activation, Dense, Dropout, Flatten, Sequential, Shape
from research.layers.base import by_path

STATISTICS = {"mean": "mean", "variance": "var"}
"""Names of the running averages of batch norm: ours, and those of Flax."""


def nest(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested dict whose paths are the keys of ``arrays``.

    Example:
        >>> nest({"block1/conv1/kernel": 1, "logits/bias": 2})
        {'block1': {'conv1': {'kernel': 1}}, 'logits': {'bias': 2}}
    """
    tree: dict[str, Any] = {}
    for path, array in arrays.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = array
    return tree


def flatten(tree: Mapping[str, Any]) -> Arrays:
    """Return the NumPy arrays of a nested dict by their paths, the inverse of `nest`."""
    return {path: np.asarray(array) for path, array in by_path(tree).items()}


def join(path: str, name: str) -> str:
    """Return the path of the layer ``name`` inside the layer at ``path``."""
    return f"{path}/{name}" if path else name


def places(net: Sequential, image_shape: Shape) -> dict[str, Node]:
    """Return every layer that computes, with the shape of its input, by its path."""
    return {node.path: node for node in walk(net, (1, *image_shape))}


def flattened_images(nodes: Iterable[Node]) -> dict[str, Shape]:
    """Return ``(H, W, C)`` of the images that `Flatten` turned into the input of a dense layer, by its path.

    The kernel of such a layer has one row for each pixel, so its rows are in the order in which the framework
    stores an image. A dense layer that reads anything else is not in the result.

    Example:
        >>> from research.models import MODELS
        >>> flattened_images(walk(MODELS["tiny"]((8, 8, 1), 10), (1, 8, 8, 1)))
        {'logits': (1, 1, 16)}
    """
    images: dict[str, Shape] = {}  # of every layer whose output is a flattened image
    found: dict[str, Shape] = {}
    for node in nodes:
        source = node.sources[0]
        if isinstance(node.layer, Flatten) and len(node.in_shape) == 4:
            images[node.path] = node.in_shape[1:]
        elif isinstance(node.layer, Dense) and source in images:
            found[node.path] = images[source]
        elif isinstance(node.layer, Activation | Dropout | Flatten) and source in images:
            images[node.path] = images[source]
    return found
