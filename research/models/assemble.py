"""A function that chains layers to a network that fits its images."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax.typing import ArrayLike

from research.layers import Array, AveragePool, Key, Layer, MaxPool, Params, Sequential, Shape, State
from research.layers.base import ParameterFree, abstract_init, out_shape
from research.ops.padding import pair


@dataclass(frozen=True)
class SkippedPool(ParameterFree):
    """Return the input unchanged, in place of a pool whose window is larger than the images.

    It has the name of the pool in the network, so that a summary can show what was skipped.

    Args:
        layer: the pool that is skipped.
    """

    layer: Layer

    def apply(
        self, params: Params, state: State, x: ArrayLike, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        """Return `x` and an empty state."""
        return jnp.asarray(x), {}


def assemble(layers: list[tuple[str, Layer]], image_shape: Shape) -> Sequential:
    """Return the layers as one network, without the pools whose window is larger than their input.

    Since such pools are skipped, every model runs on every dataset. Shapes are traced and nothing is
    computed.

    Args:
        layers: the pairs of a name and a layer.
        image_shape: the shape `(H, W, C)` of one image.

    Raises:
        ValueError: `image_shape` is not three positive numbers, or a layer other than a pool does not fit.

    Example:
        >>> assemble([("pool1", MaxPool(2)), ("pool2", MaxPool(2))], (3, 3, 1)).layers[1]
        ('pool2', SkippedPool(layer=MaxPool(window=2, strides=None, padding='VALID')))
    """
    if len(image_shape) != 3 or min(image_shape) < 1:
        raise ValueError(f"image_shape must be (height, width, channels), all positive, got {image_shape}")
    fitting: list[tuple[str, Layer]] = []
    shape = (1, *image_shape)
    for name, layer in layers:
        if isinstance(layer, MaxPool | AveragePool):
            height, width = pair(layer.window, "window")
            if shape[1] < height or shape[2] < width:
                layer = SkippedPool(layer)
        fitting.append((name, layer))
        last = Sequential((fitting[-1],))
        shape = out_shape(last, *abstract_init(last, shape), shape)
    return Sequential(tuple(fitting))
