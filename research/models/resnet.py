"""A small residual network."""

from functools import partial
from typing import Annotated

from research.layers import (
    Activation,
    Conv2D,
    Dense,
    GlobalAveragePool,
    Layer,
    Residual,
    Sequential,
    Shape,
    StochasticDepth,
)
from research.models.assemble import assemble
from research.models.keywords import (
    ActivationName,
    AlgorithmName,
    Counts,
    DropoutKind,
    DropRate,
    InitializerName,
    NormName,
    dropout_layers,
    norm_layers,
)
from research.utils.constraints import Between


def simple_resnet(
    image_shape: Shape,
    num_classes: int,
    *,
    widths: Counts = (64, 128, 256),
    blocks: Annotated[int, Between(1, 100)] = 2,
    norm: NormName = "batch",
    dropout: DropRate = 0.0,
    dropout_kind: DropoutKind = "unit",
    stochastic_depth: DropRate = 0.0,
    activation: ActivationName = "relu",
    initializer: InitializerName = "he_normal",
    algorithm: AlgorithmName = "auto",
) -> Sequential:
    """Build a network of residual blocks, each of two 3×3 convolutions.

    The network begins with one convolution, the stem. Then comes a stage of blocks for each width, then
    global average pooling and the logits. Each stage but the first halves the height and width of the image
    in its first block, whose shortcut is a 1×1 convolution. The other shortcuts are the identity.
    Normalisation follows every convolution; a convolution has a bias only if there is none. The network has
    2,777,674 parameters for images of 32×32×3 and 10 classes.

    Args:
        image_shape: the shape `(H, W, C)` of one image.
        num_classes: the number of logits.
        widths: the number of features of each stage. The stem has as many as the first stage.
        blocks: the number of residual blocks in each stage.
        norm: the name in `NORMS` of the normalisation after each convolution.
        dropout: the probability of dropping before the second convolution of a block, in [0, 1).
        dropout_kind: what is dropped, `unit` for single elements or `spatial` for whole channels.
        stochastic_depth: the probability of skipping the last block for an example, in [0, 1). It is smaller
            for the blocks before: block l of L has the probability `stochastic_depth * l / L`.
        activation: the name of the activation function in `ACTIVATIONS`.
        initializer: the name of the initializer in `INITIALIZERS`.
        algorithm: the name of the convolution algorithm in `CONV_ALGORITHMS`, or `auto`.

    Raises:
        ValueError: a name is unknown, or a number is out of range.

    Source: He et al. (2016), Deep residual learning, section 4.2, with wider and fewer blocks; for dropout,
    Zagoruyko & Komodakis (2016), Wide residual networks, section 2.4; for `stochastic_depth`, Huang et al.
    (2016), Deep networks with stochastic depth, section 3.
    """
    if not widths or blocks < 1:
        raise ValueError(f"at least one width and one block are needed, got widths={widths}, blocks={blocks}")
    use_bias = norm == "none"
    conv = partial(Conv2D, use_bias=use_bias, initializer=initializer, algorithm=algorithm)

    def block(width: int, strides: int, project: bool, drop_rate: float) -> Residual:
        # SAME pads a strided convolution at the bottom and right only; the published network pads every side
        padding = "SAME" if strides == 1 else 1
        body: list[tuple[str, Layer]] = [
            ("conv1", conv(width, strides=strides, padding=padding)),
            *norm_layers("norm1", norm),
            ("act1", Activation(activation)),
            *dropout_layers("drop1", dropout, dropout_kind),
            ("conv2", conv(width)),
            *norm_layers("norm2", norm),
        ]
        body += [("depth", StochasticDepth(drop_rate))] if drop_rate else []
        shortcut = (("conv", conv(width, 1, strides)), *norm_layers("norm", norm))
        return Residual(Sequential(tuple(body)), Sequential(shortcut) if project else None)

    layers: list[tuple[str, Layer]] = [
        ("conv1", conv(widths[0])),
        *norm_layers("norm1", norm),
        ("act1", Activation(activation)),
    ]
    num_blocks = 0
    for stage, width in enumerate(widths):
        for i in range(blocks):
            num_blocks += 1
            first = i == 0 and stage > 0
            drop_rate = stochastic_depth * num_blocks / (blocks * len(widths))
            layers.append((f"block{num_blocks}", block(width, 2 if first else 1, first, drop_rate)))
            layers.append((f"act{num_blocks + 1}", Activation(activation)))
    layers += [("average", GlobalAveragePool()), ("logits", Dense(num_classes, initializer=initializer))]
    return assemble(layers, image_shape)
