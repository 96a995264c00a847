"""Named networks: functions that build a network from a few numbers and names."""

from typing import Any, Protocol, runtime_checkable

from research.layers import Sequential, Shape
from research.models.conv_pool import classic, conv_pair, reference, simple_cnn, tiny
from research.models.mlp import mlp, mlp_wide
from research.models.modern import modern_cnn
from research.models.plain import plain
from research.models.resnet import simple_resnet


@runtime_checkable
class Model(Protocol):
    """A function that builds a network for images of one shape. Each model has further keyword arguments."""

    def __call__(self, image_shape: Shape, num_classes: int, *args: Any, **options: Any) -> Sequential:
        """Return the network, which maps images `[N, *image_shape]` to logits `[N, num_classes]`."""
        ...


MODELS: dict[str, Model] = {
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
"""The models by name. All have the options `activation`, `initializer` and `algorithm`."""

__all__ = ["MODELS", "Model"]
