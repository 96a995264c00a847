"""Names of parameters that all frameworks share, and the order in which a network applies its layers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from research.analysis.walk import INPUT, Node
from research.frameworks.base import Arrays
from research.layers import Activation, Dense, Dropout, Flatten, Shape
from research.layers.base import by_path

Apply = Callable[[Node, Any], Any]
"""A function that applies the layer of a node to its input in a framework, and returns the output."""


def apply_all(nodes: Sequence[Node], x: Any, apply: Apply) -> Any:
    """Return the output of the last layer.

    Args:
        nodes: the layers in the order in which they run, as `walk` returns them.
        x: the images.
        apply: the function that applies a layer that is not a `Residual`.
    """
    outputs = {INPUT: x}
    for node in nodes:
        first, *others = (outputs[source] for source in node.sources)
        outputs[node.path] = first + others[0] if others else apply(node, first)
    return outputs[nodes[-1].path]


def flatten(tree: Mapping[str, Any]) -> Arrays:
    """Return the arrays of a nested dict as NumPy arrays by their paths; `nested` is the inverse."""
    return {path: np.asarray(array) for path, array in by_path(tree).items()}


def flattened_images(nodes: Iterable[Node]) -> dict[str, Shape]:
    """Return `(H, W, C)` of the images that `Flatten` turned into the input of a dense layer, by its path.

    The kernel of such a layer has one row for each pixel, so the order of its rows is the order in which the
    framework stores an image. A dense layer that reads anything else is not in the result.

    Example:
        >>> from research.analysis.walk import walk
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
