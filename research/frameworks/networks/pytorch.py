"""Networks of `research.models` in PyTorch, whose images are `[N, C, H, W]` and kernels OIHW."""

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from research import layers
from research.analysis.walk import walk
from research.frameworks.base import Arrays
from research.frameworks.networks.names import flattened_images
from research.layers import Layer, Sequential, Shape
from research.models.assemble import SkippedPool
from research.ops.padding import Padding, Size, pair, resolve_padding

ACTIVATIONS = {
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

NAMES = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "variance"}
"""Our names of arrays by the names of PyTorch. A `weight` with more than one axis is a kernel."""


class Sum(nn.Module):
    """A module that returns the sum of the outputs of two modules."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `body(x) + shortcut(x)`."""
        return self.body(x) + self.shortcut(x)


class Network(nn.Sequential):
    """A network, with what the conversion of its parameters needs.

    Args:
        layers: the modules by name.
        flattened: `(H, W, C)` of the flattened images that a dense layer reads, by the layer's path.
    """

    def __init__(self, layers: "OrderedDict[str, nn.Module]", flattened: Mapping[str, Shape]) -> None:
        super().__init__(layers)
        self.flattened = dict(flattened)


def build(net: Sequential, image_shape: Shape) -> Network:
    """Return the PyTorch module of a network; its modules have the names of the layers.

    Args:
        net: the network.
        image_shape: `(H, W, C)` of one image.

    Raises:
        NotImplementedError: PyTorch has no such module.
    """
    nodes = {node.path: node for node in walk(net, (1, *image_shape))}

    def build_children(layer: Sequential, path: str) -> "OrderedDict[str, nn.Module]":
        return OrderedDict((name, build_one(child, f"{path}{name}")) for name, child in layer.layers)

    def build_one(layer: Layer, path: str) -> nn.Module:
        match layer:
            case Sequential():
                return nn.Sequential(build_children(layer, f"{path}/"))
            case layers.Residual(body, shortcut):
                around = nn.Identity() if shortcut is None else build_one(shortcut, f"{path}/shortcut")
                return Sum(build_one(body, f"{path}/body"), around)
        return _leaf(layer, nodes[path].in_shape)

    return Network(build_children(net, ""), flattened_images(nodes.values()))


def _leaf(layer: Layer, in_shape: Shape) -> nn.Module:
    """Return the module of a layer that holds no other layer, for inputs of `in_shape` in our layout."""
    channels = in_shape[-1]
    match layer:
        case layers.Conv2D(features=features, kernel_size=size, strides=strides, dilation=dilation) if (
            layer.padding_mode != "symmetric"  # PyTorch has no such mode
        ):
            padding = _padding(layer, layer.padding, in_shape, size, strides, dilation)
            options: Any = {
                "groups": layer.groups,
                "bias": layer.use_bias,
                "padding_mode": layer.padding_mode,
            }
            return nn.Conv2d(
                channels,
                features,
                pair(size, "kernel_size"),
                pair(strides, "strides"),
                padding,
                pair(dilation, "dilation"),
                **options,
            )
        case layers.BatchNorm(decay, epsilon, axis_name=None):
            norm = nn.BatchNorm2d if len(in_shape) == 4 else nn.BatchNorm1d
            return norm(channels, epsilon, 1 - decay)
        case layers.Activation(name) if name in ACTIVATIONS:
            return ACTIVATIONS[name]()
        case layers.MaxPool(window, strides) | layers.AveragePool(window, strides):
            window = pair(window, "window")
            strides = window if strides is None else pair(strides, "strides")
            padding = _padding(layer, layer.padding, in_shape, window, strides)
            if isinstance(layer, layers.MaxPool):
                return nn.MaxPool2d(window, strides, padding)
            return nn.AvgPool2d(window, strides, padding, count_include_pad=False)
        case layers.GlobalAveragePool():
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case layers.Flatten():
            return nn.Flatten()
        case layers.Dense(features, use_bias):
            return nn.Linear(channels, features, use_bias)
        case layers.Dropout(rate):
            return nn.Dropout(rate)
        case layers.SpatialDropout(rate):
            return nn.Dropout2d(rate)
        case SkippedPool():
            return nn.Identity()
    raise NotImplementedError(f"no PyTorch module for {layer}")


def _padding(
    layer: Layer, padding: Padding, in_shape: Shape, size: Size, strides: Size, dilation: Size = 1
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
    theirs = {our: name for name, our in NAMES.items()} | {"kernel": "weight"}
    tensors = network.state_dict()
    for path, array in arrays.items():
        parent, _, name = path.rpartition("/")
        converted = torch.tensor(_to_torch(network, parent, array))
        tensors[f"{parent.replace('/', '.')}.{theirs[name]}"].copy_(converted)


def read(network: Network) -> Arrays:
    """Return the parameters and batch-norm statistics of a network in our layout by path."""
    return convert(network, network.state_dict())


def read_gradients(network: Network) -> Arrays:
    """Return the gradients that a backward pass left at the parameters, in our layout by path."""
    return convert(network, {name: p.grad for name, p in network.named_parameters() if p.grad is not None})


def convert(network: Network, tensors: Mapping[str, torch.Tensor]) -> Arrays:
    """Return the tensors of a network as arrays in our layout by path.

    Args:
        network: what `build` returned.
        tensors: tensors by the names of `network.state_dict()`.
    """
    arrays: Arrays = {}
    for full_name, tensor in tensors.items():
        parent, _, name = full_name.rpartition(".")
        if name in NAMES:  # the counter `num_batches_tracked` is left out
            path = parent.replace(".", "/")
            ours = "kernel" if tensor.ndim > 1 else NAMES[name]
            arrays[f"{path}/{ours}"] = _from_torch(network, path, tensor.detach().cpu().numpy())
    return arrays


def _to_torch(network: Network, path: str, array: np.ndarray) -> np.ndarray:
    """Return an array of the layer at `path` in PyTorch's layout."""
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if array.ndim == 2 and path in network.flattened:  # a row for each pixel, [H, W, C] to [C, H, W]
        images = array.reshape(*network.flattened[path], -1)
        return images.transpose(3, 2, 0, 1).reshape(array.shape[1], -1)
    return array.T


def _from_torch(network: Network, path: str, array: np.ndarray) -> np.ndarray:
    """Return an array in PyTorch's layout of the layer at `path` in ours, as a copy."""
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0).copy()
    if array.ndim == 2 and path in network.flattened:
        height, width, channels = network.flattened[path]
        images = array.reshape(-1, channels, height, width)
        return images.transpose(2, 3, 1, 0).reshape(-1, len(array))
    return array.T.copy()
