"""The settings of a comparison of frameworks."""

from dataclasses import dataclass, field
from typing import Annotated

from research.config import RECOMMENDED, ConfigError, DataConfig
from research.frameworks.base import FRAMEWORKS, OPTIMIZERS
from research.utils.constraints import AtLeastOne, OneOf, Positive


@dataclass(frozen=True)
class Duration:
    """How long to train.

    Args:
        epochs: number of passes over the training split; null: what the dataset recommends.
        batch_size: number of images in a training step; null: what the dataset recommends.
    """

    epochs: Annotated[int, AtLeastOne] = RECOMMENDED
    batch_size: Annotated[int, AtLeastOne] = RECOMMENDED


@dataclass(frozen=True)
class ComparisonConfig:
    """Everything that decides the result of a comparison of frameworks.

    Args:
        data: the images.
        training: how long to train.
        out: folder of the report.
        seeds: number of seeds, from 0 on.
        optimizer: the optimizer.
        learning_rate: its learning rate, which is constant.
        frameworks: names of the frameworks; null: all.
        small: also compare smaller networks and networks of dense layers alone.
        num_threads: number of threads of each process; null: one per processor.
    """

    data: DataConfig = field(default_factory=DataConfig)
    training: Duration = field(default_factory=Duration)
    out: str = "outputs/frameworks"
    seeds: Annotated[int, AtLeastOne] = 5
    optimizer: Annotated[str, OneOf(OPTIMIZERS)] = "adam"
    learning_rate: Annotated[float, Positive] = 1e-3
    frameworks: tuple[Annotated[str, OneOf(FRAMEWORKS)], ...] | None = None
    small: bool = True
    num_threads: Annotated[int, AtLeastOne] | None = None

    def __post_init__(self) -> None:
        if self.frameworks == ():
            raise ConfigError("frameworks=[] is not allowed; give at least one name, or null for all")
