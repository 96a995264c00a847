"""A convolutional network with batch normalisation and a global average."""

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
    """Two 3×3 convolutions of each width and a pool, batch norm after each; global average, dense, dropout.

    1,283,914 parameters on 32×32×3 with 10 classes.

    Args:
        image_shape: `(H, W, C)` of one image.
        num_classes: number of logits.
        widths: features of each pair of convolutions.
        hidden: features of the dense layer before the logits.
        dropout_rate: probability of dropping before the logits, in [0, 1).
        activation: name of the activation function.
        initializer: name of the initializer of the kernels.
        algorithm: name of the algorithm of the convolutions; `auto` chooses one for each layer.

    Raises:
        ValueError: a name is unknown or the rate is out of range.
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
