"""A residual network."""

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
    """A stem, then for each width a stage of residual blocks of two 3×3 convolutions; global average.

    Each stage but the first halves the image in its first block, whose shortcut is a 1×1 projection; the
    other shortcuts are the identity. Batch norm after every convolution, and no convolution has a bias.
    2,777,674 parameters on 32×32×3 with 10 classes.

    Args:
        image_shape: `(H, W, C)` of one image.
        num_classes: number of logits.
        widths: features of the stages; the stem has those of the first.
        blocks: residual blocks in each stage.
        activation: name of the activation function.
        initializer: name of the initializer of the kernels.
        algorithm: name of the algorithm of the convolutions; `auto` chooses one for each layer.

    Raises:
        ValueError: a name is unknown, or there are no stages or no blocks.

    Source: He et al. (2016), Deep residual learning, section 4.2, with wider and fewer blocks.
    """
    if not widths or blocks < 1:
        raise ValueError(f"at least one width and one block are needed, got widths={widths}, blocks={blocks}")
    conv = partial(Conv2D, use_bias=False, initializer=initializer, algorithm=algorithm)

    def block(width: int, strides: int, project: bool) -> Residual:
        body: tuple[tuple[str, Layer], ...] = (
            ("conv1", conv(width, strides=strides)),
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
