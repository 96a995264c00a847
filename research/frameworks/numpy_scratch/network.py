"""A network in NumPy: layers in a row, run forward and then backward."""

from collections.abc import Callable, Sequence
from functools import partial

from research.frameworks.numpy_scratch.layers import (
    Array,
    Backward,
    conv2d,
    dense,
    flatten,
    max_pool,
    relu,
    softmax_cross_entropy,
)

Params = dict[str, Array]
Layers = Sequence[tuple[str, Callable[..., tuple[Array, Backward]]]]

REFERENCE: Layers = (
    ("conv1", partial(conv2d, padding="SAME")),
    ("act1", relu),
    ("pool1", partial(max_pool, window=2)),
    ("conv2", partial(conv2d, padding="SAME")),
    ("act2", relu),
    ("pool2", partial(max_pool, window=2)),
    ("flatten", flatten),
    ("dense1", dense),
    ("act3", relu),
    ("logits", dense),
)
"""The network of the framework comparison: names and layers; sizes come with the parameters."""


def forward(layers: Layers, params: Params, x: Array) -> tuple[Array, list[Backward]]:
    """Apply the layers one after the other: the output of the last, and the backward pass of each.

    Args:
        layers: pairs of a name and a layer.
        params: arrays named ``layer/parameter``.
        x: images ``[N, H, W, C]``.
    """
    backwards = []
    for name, layer in layers:
        prefix = f"{name}/"
        own = {key.removeprefix(prefix): p for key, p in params.items() if key.startswith(prefix)}
        x, backward = layer(x, **own)
        backwards.append(backward)
    return x, backwards


def loss_and_gradients(layers: Layers, params: Params, images: Array, labels: Array) -> tuple[float, Params]:
    """Mean cross-entropy over a batch, and its gradient by back-propagation.

    The chain rule from the last layer to the first: each turns the gradient of its output into that of its
    input, which is the output of the layer before it, and leaves its parameters' gradients on the way.

    Args:
        layers: pairs of a name and a layer; the last returns logits ``[N, K]``.
        params: arrays named ``layer/parameter``; the gradients have their names.
        images: ``[N, H, W, C]``.
        labels: class indices, ``[N]``.
    """
    logits, backwards = forward(layers, params, images)
    loss, d = softmax_cross_entropy(logits, labels)
    gradients = {}
    for (name, _), backward in zip(reversed(layers), reversed(backwards), strict=True):
        d, own = backward(d)
        gradients |= {f"{name}/{key}": gradient for key, gradient in own.items()}
    return loss, gradients
