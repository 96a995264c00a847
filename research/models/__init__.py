"""Named networks: functions from a few numbers to a layer."""

from collections.abc import Callable

from research.layers import Sequential
from research.models.conv_pool import classic, conv_pair, reference, simple_cnn, tiny
from research.models.mlp import mlp, mlp_wide
from research.models.modern import modern_cnn
from research.models.plain import plain
from research.models.resnet import simple_resnet

MODELS: dict[str, Callable[..., Sequential]] = {
    "plain": plain,
    "tiny": tiny,
    "reference": reference,
    "mlp": mlp,
    "mlp_wide": mlp_wide,
    "classic": classic,
    "simple_cnn": simple_cnn,
    "modern_cnn": modern_cnn,
    "simple_resnet": simple_resnet,
    "conv_pair": conv_pair,
}
"""Each takes ``(image_shape, num_classes, *, ..., activation, initializer, algorithm)``."""

__all__ = ["MODELS"]
