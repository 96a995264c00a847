"""Networks in which a 2×2 pool follows every 3×3 convolution, and dense layers come last."""

from research.layers import Activation, Conv2D, Dropout, Layer, MaxPool, Sequential, Shape
from research.models.assemble import assemble
from research.models.keywords import ActivationName, AlgorithmName, Counts, DropRate, InitializerName
from research.models.mlp import dense_layers


def tiny(
    image_shape: Shape,
    num_classes: int,
    *,
    widths: Counts = (8, 16),
    activation: ActivationName = "relu",
    initializer: InitializerName = "he_normal",
    algorithm: AlgorithmName = "auto",
) -> Sequential:
    """Build the smallest convolutional network: two convolutions without padding, and the logits.

    It has 5,258 parameters for images of 28×28×1 and 10 classes.

    Args:
        image_shape: the shape `(H, W, C)` of one image.
        num_classes: the number of logits.
        widths: the numbers of features of the convolutions.
        activation: the name of the activation function in `ACTIVATIONS`.
        initializer: the name of the initializer in `INITIALIZERS`.
        algorithm: the name of the convolution algorithm in `CONV_ALGORITHMS`, or `auto`.

    Raises:
        ValueError: a name is unknown, or a number is out of range.
    """
    layers = _convolutions(widths, activation, initializer, algorithm, padding="VALID")
    return assemble(layers + dense_layers((), num_classes, activation, initializer, len(widths)), image_shape)


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
    """Build the network of the framework comparison: two convolutions, a dense layer and the logits.

    It has 105,866 parameters for images of 28×28×1 and 10 classes.

    Args:
        image_shape: the shape `(H, W, C)` of one image.
        num_classes: the number of logits.
        widths: the numbers of features of the convolutions.
        hidden: the numbers of features of the dense layers before the logits.
        activation: the name of the activation function in `ACTIVATIONS`.
        initializer: the name of the initializer in `INITIALIZERS`.
        algorithm: the name of the convolution algorithm in `CONV_ALGORITHMS`, or `auto`.

    Raises:
        ValueError: a name is unknown, or a number is out of range.
    """
    layers = _convolutions(widths, activation, initializer, algorithm)
    return assemble(
        layers + dense_layers(hidden, num_classes, activation, initializer, len(widths)), image_shape
    )


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
    """Build the network of the benchmarks: two convolutions, a dense layer and the logits.

    It has 421,642 parameters for images of 28×28×1 and 10 classes.

    Args:
        image_shape: the shape `(H, W, C)` of one image.
        num_classes: the number of logits.
        widths: the numbers of features of the convolutions.
        hidden: the numbers of features of the dense layers before the logits.
        activation: the name of the activation function in `ACTIVATIONS`.
        initializer: the name of the initializer in `INITIALIZERS`.
        algorithm: the name of the convolution algorithm in `CONV_ALGORITHMS`, or `auto`.

    Raises:
        ValueError: a name is unknown, or a number is out of range.
    """
    layers = _convolutions(widths, activation, initializer, algorithm)
    return assemble(
        layers + dense_layers(hidden, num_classes, activation, initializer, len(widths)), image_shape
    )


def classic(
    image_shape: Shape,
    num_classes: int,
    *,
    dropout_rate: DropRate = 0.5,
    activation: ActivationName = "relu",
    initializer: InitializerName = "he_normal",
    algorithm: AlgorithmName = "auto",
) -> Sequential:
    """Build a network of two convolutions of 32 and 64 features, a dense layer of 128, and dropout.

    It has 545,098 parameters for images of 32×32×3 and 10 classes.

    Args:
        image_shape: the shape `(H, W, C)` of one image.
        num_classes: the number of logits.
        dropout_rate: the probability of dropping, in [0, 1).
        activation: the name of the activation function in `ACTIVATIONS`.
        initializer: the name of the initializer in `INITIALIZERS`.
        algorithm: the name of the convolution algorithm in `CONV_ALGORITHMS`, or `auto`.

    Raises:
        ValueError: a name is unknown, or a number is out of range.
    """
    layers = _convolutions((32, 64), activation, initializer, algorithm)
    *head, logits = dense_layers((128,), num_classes, activation, initializer, 2)
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
    """Build a network of three convolutions of 32, 64 and 128 features, and a dense layer of 256.

    Dropout is applied before and after the dense layer. The network has 620,362 parameters for images of
    32×32×3 and 10 classes.

    Args:
        image_shape: the shape `(H, W, C)` of one image.
        num_classes: the number of logits.
        dropout_rate: the probability of dropping, in [0, 1).
        activation: the name of the activation function in `ACTIVATIONS`.
        initializer: the name of the initializer in `INITIALIZERS`.
        algorithm: the name of the convolution algorithm in `CONV_ALGORITHMS`, or `auto`.

    Raises:
        ValueError: a name is unknown, or a number is out of range.
    """
    layers = _convolutions((32, 64, 128), activation, initializer, algorithm)
    flatten, *head, logits = dense_layers((256,), num_classes, activation, initializer, 3)
    first, second = ("dropout1", Dropout(dropout_rate)), ("dropout2", Dropout(dropout_rate))
    return assemble([*layers, flatten, first, *head, second, logits], image_shape)


def _convolutions(
    widths: tuple[int, ...], activation: str, initializer: str, algorithm: str, padding: str = "SAME"
) -> list[tuple[str, Layer]]:
    """Return a convolution, an activation and a pool for each width."""
    layers: list[tuple[str, Layer]] = []
    for i, width in enumerate(widths, start=1):
        layers += [
            (f"conv{i}", Conv2D(width, padding=padding, initializer=initializer, algorithm=algorithm)),
            (f"act{i}", Activation(activation)),
            (f"pool{i}", MaxPool(2)),
        ]
    return layers
