"""The configuration of a run: frozen dataclasses, which are built strictly from plain dicts.

A choice is the name of a function and its arguments, such as `{"name": "plain", "depth": 3}`. A table maps
the name to the function, and the signature of the function says which keys there are, with their types and
ranges. Every default is the default of a field in this package or of an argument of such a function.
"""

from research.config.choices import CHOICES, NAME_KEYS, default_choices, with_recipe, with_recommendations
from research.config.config import RENAMED, Config
from research.config.data import DATA_CHOICES, DataConfig, data_choice
from research.config.sections import (
    LOGGERS,
    PRECISIONS,
    RECOMMENDED,
    CompressConfig,
    DebugConfig,
    DistributedConfig,
    InitFromConfig,
    LoggingConfig,
    MeshConfig,
    ParallelConfig,
    PruneConfig,
    SearchConfig,
    StudyConfig,
    SweepConfig,
    TrainingConfig,
    TuningConfig,
)
from research.utils.strict import ConfigError, Named

__all__ = [
    "CHOICES",
    "DATA_CHOICES",
    "LOGGERS",
    "NAME_KEYS",
    "PRECISIONS",
    "RECOMMENDED",
    "RENAMED",
    "CompressConfig",
    "Config",
    "ConfigError",
    "DataConfig",
    "DebugConfig",
    "DistributedConfig",
    "InitFromConfig",
    "LoggingConfig",
    "MeshConfig",
    "Named",
    "ParallelConfig",
    "PruneConfig",
    "SearchConfig",
    "StudyConfig",
    "SweepConfig",
    "TrainingConfig",
    "TuningConfig",
    "data_choice",
    "default_choices",
    "with_recipe",
    "with_recommendations",
]
