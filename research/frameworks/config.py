"""What a comparison of the frameworks is asked to do."""

from dataclasses import dataclass, field
from typing import Annotated

from research.config import DataConfig
from research.frameworks.base import FRAMEWORKS, OPTIMIZERS
from research.utils.constraints import AtLeastOne, OneOf, Positive


@dataclass(frozen=True)
class Duration:
    """How long to train."""

    epochs: Annotated[int, AtLeastOne] = 3
    batch_size: Annotated[int, AtLeastOne] = 64


@dataclass(frozen=True)
class ComparisonConfig:
    """Everything that decides the result of a comparison; built by ``research.config.construct``."""

    data: DataConfig = field(default_factory=DataConfig)
    training: Duration = field(default_factory=Duration)
    out: str = "outputs/frameworks"
    seeds: Annotated[int, AtLeastOne] = 5
    optimizer: Annotated[str, OneOf(OPTIMIZERS)] = "adam"
    learning_rate: Annotated[float, Positive] = 1e-3
    frameworks: tuple[Annotated[str, OneOf(FRAMEWORKS)], ...] | None = None
    small: bool = True
    num_threads: Annotated[int, AtLeastOne] | None = None
