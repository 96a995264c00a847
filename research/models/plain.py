"""The network of the depth and activation studies."""

from functools import partial
from typing import Annotated

from research.layers import Activation, Conv2D, Dense, Flatten, Layer, MaxPool, Sequential, Shape
from research.models.assemble import assemble
from research.models.keywords import (
    ActivationName,
    AlgorithmName,
    Counts,
    DropoutKind,
    DropRate,
    InitializerName,
    NormName,
    PaddingName,
    dropout_layers,
    norm_layers,
)
from research.utils.constraints import Between

MAX_DEPTH = 4


def plain(
    image_shape: Shape,
    num_classes: int,
    *,
    depth: Annotated[int, Between(1, MAX_DEPTH)] = 2,
    widths: Counts = (32, 64, 64, 64),
    padding: PaddingName = "SAME",
    norm: NormName = "none",
    dropout: DropRate = 0.0,
    dropout_kind: DropoutKind = "unit",
    activation: ActivationName = "relu",
    initializer: InitializerName = "he_normal",
    algorithm: AlgorithmName = "auto",
) -> Sequential:
    """Build a network of `depth` 3×3 convolutions and one dense layer.

    A 2×2 pool follows each of the first two convolutions. At depth 1 both pools follow the only convolution,
    so that the dense layer sees images of the same size at every depth. For images of 28×28×1 and 10 classes,
    the network has 16,010, 50,186, 87,114 or 124,042 parameters at depth 1, 2, 3 or 4.

    Args:
        image_shape: the shape `(H, W, C)` of one image.
        num_classes: the number of logits.
        depth: the number of convolutions, which is at most the number of widths.
        widths: the numbers of features of the convolutions; only the first `depth` are used.
        padding: the padding of the convolutions, `SAME` or `VALID`.
        norm: the name in `NORMS` of the normalisation after each convolution, which then has no bias.
        dropout: the probability of dropping after each convolution's activation and pool, in [0, 1).
        dropout_kind: what is dropped, `unit` for single elements or `spatial` for whole channels.
        activation: the name of the activation function in `ACTIVATIONS`.
        initializer: the name of the initializer in `INITIALIZERS`.
        algorithm: the name of the convolution algorithm in `CONV_ALGORITHMS`, or `auto`.

    Raises:
        ValueError: a name is unknown, or a number is out of range.

    Example:
        >>> [name for name, _ in plain((28, 28, 1), 10, depth=1).layers]
        ['conv1', 'act1', 'pool1', 'pool2', 'flatten', 'logits']
    """
    largest = min(MAX_DEPTH, len(widths))
    if not 1 <= depth <= largest:
        raise ValueError(f"depth must be between 1 and {largest}, got {depth}")
    layers: list[tuple[str, Layer]] = []
    use_bias = norm == "none"
    conv = partial(Conv2D, padding=padding, use_bias=use_bias, initializer=initializer, algorithm=algorithm)
    for i in range(1, depth + 1):
        layers.append((f"conv{i}", conv(widths[i - 1])))
        layers += [*norm_layers(f"norm{i}", norm), (f"act{i}", Activation(activation))]
        layers += [(f"pool{i}", MaxPool(2))] if i <= 2 else []
        layers += [("pool2", MaxPool(2))] if depth == 1 else []
        layers += dropout_layers(f"drop{i}", dropout, dropout_kind)
    layers += [("flatten", Flatten()), ("logits", Dense(num_classes, initializer=initializer))]
    return assemble(layers, image_shape)
