"""Networks in which every 3×3 convolution is followed by 2×2 pooling, and dense layers come last.

All take ``image_shape`` ``(H, W, C)`` of one image and ``num_classes``, the number of logits. ``widths`` are
the features of the convolutions and ``hidden`` those of the dense layers before the logits; ``dropout_rate``
is in [0, 1); ``activation``, ``initializer`` and ``algorithm`` are names from their tables. A ValueError
names a number out of range or an unknown name.
"""

from research.layers import Activation, Conv2D, Dense, Dropout, Flatten, Layer, MaxPool, Sequential, Shape
from research.models.assemble import assemble
from research.models.keywords import ActivationName, AlgorithmName, Counts, DropRate, InitializerName


def tiny(
    image_shape: Shape,
    num_classes: int,
    *,
    widths: Counts = (8, 16),
    activation: ActivationName = "relu",
    initializer: InitializerName = "he_normal",
    algorithm: AlgorithmName = "auto",
) -> Sequential:
    """VALID convolutions of 8 and 16, no hidden dense layer. 5,258 parameters on 28×28×1 with 10 classes."""
    layers = _convolutions(widths, activation, initializer, algorithm, padding="VALID")
    return assemble(layers + _head((), num_classes, activation, initializer, len(widths)), image_shape)


def reference(
    image_shape: Shape,
    num_classes: int,
    *,
    widths: Counts = (16, 32),
    hidden: Counts = (64,),
    activation: ActivationName = "relu",
    initializer: InitializerName = "he_normal",
    algorithm: AlgorithmName = "auto",
) -> Sequential:
    """Convolutions of 16 and 32, dense 64: the network of the framework comparison.

    105,866 parameters on 28×28×1 with 10 classes.
    """
    layers = _convolutions(widths, activation, initializer, algorithm)
    return assemble(layers + _head(hidden, num_classes, activation, initializer, len(widths)), image_shape)


def conv_pair(
    image_shape: Shape,
    num_classes: int,
    *,
    widths: Counts = (32, 64),
    hidden: Counts = (128,),
    activation: ActivationName = "relu",
    initializer: InitializerName = "he_normal",
    algorithm: AlgorithmName = "auto",
) -> Sequential:
    """Convolutions of 32 and 64, dense 128: the network of the timings.

    421,642 parameters on 28×28×1 with 10 classes.
    """
    layers = _convolutions(widths, activation, initializer, algorithm)
    return assemble(layers + _head(hidden, num_classes, activation, initializer, len(widths)), image_shape)


def classic(
    image_shape: Shape,
    num_classes: int,
    *,
    dropout_rate: DropRate = 0.5,
    activation: ActivationName = "relu",
    initializer: InitializerName = "he_normal",
    algorithm: AlgorithmName = "auto",
) -> Sequential:
    """Convolutions of 32 and 64, dense 128, dropout. 545,098 parameters on 32×32×3 with 10 classes."""
    layers = _convolutions((32, 64), activation, initializer, algorithm)
    *head, logits = _head((128,), num_classes, activation, initializer, 2)
    return assemble([*layers, *head, ("dropout1", Dropout(dropout_rate)), logits], image_shape)


def simple_cnn(
    image_shape: Shape,
    num_classes: int,
    *,
    dropout_rate: DropRate = 0.5,
    activation: ActivationName = "relu",
    initializer: InitializerName = "he_normal",
    algorithm: AlgorithmName = "auto",
) -> Sequential:
    """Convolutions of 32, 64 and 128, dropout, dense 256, dropout.

    620,362 parameters on 32×32×3 with 10 classes.
    """
    layers = _convolutions((32, 64, 128), activation, initializer, algorithm)
    flatten, *head, logits = _head((256,), num_classes, activation, initializer, 3)
    first, second = ("dropout1", Dropout(dropout_rate)), ("dropout2", Dropout(dropout_rate))
    return assemble([*layers, flatten, first, *head, second, logits], image_shape)


def _convolutions(
    widths: tuple[int, ...], activation: str, initializer: str, algorithm: str, padding: str = "SAME"
) -> list[tuple[str, Layer]]:
    layers: list[tuple[str, Layer]] = []
    for i, width in enumerate(widths, start=1):
        layers += [
            (f"conv{i}", Conv2D(width, padding=padding, initializer=initializer, algorithm=algorithm)),
            (f"act{i}", Activation(activation)),
            (f"pool{i}", MaxPool(2)),
        ]
    return layers


def _head(
    hidden: tuple[int, ...], num_classes: int, activation: str, initializer: str, num_activations: int
) -> list[tuple[str, Layer]]:
    layers: list[tuple[str, Layer]] = [("flatten", Flatten())]
    for i, features in enumerate(hidden, start=1):
        layers += [
            (f"dense{i}", Dense(features, initializer=initializer)),
            (f"act{num_activations + i}", Activation(activation)),
        ]
    return [*layers, ("logits", Dense(num_classes, initializer=initializer))]
