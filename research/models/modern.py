"""A convolutional network with batch normalisation and global average pooling."""

from research.layers import (
    Activation,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    GlobalAveragePool,
    Layer,
    MaxPool,
    Sequential,
    Shape,
)
from research.models.assemble import assemble
from research.models.keywords import ActivationName, AlgorithmName, Count, Counts, DropRate, InitializerName


def modern_cnn(
    image_shape: Shape,
    num_classes: int,
    *,
    widths: Counts = (64, 128, 256),
    hidden: Count = 512,
    dropout_rate: DropRate = 0.5,
    activation: ActivationName = "relu",
    initializer: InitializerName = "he_normal",
    algorithm: AlgorithmName = "auto",
) -> Sequential:
    """Build a network of pairs of 3×3 convolutions with batch normalisation.

    A 2×2 pool follows each pair. Then come global average pooling, a dense layer, dropout and the logits. The
    network has 1,283,914 parameters for images of 32×32×3 and 10 classes.

    Args:
        image_shape: the shape `(H, W, C)` of one image.
        num_classes: the number of logits.
        widths: the number of features of each pair of convolutions.
        hidden: the number of features of the dense layer before the logits.
        dropout_rate: the probability of dropping before the logits, in [0, 1).
        activation: the name of the activation function in `ACTIVATIONS`.
        initializer: the name of the initializer in `INITIALIZERS`.
        algorithm: the name of the convolution algorithm in `CONV_ALGORITHMS`, or `auto`.

    Raises:
        ValueError: a name is unknown, or a number is out of range.
    """
    layers: list[tuple[str, Layer]] = []
    for i, width in enumerate(widths, start=1):
        for j in (2 * i - 1, 2 * i):
            layers += [
                (f"conv{j}", Conv2D(width, initializer=initializer, algorithm=algorithm)),
                (f"norm{j}", BatchNorm()),
                (f"act{j}", Activation(activation)),
            ]
        layers.append((f"pool{i}", MaxPool(2)))
    layers += [
        ("average", GlobalAveragePool()),
        ("dense1", Dense(hidden, initializer=initializer)),
        (f"act{2 * len(widths) + 1}", Activation(activation)),
        ("dropout1", Dropout(dropout_rate)),
        ("logits", Dense(num_classes, initializer=initializer)),
    ]
    return assemble(layers, image_shape)
