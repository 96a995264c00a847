"""From a list of named layers to a network that fits its images."""

from dataclasses import dataclass

from research.layers import Array, AveragePool, Key, Layer, MaxPool, Params, Sequential, Shape, State
from research.layers.base import abstract_init, out_shape
from research.ops.padding import pair


@dataclass(frozen=True)
class SkippedPool:
    """The identity, in the place of a layer that the images are too small for.

    It keeps the name of the layer and the layer itself, so that a summary can show what is missing.
    """

    layer: Layer

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        """Nothing."""
        return {}, {}

    def apply(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        """``x`` as it is."""
        return x, {}


def assemble(layers: list[tuple[str, Layer]], image_shape: Shape) -> Sequential:
    """Chain ``layers``, leaving out each pool whose window is larger than the image that reaches it.

    So every model runs on every dataset. Nothing is allocated: shapes are traced.

    Args:
        layers: pairs of a name and a layer.
        image_shape: ``(H, W, C)`` of one image.

    Raises:
        ValueError: the image shape is not three positive numbers, or a layer other than a pool does not fit.

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
