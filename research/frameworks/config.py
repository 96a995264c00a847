"""The settings of a comparison of frameworks."""

from dataclasses import dataclass, field
from typing import Annotated

from research.config import RECOMMENDED, ConfigError, DataConfig
from research.frameworks.base import FRAMEWORKS, OPTIMIZERS
from research.utils.constraints import AtLeastOne, OneOf, Positive
from research.utils.strict import to_plain


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
        out: folder of the runs and of their report.
        seeds: number of seeds, from 0 on; 9 are enough to decide the 8 contrasts of all frameworks.
        optimizer: the optimizer.
        learning_rate: its learning rate, which is constant.
        frameworks: names of the frameworks; null: all.
        small: also compare smaller networks and networks of dense layers alone.
        num_threads: number of threads of each process; null: one per processor.
        process_per_seed: measure each seed in a process of its own, so that compilation, first step and peak
            memory are measured for each seed. Otherwise a framework has one process for all its seeds; the
            processes of all frameworks then hold memory at once, and only the first seed measures these
            three.
        report: also write a report of the runs into `out`.
    """

    data: DataConfig = field(default_factory=DataConfig)
    training: Duration = field(default_factory=Duration)
    out: str = "outputs/frameworks"
    seeds: Annotated[int, AtLeastOne] = 9
    optimizer: Annotated[str, OneOf(OPTIMIZERS)] = "adam"
    learning_rate: Annotated[float, Positive] = 1e-3
    frameworks: tuple[Annotated[str, OneOf(FRAMEWORKS)], ...] | None = None
    small: bool = True
    num_threads: Annotated[int, AtLeastOne] | None = None
    process_per_seed: bool = False
    report: bool = True

    def __post_init__(self) -> None:
        for key in ("augmentations", "sampling"):
            value = to_plain(getattr(self.data, key))
            if value != to_plain(getattr(DataConfig, key)):
                raise ConfigError(
                    f"data.{key}={value} is not allowed, because the comparison takes each image once and as "
                    "it is; leave it out"
                )
        if self.frameworks == ():
            raise ConfigError("frameworks=[] is not allowed; give at least one name, or null for all")
