"""The types of the keyword arguments that models share.

`research.config` reads from them which values are allowed.
"""

from typing import Annotated

from research.layers import INITIALIZERS
from research.ops.activation import ACTIVATIONS
from research.ops.conv import CONV_ALGORITHMS
from research.utils.constraints import Between, OneOf, Rate

ActivationName = Annotated[str, OneOf(ACTIVATIONS)]
InitializerName = Annotated[str, OneOf(INITIALIZERS)]
AlgorithmName = Annotated[str, OneOf(("auto", *CONV_ALGORITHMS))]
PaddingName = Annotated[str, OneOf(("SAME", "VALID"))]
Count = Annotated[int, Between(1, 2**20)]
Counts = tuple[Count, ...]
DropRate = Annotated[float, Rate]
