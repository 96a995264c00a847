"""Networks of `research.models` in PyTorch, whose images are ``[N, C, H, W]`` and kernels OIHW."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import nn

from research.frameworks.base import Arrays
from research.frameworks.networks.names import flattened_images, join, places
from research.layers import (
    Activation,
    AveragePool,
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
    Shape,
    SpatialDropout,
)
from research.models.assemble import SkippedPool
from research.ops.padding import Padding, pair, resolve_padding

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": partial(nn.LeakyReLU, 0.01),
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
}
"""PyTorch's modules for the names of `research.ops.activation`."""

NAMES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "variance": "running_var",
}
"""PyTorch's names for ours. A ``weight`` is the scale of a batch norm or the kernel of another layer."""


class Sum(nn.Module):
    """A module that returns the sum of the outputs of two modules."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``body(x) + shortcut(x)``."""
        return self.body(x) + self.shortcut(x)


class Network(nn.Sequential):
    """A network, with what the conversion of its parameters needs.

    Args:
        layers: the modules by name.
        flattened: ``(H, W, C)`` of the flattened images that a dense layer reads, by the layer's path.
    """

    def __init__(self, layers: "OrderedDict[str, nn.Module]", flattened: Mapping[str, Shape]) -> None:
        super().__init__(layers)
        self.flattened = dict(flattened)


def build(net: Sequential, image_shape: Shape) -> Network:
    """Return the PyTorch module of a network; its modules have the names of the layers.

    Args:
        net: the network.
        image_shape: ``(H, W, C)`` of one image.

    Raises:
        NotImplementedError: PyTorch has no such module.
    """
    nodes = places(net, image_shape)

    def build_all(layer: Sequential, path: str) -> "OrderedDict[str, nn.Module]":
        return OrderedDict((name, build_one(child, join(path, name))) for name, child in layer.layers)

    def build_one(layer: Layer, path: str) -> nn.Module:
        match layer:
            case Sequential():
                return nn.Sequential(build_all(layer, path))
            case Residual(body, shortcut):
                around = nn.Identity() if shortcut is None else build_one(shortcut, join(path, "shortcut"))
                return Sum(build_one(body, join(path, "body")), around)
        return _leaf(layer, nodes[path].in_shape)

    return Network(build_all(net, ""), flattened_images(nodes.values()))


def _leaf(layer: Layer, in_shape: Shape) -> nn.Module:
    """Return the module of a layer that holds no other layer, for inputs of ``in_shape`` in our layout."""
    channels = in_shape[-1]
    match layer:
        case Conv2D(features=features, kernel_size=size, strides=strides, dilation=dilation):
            padding = _padding(layer, layer.padding, in_shape, size, strides, dilation)
            return nn.Conv2d(
                channels,
                features,
                pair(size, "kernel_size"),
                pair(strides, "strides"),
                padding,
                pair(dilation, "dilation"),
                layer.groups,
                layer.use_bias,
                layer.padding_mode,  # pyright: ignore[reportArgumentType]  the modes have the same names
            )
        case BatchNorm(decay, epsilon, axis_name=None):
            norm = nn.BatchNorm2d if len(in_shape) == 4 else nn.BatchNorm1d
            return norm(channels, epsilon, 1 - decay)
        case Activation(name) if name in ACTIVATIONS:
            return ACTIVATIONS[name]()
        case MaxPool(window, strides):
            strides = window if strides is None else strides
            padding = _padding(layer, layer.padding, in_shape, window, strides)
            return nn.MaxPool2d(window, strides, padding)
        case AveragePool(window, strides):
            strides = window if strides is None else strides
            padding = _padding(layer, layer.padding, in_shape, window, strides)
            return nn.AvgPool2d(window, strides, padding, count_include_pad=False)
        case GlobalAveragePool():
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case Flatten():
            return nn.Flatten()
        case Dense(features, use_bias):
            return nn.Linear(channels, features, use_bias)
        case Dropout(rate):
            return nn.Dropout(rate)
        case SpatialDropout(rate):
            return nn.Dropout2d(rate)
        case SkippedPool():
            return nn.Identity()
    raise NotImplementedError(f"no PyTorch module for {layer}")


def _padding(
    layer: Layer,
    padding: Padding,
    in_shape: Shape,
    size: int | tuple[int, int],
    strides: int | tuple[int, int],
    dilation: int | tuple[int, int] = 1,
) -> tuple[int, int]:
    """Return the pixels of padding (height, width), which PyTorch adds to both sides alike."""
    (top, bottom), (left, right) = resolve_padding(padding, in_shape[1:3], size, strides, dilation)
    if (top, left) != (bottom, right):
        raise NotImplementedError(f"no PyTorch module for {layer}: it pads one side more than the other")
    return top, left


def load(network: Network, arrays: Mapping[str, np.ndarray]) -> None:
    """Copy parameters and batch-norm statistics into a network, converted to its layout and dtype.

    Args:
        network: what `build` returned.
        arrays: arrays in our layout by path.
    """
    tensors = network.state_dict()
    for path, array in arrays.items():
        parent, _, name = path.rpartition("/")
        converted = torch.tensor(_to_torch(network, parent, array))
        tensors[f"{parent.replace('/', '.')}.{NAMES[name]}"].copy_(converted)


def read(network: Network) -> Arrays:
    """Return the parameters and batch-norm statistics of a network in our layout by path."""
    counters = "num_batches_tracked"
    return convert(network, {n: t for n, t in network.state_dict().items() if not n.endswith(counters)})


def read_gradients(network: Network) -> Arrays:
    """Return the gradients that a backward pass left at the parameters, in our layout by path."""
    found = {name: p.grad for name, p in network.named_parameters()}
    return convert(network, {name: grad for name, grad in found.items() if grad is not None})


def convert(network: Network, tensors: Mapping[str, torch.Tensor]) -> Arrays:
    """Return tensors that are named as in ``network.state_dict()`` in our layout by path."""
    norms = (nn.BatchNorm1d, nn.BatchNorm2d)
    arrays: Arrays = {}
    for full_name, tensor in tensors.items():
        parent, _, name = full_name.rpartition(".")
        is_norm = isinstance(network.get_submodule(parent), norms)
        ours = {theirs: our for our, theirs in NAMES.items() if our != ("kernel" if is_norm else "scale")}
        path = parent.replace(".", "/")
        arrays[f"{path}/{ours[name]}"] = _from_torch(network, path, tensor.detach().cpu().numpy())
    return arrays


def _to_torch(network: Network, path: str, array: np.ndarray) -> np.ndarray:
    """Return an array of the layer at ``path`` in PyTorch's layout."""
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if array.ndim == 2 and path in network.flattened:  # a row for each pixel, [H, W, C] to [C, H, W]
        images = array.reshape(*network.flattened[path], -1)
        return images.transpose(3, 2, 0, 1).reshape(array.shape[1], -1)
    return array.T


def _from_torch(network: Network, path: str, array: np.ndarray) -> np.ndarray:
    """Return an array in PyTorch's layout of the layer at ``path`` in ours, as a copy."""
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0).copy()
    if array.ndim == 2 and path in network.flattened:
        height, width, channels = network.flattened[path]
        images = array.reshape(-1, channels, height, width)
        return images.transpose(2, 3, 1, 0).reshape(-1, len(array))
    return array.T.copy()
