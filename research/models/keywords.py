"""The types of the keyword arguments that models share, and the layers that some of them stand for.

`research.config` reads from the types which values are allowed.
"""

from typing import Annotated

from research.layers import (
    INITIALIZERS,
    BatchNorm,
    Dropout,
    GroupNorm,
    Layer,
    LayerNorm,
    SpatialDropout,
)
from research.ops.activation import ACTIVATIONS
from research.ops.conv import CONV_ALGORITHMS
from research.utils.constraints import Between, OneOf, Rate
from research.utils.lookup import lookup

ActivationName = Annotated[str, OneOf(ACTIVATIONS)]
InitializerName = Annotated[str, OneOf(INITIALIZERS)]
AlgorithmName = Annotated[str, OneOf(("auto", *CONV_ALGORITHMS))]
PaddingName = Annotated[str, OneOf(("SAME", "VALID"))]
Count = Annotated[int, Between(1, 2**20)]
Counts = tuple[Count, ...]
DropRate = Annotated[float, Rate]

NORMS = {"none": None, "batch": BatchNorm, "layer": LayerNorm, "group": GroupNorm}
"""Normalisation layers by name. The parameters that a layer has beside its channels keep their defaults."""
DROPOUTS = {"unit": Dropout, "spatial": SpatialDropout}
"""Dropout layers by what they drop: single elements or whole channels."""
NormName = Annotated[str, OneOf(NORMS)]
DropoutKind = Annotated[str, OneOf(DROPOUTS)]


def norm_layers(name: str, norm: str) -> list[tuple[str, Layer]]:
    """Return the named layer of a normalisation, or no layer if `norm` is `none`.

    Raises:
        ValueError: the normalisation is unknown.

    Example:
        >>> norm_layers("norm1", "layer"), norm_layers("norm1", "none")
        ([('norm1', LayerNorm(epsilon=1e-05))], [])
    """
    make = lookup(NORMS, norm, "norm")
    return [] if make is None else [(name, make())]


def dropout_layers(name: str, rate: float, kind: str) -> list[tuple[str, Layer]]:
    """Return the named layer of a dropout, or no layer if the rate is 0.

    Raises:
        ValueError: the kind is unknown, or the rate is out of range.

    Example:
        >>> dropout_layers("drop1", 0.5, "spatial")
        [('drop1', SpatialDropout(rate=0.5))]
    """
    make = lookup(DROPOUTS, kind, "dropout_kind")
    return [] if rate == 0 else [(name, make(rate))]
