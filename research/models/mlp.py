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
    """Return dense layers only.

    The network has 101,770 parameters on 28×28×1 with 10 classes.

    Args:
        image_shape: `(H, W, C)` of one image.
        num_classes: number of logits.
        hidden: features of the dense layers before the logits.
        activation: name of the activation function.
        initializer: name of the initializer of the kernels.
        algorithm: name of an algorithm of convolutions, as for all models; this network has no convolution.

    Raises:
        ValueError: a name is unknown.
    """
    layers: list[tuple[str, Layer]] = [("flatten", Flatten())]
    for i, features in enumerate(hidden, start=1):
        layers += [
            (f"dense{i}", Dense(features, initializer=initializer)),
            (f"act{i}", Activation(activation)),
        ]
    layers.append(("logits", Dense(num_classes, initializer=initializer)))
    return assemble(layers, image_shape)


def mlp_wide(
    image_shape: Shape,
    num_classes: int,
    *,
    hidden: Counts = (600, 500),
    activation: ActivationName = "relu",
    initializer: InitializerName = "he_normal",
    algorithm: AlgorithmName = "auto",
) -> Sequential:
    """Return `mlp` with more features, as a fully connected rival of small convolutional networks.

    The network has 776,510 parameters on 28×28×1 with 10 classes.

    Args:
        image_shape: `(H, W, C)` of one image.
        num_classes: number of logits.
        hidden: features of the dense layers before the logits.
        activation: name of the activation function.
        initializer: name of the initializer of the kernels.
        algorithm: name of an algorithm of convolutions, as for all models; this network has no convolution.

    Raises:
        ValueError: a name is unknown.
    """
    names = {"activation": activation, "initializer": initializer, "algorithm": algorithm}
    return mlp(image_shape, num_classes, hidden=hidden, **names)
