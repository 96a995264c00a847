"""Networks in which every 3×3 convolution is followed by 2×2 pooling, and dense layers come last."""

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
    """Return VALID convolutions of 8 and 16 features and the logits, without a hidden dense layer.

    It has 5,258 parameters on 28×28×1 with 10 classes.

    Args:
        image_shape: `(H, W, C)` of one image.
        num_classes: number of logits.
        widths: features of the convolutions, from the first on.
        activation: name of the activation function.
        initializer: name of the initializer of the kernels.
        algorithm: name of the algorithm of the convolutions; `auto` chooses one for each layer.

    Raises:
        ValueError: a name is unknown, or a number is out of range.
    """
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
    """Return convolutions of 16 and 32 features and a dense layer of 64.

    The frameworks are compared on this network. It has 105,866 parameters on 28×28×1 with 10 classes.

    Args:
        image_shape: `(H, W, C)` of one image.
        num_classes: number of logits.
        widths: features of the convolutions, from the first on.
        hidden: features of the dense layers before the logits.
        activation: name of the activation function.
        initializer: name of the initializer of the kernels.
        algorithm: name of the algorithm of the convolutions; `auto` chooses one for each layer.

    Raises:
        ValueError: a name is unknown, or a number is out of range.
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
    """Return convolutions of 32 and 64 features and a dense layer of 128: the network of the timings.

    It has 421,642 parameters on 28×28×1 with 10 classes.

    Args:
        image_shape: `(H, W, C)` of one image.
        num_classes: number of logits.
        widths: features of the convolutions, from the first on.
        hidden: features of the dense layers before the logits.
        activation: name of the activation function.
        initializer: name of the initializer of the kernels.
        algorithm: name of the algorithm of the convolutions; `auto` chooses one for each layer.

    Raises:
        ValueError: a name is unknown, or a number is out of range.
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
    """Return convolutions of 32 and 64 features, a dense layer of 128 and dropout before the logits.

    It has 545,098 parameters on 32×32×3 with 10 classes.

    Args:
        image_shape: `(H, W, C)` of one image.
        num_classes: number of logits.
        dropout_rate: probability of dropping an activation, in [0, 1).
        activation: name of the activation function.
        initializer: name of the initializer of the kernels.
        algorithm: name of the algorithm of the convolutions; `auto` chooses one for each layer.

    Raises:
        ValueError: a name is unknown, or a number is out of range.
    """
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
    """Return convolutions of 32, 64 and 128 features and a dense layer of 256, with dropout around it.

    It has 620,362 parameters on 32×32×3 with 10 classes.

    Args:
        image_shape: `(H, W, C)` of one image.
        num_classes: number of logits.
        dropout_rate: probability of dropping an activation, in [0, 1).
        activation: name of the activation function.
        initializer: name of the initializer of the kernels.
        algorithm: name of the algorithm of the convolutions; `auto` chooses one for each layer.

    Raises:
        ValueError: a name is unknown, or a number is out of range.
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
