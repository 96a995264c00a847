"""From a list of named layers to a network that fits its images."""

import jax

from research.layers import AveragePool, Layer, MaxPool, Serial, Shape
from research.layers.base import out_shape


def assemble(layers: list[tuple[str, Layer]], image_shape: Shape) -> Serial:
    """Chain ``layers``, leaving out each pool whose window is larger than the image that reaches it.

    So every model runs on every dataset. Nothing is allocated: shapes are traced.

    Args:
        layers: pairs of a name and a layer.
        image_shape: ``(H, W, C)`` of one image.

    Raises:
        ValueError: the image shape is not three positive numbers, or a layer does not fit.

    Example:
        >>> net = assemble([("pool1", MaxPool(2)), ("pool2", MaxPool(2))], (3, 3, 1))
        >>> [name for name, _ in net.layers]
        ['pool1']
    """
    if len(image_shape) != 3 or min(image_shape) < 1:
        raise ValueError(f"image_shape must be (height, width, channels), all positive, got {image_shape}")
    kept = []
    shape = (1, *image_shape)
    for name, layer in layers:
        if isinstance(layer, MaxPool | AveragePool) and not _fits(layer, shape):
            continue
        shape = _shape_after(layer, shape)
        kept.append((name, layer))
    return Serial(tuple(kept))


def _fits(pool: MaxPool | AveragePool, in_shape: Shape) -> bool:
    height, width = (pool.window,) * 2 if isinstance(pool.window, int) else pool.window
    return in_shape[1] >= height and in_shape[2] >= width


def _shape_after(layer: Layer, in_shape: Shape) -> Shape:
    params, state = jax.eval_shape(lambda: layer.init(jax.random.key(0), in_shape))
    return out_shape(layer, params, state, in_shape)
