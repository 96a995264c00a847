"""PyTorch, run eagerly, or replayed from a CUDA graph of the whole step."""

from collections.abc import Callable

import jax
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
    Sequential,
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
        case Sequential(layers):
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


def device() -> torch.device:
    """Where JAX computes, too: the GPU, if that is its backend, else the CPU.

    On a GPU products of float32 matrices may take TF32 there, as they do in JAX and in either's convolutions.

    Raises:
        NotImplementedError: JAX has a GPU and this PyTorch has none.
    """
    if jax.default_backend() != "gpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise NotImplementedError("this PyTorch finds no GPU")
    torch.set_float32_matmul_precision("high")
    return torch.device("cuda")


def synchronize() -> None:
    """Wait for the GPU, if one is at work."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


class Captured:
    """What a step asks of the GPU, recorded once, so that one call asks for all of it.

    Source: the whole-network capture of https://docs.pytorch.org/docs/stable/notes/cuda.html.
    """

    def __init__(self, step: Callable[[], None]) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # a few steps first, not on the default stream
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            step()
        self._step = step  # the graph reads and writes the memory of its tensors

    def __call__(self) -> None:
        """Take the step once more."""
        self._graph.replay()


def make_train(
    net: Layer,
    image_shape: tuple[int, int, int],
    batch_size: int,
    channels_last: bool = False,
    cuda_graph: bool = False,
) -> Callable[[int], None]:
    """Make ``train(num_steps)``.

    Args:
        net: as for `build`.
        image_shape: ``(H, W, C)``.
        batch_size: images of a step.
        channels_last: the layout in memory.
        cuda_graph: replay each step as `Captured`.

    Raises:
        NotImplementedError: there is no counterpart, or no GPU for it.
    """
    height, width, channels = image_shape
    place, layout = device(), torch.channels_last if channels_last else torch.contiguous_format
    if cuda_graph and place.type != "cuda":
        raise NotImplementedError("a CUDA graph needs a GPU")
    x = torch.randn(batch_size, channels, height, width)
    module = build(net)
    num_classes = module(x).shape[1]
    x = x.to(place, memory_format=layout)
    module = module.to(place, memory_format=layout)  # pyright: ignore[reportCallIssue]  missing in its types
    labels = torch.arange(batch_size, device=place) % num_classes
    optimizer = torch.optim.Adam(module.parameters(), capturable=cuda_graph)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(module(x), labels).backward()
        optimizer.step()

    once = Captured(step) if cuda_graph else step

    def train(num_steps: int) -> None:
        for _ in range(num_steps):
            once()
        synchronize()

    return train
