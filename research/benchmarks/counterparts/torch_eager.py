"""PyTorch, run eagerly."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from research.layers import (
    Activation,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Layer,
    MaxPool,
    Residual,
    Serial,
)

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "elu": nn.ELU, "tanh": nn.Tanh}


class Sum(nn.Module):
    """The sum of two modules."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Both of images ``[N, C, H, W]``, added."""
        return self.body(x) + self.shortcut(x)


def build(layer: Layer) -> nn.Module:
    """The module of a layer; a strided convolution pads both sides alike, as PyTorch's users do.

    Raises:
        NotImplementedError: there is no counterpart.
    """
    match layer:
        case Serial(layers):
            return nn.Sequential(*(build(child) for _, child in layers))
        case Residual(body, shortcut):
            return Sum(build(body), nn.Identity() if shortcut is None else build(shortcut))
        case Conv2D(kernel_size=int(size), strides=int(strides), padding="SAME", dilation=1, groups=1):
            return nn.LazyConv2d(layer.features, size, strides, (size - 1) // 2, bias=layer.use_bias)
        case BatchNorm():
            return nn.LazyBatchNorm2d(layer.epsilon, 1 - layer.decay)
        case Activation(name) if name in ACTIVATIONS:
            return ACTIVATIONS[name]()
        case MaxPool(window=int(window), strides=None, padding="VALID"):
            return nn.MaxPool2d(window)
        case GlobalAveragePool():
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case Flatten():
            return nn.Flatten()
        case Dense():
            return nn.LazyLinear(layer.features, layer.use_bias)
        case Dropout(rate):
            return nn.Dropout(rate)
    raise NotImplementedError(f"no PyTorch module for {layer}")


def make_train(
    net: Layer, image_shape: tuple[int, int, int], batch_size: int, channels_last: bool = False
) -> Callable[[int], None]:
    """Make ``train(num_steps)``; ``channels_last`` chooses the layout in memory."""
    height, width, channels = image_shape
    layout = torch.channels_last if channels_last else torch.contiguous_format
    x = torch.randn(batch_size, channels, height, width).to(memory_format=layout)
    module = build(net)
    num_classes = module(x).shape[1]
    module = module.to(memory_format=layout)  # pyright: ignore[reportCallIssue]  missing in its types
    labels = torch.arange(batch_size) % num_classes
    optimizer = torch.optim.Adam(module.parameters())

    def train(num_steps: int) -> None:
        for _ in range(num_steps):
            optimizer.zero_grad()
            F.cross_entropy(module(x), labels).backward()
            optimizer.step()

    return train
