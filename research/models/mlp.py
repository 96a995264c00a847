"""Networks without convolutions."""

from research.layers import Activation, Dense, Flatten, Layer, Sequential, Shape
from research.models.assemble import assemble
from research.models.keywords import ActivationName, AlgorithmName, Counts, InitializerName


def mlp(
    image_shape: Shape,
    num_classes: int,
    *,
    hidden: Counts = (128,),
    activation: ActivationName = "relu",
    initializer: InitializerName = "he_normal",
    algorithm: AlgorithmName = "auto",
) -> Sequential:
    """Build a network of dense layers only.

    It has 101,770 parameters for images of 28×28×1 and 10 classes.

    Args:
        image_shape: the shape `(H, W, C)` of one image.
        num_classes: the number of logits.
        hidden: the numbers of features of the dense layers before the logits.
        activation: the name of the activation function in `ACTIVATIONS`.
        initializer: the name of the initializer in `INITIALIZERS`.
        algorithm: the name of a convolution algorithm, which has no effect since there is no convolution.

    Raises:
        ValueError: a name is unknown.
    """
    return assemble(dense_layers(hidden, num_classes, activation, initializer), image_shape)


def mlp_wide(
    image_shape: Shape,
    num_classes: int,
    *,
    hidden: Counts = (600, 500),
    activation: ActivationName = "relu",
    initializer: InitializerName = "he_normal",
    algorithm: AlgorithmName = "auto",
) -> Sequential:
    """Build `mlp` with more features, to compare it with small convolutional networks.

    It has 776,510 parameters for images of 28×28×1 and 10 classes.

    Args:
        image_shape: the shape `(H, W, C)` of one image.
        num_classes: the number of logits.
        hidden: the numbers of features of the dense layers before the logits.
        activation: the name of the activation function in `ACTIVATIONS`.
        initializer: the name of the initializer in `INITIALIZERS`.
        algorithm: the name of a convolution algorithm, which has no effect since there is no convolution.

    Raises:
        ValueError: a name is unknown.
    """
    names = {"activation": activation, "initializer": initializer, "algorithm": algorithm}
    return mlp(image_shape, num_classes, hidden=hidden, **names)


def dense_layers(
    hidden: tuple[int, ...], num_classes: int, activation: str, initializer: str, num_activations: int = 0
) -> list[tuple[str, Layer]]:
    """Return the layers from `flatten` to `logits`; activations are numbered after `num_activations`."""
    layers: list[tuple[str, Layer]] = [("flatten", Flatten())]
    for i, features in enumerate(hidden, start=1):
        layers += [
            (f"dense{i}", Dense(features, initializer=initializer)),
            (f"act{num_activations + i}", Activation(activation)),
        ]
    return [*layers, ("logits", Dense(num_classes, initializer=initializer))]
