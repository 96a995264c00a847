"""A network in NumPy: layers in a row, run forward and then backward."""

from collections.abc import Sequence
from functools import partial

from research.frameworks.numpy_scratch.layers import (
    Array,
    Backward,
    Layer,
    conv2d,
    dense,
    flatten,
    max_pool,
    relu,
    softmax_cross_entropy,
)

Params = dict[str, Array]
Layers = Sequence[tuple[str, Layer]]

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
"""Names and layers of the network of the comparison; the parameters decide the sizes."""


def forward(layers: Layers, params: Params, x: Array) -> tuple[Array, list[Backward]]:
    """Return the output of the last layer, and the backward pass of each layer.

    Args:
        layers: pairs of a name and a layer.
        params: arrays named `layer/parameter`.
        x: images `[N, H, W, C]`.
    """
    backwards = []
    for name, layer in layers:
        prefix = f"{name}/"
        own = {key.removeprefix(prefix): p for key, p in params.items() if key.startswith(prefix)}
        x, backward = layer(x, **own)
        backwards.append(backward)
    return x, backwards


def loss_and_gradients(layers: Layers, params: Params, images: Array, labels: Array) -> tuple[float, Params]:
    """Return the mean cross-entropy over a batch, and its gradient by back-propagation.

    The chain rule is applied from the last layer to the first. Each backward pass turns the gradient of the
    layer's output into the gradient of its input, which is the output of the layer before it.

    Args:
        layers: pairs of a name and a layer; the last layer returns logits `[N, K]`.
        params: arrays named `layer/parameter`; the gradients have the same names.
        images: `[N, H, W, C]`.
        labels: class indices, `[N]`.
    """
    logits, backwards = forward(layers, params, images)
    loss, d = softmax_cross_entropy(logits, labels)
    gradients = {}
    for (name, _), backward in zip(reversed(layers), reversed(backwards), strict=True):
        d, own = backward(d)
        gradients |= {f"{name}/{key}": gradient for key, gradient in own.items()}
    return loss, gradients
