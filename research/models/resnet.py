"""A small residual network."""

from functools import partial
from typing import Annotated

from research.layers import (
    Activation,
    BatchNorm,
    Conv2D,
    Dense,
    GlobalAveragePool,
    Layer,
    Residual,
    Sequential,
    Shape,
)
from research.models.assemble import assemble
from research.models.keywords import ActivationName, AlgorithmName, Counts, InitializerName
from research.utils.constraints import Between


def simple_resnet(
    image_shape: Shape,
    num_classes: int,
    *,
    widths: Counts = (64, 128, 256),
    blocks: Annotated[int, Between(1, 100)] = 2,
    activation: ActivationName = "relu",
    initializer: InitializerName = "he_normal",
    algorithm: AlgorithmName = "auto",
) -> Sequential:
    """Build a network of residual blocks, each of two 3×3 convolutions.

    The network begins with one convolution, the stem. Then comes a stage of blocks for each width, then
    global average pooling and the logits. Each stage but the first halves the height and width of the image
    in its first block, whose shortcut is a 1×1 convolution. The other shortcuts are the identity. Batch
    normalisation follows every convolution, and no convolution has a bias. The network has 2,777,674
    parameters for images of 32×32×3 and 10 classes.

    Args:
        image_shape: the shape `(H, W, C)` of one image.
        num_classes: the number of logits.
        widths: the number of features of each stage. The stem has as many as the first stage.
        blocks: the number of residual blocks in each stage.
        activation: the name of the activation function in `ACTIVATIONS`.
        initializer: the name of the initializer in `INITIALIZERS`.
        algorithm: the name of the convolution algorithm in `CONV_ALGORITHMS`, or `auto`.

    Raises:
        ValueError: a name is unknown, or a number is out of range.

    Source: He et al. (2016), Deep residual learning, section 4.2, with wider and fewer blocks.
    """
    if not widths or blocks < 1:
        raise ValueError(f"at least one width and one block are needed, got widths={widths}, blocks={blocks}")
    conv = partial(Conv2D, use_bias=False, initializer=initializer, algorithm=algorithm)

    def block(width: int, strides: int, project: bool) -> Residual:
        # SAME pads a strided convolution at the bottom and right only; the published network pads every side
        padding = "SAME" if strides == 1 else 1
        body: tuple[tuple[str, Layer], ...] = (
            ("conv1", conv(width, strides=strides, padding=padding)),
            ("norm1", BatchNorm()),
            ("act1", Activation(activation)),
            ("conv2", conv(width)),
            ("norm2", BatchNorm()),
        )
        shortcut = Sequential((("conv", conv(width, 1, strides)), ("norm", BatchNorm()))) if project else None
        return Residual(Sequential(body), shortcut)

    layers: list[tuple[str, Layer]] = [
        ("conv1", conv(widths[0])),
        ("norm1", BatchNorm()),
        ("act1", Activation(activation)),
    ]
    num_blocks = 0
    for stage, width in enumerate(widths):
        for i in range(blocks):
            num_blocks += 1
            first = i == 0 and stage > 0
            layers.append((f"block{num_blocks}", block(width, 2 if first else 1, project=first)))
            layers.append((f"act{num_blocks + 1}", Activation(activation)))
    layers += [("average", GlobalAveragePool()), ("logits", Dense(num_classes, initializer=initializer))]
    return assemble(layers, image_shape)
