"""The network without convolutions."""

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
    """Dense layers only. 101,770 parameters on 28×28×1 with 10 classes.

    Args:
        image_shape: ``(H, W, C)`` of one image.
        num_classes: number of logits.
        hidden: features of the layers before the logits.
        activation, initializer: names from their tables.
        algorithm: taken as all models take it; there is no convolution here to use it.

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
