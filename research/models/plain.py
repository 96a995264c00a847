"""The network of the depth and activation studies."""

from functools import partial
from typing import Annotated

from research.layers import Activation, BatchNorm, Conv2D, Dense, Flatten, Layer, MaxPool, Sequential, Shape
from research.models.assemble import assemble
from research.models.keywords import ActivationName, AlgorithmName, Counts, InitializerName, PaddingName
from research.utils.constraints import Between

MAX_DEPTH = 4


def plain(
    image_shape: Shape,
    num_classes: int,
    *,
    depth: Annotated[int, Between(1, MAX_DEPTH)] = 2,
    widths: Counts = (32, 64, 64, 64),
    padding: PaddingName = "SAME",
    batch_norm: bool = False,
    activation: ActivationName = "relu",
    initializer: InitializerName = "he_normal",
    algorithm: AlgorithmName = "auto",
) -> Sequential:
    """``depth`` 3×3 convolutions, 2×2 pooling after the first two, one dense layer.

    At depth 1 both pools follow the only convolution, so that the dense layer sees images of the same size
    at every depth. Parameters at depth 1 to 4 on 28×28×1 with 10 classes: 16,010, 50,186, 87,114, 124,042.

    Args:
        image_shape: `(H, W, C)` of one image.
        num_classes: number of logits.
        depth: number of convolutions, at most the number of widths.
        widths: features of the convolutions, from the first on.
        padding: padding of the convolutions.
        batch_norm: normalise between each convolution and its activation; the convolution then has no bias.
        activation: name of the activation function.
        initializer: name of the initializer of the kernels.
        algorithm: name of the algorithm of the convolutions; `auto` chooses one for each layer.

    Raises:
        ValueError: the depth is out of range, or a name is unknown.

    Example:
        >>> [name for name, _ in plain((28, 28, 1), 10, depth=1).layers]
        ['conv1', 'act1', 'pool1', 'pool2', 'flatten', 'logits']
    """
    largest = min(MAX_DEPTH, len(widths))
    if not 1 <= depth <= largest:
        raise ValueError(f"depth must be between 1 and {largest}, got {depth}")
    layers: list[tuple[str, Layer]] = []
    conv = partial(
        Conv2D, padding=padding, use_bias=not batch_norm, initializer=initializer, algorithm=algorithm
    )
    for i in range(1, depth + 1):
        layers.append((f"conv{i}", conv(widths[i - 1])))
        layers += [(f"norm{i}", BatchNorm())] if batch_norm else []
        layers.append((f"act{i}", Activation(activation)))
        layers += [(f"pool{i}", MaxPool(2))] if i <= 2 else []
    layers += [("pool2", MaxPool(2))] if depth == 1 else []
    layers += [("flatten", Flatten()), ("logits", Dense(num_classes, initializer=initializer))]
    return assemble(layers, image_shape)
