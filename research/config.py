"""What a run is asked to do: frozen dataclasses, built strictly from plain dicts.

A config names a thing and gives its numbers: ``{"name": "plain", "depth": 3}``. Its table resolves the
name, and the signature of what it names says which keys there are, of which type and in which range.
"""

import dataclasses
import functools
import hashlib
import inspect
import json
import operator
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from research.data import AUGMENTATIONS, DATASETS
from research.models import MODELS
from research.parallel import STRATEGIES
from research.records import NOT_IN_THE_RESULT, RENAMED, RecordError, parameters_checksum
from research.training.optimizers import OPTIMIZERS
from research.training.schedules import SCHEDULES
from research.utils.constraints import AtLeastOne, Between, Fraction, OneOf, Positive, Rate

T = TypeVar("T")

PRECISIONS = {"float32": "float32", "bf16": "bfloat16"}


class ConfigError(ValueError):
    """A configuration is wrong; the message names the key, the value and what is allowed."""


@dataclass(frozen=True)
class Named:
    """A name and the numbers for it; hashable.

    Example:
        >>> Named("plain", (("depth", 3),)).arguments
        {'depth': 3}
    """

    name: str
    items: tuple[tuple[str, Any], ...] = ()

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for the function of that name."""
        return dict(self.items)


@dataclass(frozen=True, eq=False)
class Table:
    """The functions that the name of a `Named` may mean."""

    functions: Mapping[str, Callable[..., Any]]

    def parameters(self, name: str) -> dict[str, tuple[Any, Any]]:
        """Return the annotation and the default of each keyword of the function of that name."""
        return _keywords(self.functions[name])


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how they are split."""

    name: Annotated[str, OneOf(DATASETS)] = "digits"
    dir: str | None = None
    cache_dir: str | None = None
    validation_fraction: Annotated[float, Fraction] = 0.1
    test_fraction: Annotated[float, Fraction] = 0.2
    split_seed: Annotated[int, Between(0)] = 0
    train_limit: Annotated[int, AtLeastOne] | None = None
    augmentations: tuple[Annotated[str, OneOf(AUGMENTATIONS)], ...] = ()


@dataclass(frozen=True)
class TrainingConfig:
    """How long and how to train."""

    epochs: Annotated[int, AtLeastOne] = 20
    batch_size: Annotated[int, AtLeastOne] = 64
    eval_batch_size: Annotated[int, AtLeastOne] = 256
    label_smoothing: Annotated[float, Rate] = 0.0
    keep: Annotated[str, OneOf(("best", "last"))] = "best"
    patience: Annotated[int, AtLeastOne] | None = None
    scan_steps: Annotated[int, AtLeastOne] | None = None
    window: Annotated[int, AtLeastOne] | None = None
    accumulate: Annotated[int, AtLeastOne] | None = None
    remat: Annotated[str, OneOf(("none", "blocks"))] = "none"
    precision: Annotated[str, OneOf(PRECISIONS)] = "float32"
    xla_optimization_level: Annotated[int, Between(0, 3)] | None = None
    xla_cpu_use_fusion_emitters: bool = True
    checkpoint_every: Annotated[int, AtLeastOne] | None = 1000
    keep_checkpoints: Annotated[int, AtLeastOne] = 2
    runs_per_program: Annotated[int, Between(1, 1024)] = 1


@dataclass(frozen=True)
class SweepConfig:
    """What a sweep does with the runs that an earlier one left."""

    retry_failed: bool = True


@dataclass(frozen=True)
class DebugConfig:
    """What a run finds out about itself, at a price."""

    nans: bool = False


@dataclass(frozen=True)
class TuningConfig:
    """Trials of the rates, as factors of the arm's own, over seeds that no run of the study has."""

    seeds: tuple[Annotated[int, Between(0, 2**32 - 1)], ...] = (1000,)
    learning_rate: tuple[Annotated[float, Positive], ...] = (1.0,)
    weight_decay: tuple[Annotated[float, Positive], ...] = (1.0,)


@dataclass(frozen=True)
class MeshConfig:
    """Devices along each axis; data takes what the others leave where it is not given."""

    run: Annotated[int, AtLeastOne] = 1
    data: Annotated[int, AtLeastOne] | None = None
    model: Annotated[int, AtLeastOne] = 1


@dataclass(frozen=True)
class ParallelConfig:
    """On how many devices to train, and by which strategy."""

    name: Annotated[str, OneOf(("auto", *STRATEGIES))] = "single"
    num_devices: Annotated[int, AtLeastOne] | None = None
    mesh: MeshConfig = field(default_factory=MeshConfig)
    batch_norm: Annotated[str, OneOf(("global", "local"))] = "global"


@dataclass(frozen=True)
class DistributedConfig:
    """How the processes of one run find each other."""

    mode: Annotated[str, OneOf(("none", "auto"))] = "none"
    coordinator: str | None = None
    num_processes: Annotated[int, AtLeastOne] | None = None
    process_id: Annotated[int, Between(0)] | None = None
    timeout: Annotated[int, AtLeastOne] = 120

    @property
    def is_on(self) -> bool:
        """Whether a run has other processes."""
        return self.mode == "auto" or self.coordinator is not None


@dataclass(frozen=True)
class StudyConfig:
    """Which comparison a run belongs to, and as which of its arms; a trial is no run of the comparison."""

    name: str
    question: str
    axis: str
    arm: str
    arms: tuple[str, ...]
    reference: str
    tuning: TuningConfig | None = None
    trial: bool = False


@dataclass(frozen=True)
class Config:
    """Everything that decides the result of a run."""

    model: Annotated[Named, Table(MODELS)]
    optimizer: Annotated[Named, Table(OPTIMIZERS)]
    schedule: Annotated[Named, Table(SCHEDULES)]
    seed: Annotated[int, Between(0, 2**32 - 1)] = 0
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    distributed: DistributedConfig = field(default_factory=DistributedConfig)
    study: StudyConfig | None = None
    init_from: str | None = None
    logging: Annotated[str, OneOf(("none", "tensorboard"))] = "none"
    debug: DebugConfig = field(default_factory=DebugConfig)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Config":
        """Build strictly from a plain dict; what it does not say takes its default.

        Raises:
            ConfigError: an unknown key, a wrong type or an impossible value.

        Example:
            >>> Config.from_dict({"seed": 3, "model": {"name": "plain", "depth": 1}}).seed
            3
            >>> Config.from_dict({"training": {"batch_size": 0}})
            Traceback (most recent call last):
            ...
            research.config.ConfigError: training.batch_size=0 is not allowed; give a whole number, at least 1
        """
        names = {"model": "plain", "optimizer": "adam", "schedule": "cosine"}
        return construct(cls, {key: {"name": name} for key, name in names.items()} | dict(values))

    def to_dict(self) -> dict[str, Any]:
        """The plain dict that ``from_dict`` reads."""
        return _plain(self)

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that two configurations share only if they ask for the same run.

        ``init_from`` counts by the parameters in that folder, not by its path.

        Raises:
            ConfigError: ``init_from`` is not the folder of a finished run.
        """
        values = self.to_dict()
        if self.init_from is None:
            del values["init_from"]
        else:
            values["init_from"] = self._init_checksum(self.init_from)
        for dotted in NOT_IN_THE_RESULT:
            *sections, key = dotted.split(".")
            del functools.reduce(operator.getitem, sections, values)[key]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    @staticmethod
    def _init_checksum(folder: str) -> str:
        try:
            return parameters_checksum(Path(folder))
        except RecordError as error:
            raise ConfigError(
                f"init_from={folder} is not allowed ({error}); give the folder of a completed run"
            ) from error

    def run_name(self) -> str:
        """Name of the run's folder in a sweep: arm, seed and fingerprint."""
        arm = self.study.arm if self.study else self.model.name
        return f"{re.sub(r'[^A-Za-z0-9.]+', '-', arm)}_seed-{self.seed}_{self.fingerprint()[:8]}"


def construct(cls: type[T], values: Mapping[str, Any], key: str = "") -> T:
    """Build a frozen dataclass strictly from a plain dict, by its annotations.

    Raises:
        ConfigError: an unknown key, a wrong type or an impossible value.

    Example:
        >>> construct(DataConfig, {"name": "mnist"}).validation_fraction
        0.1
    """
    return _build(cls, values, key)


TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def is_writable(text: str) -> bool:
    """Whether UTF-8 can write a text; a command line may hold bytes that are none.

    Example:
        >>> is_writable("größer"), is_writable("\\udcff")
        (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _keywords(function: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    return {
        p.name: (hints[p.name], p.default) for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY
    }


def _build(hint: Any, value: Any, key: str) -> Any:
    """Turn ``value`` into what ``hint`` asks for, or say why it cannot be."""
    if typing.get_origin(hint) is Annotated:
        inner, constraint = typing.get_args(hint)
        if isinstance(constraint, Table):
            return _build_named(constraint, value, key)
        built = _build(inner, value, key) if not _wrong_type(inner, value) else None
        if built is None or built not in constraint:
            raise _refusal(
                key, value, f"{TYPE_NAMES[inner]}, {constraint}" if inner is not str else constraint
            )
        return built
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        inner = next(option for option in typing.get_args(hint) if option is not type(None))
        return None if value is None else _build(inner, value, key)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise _refusal(key, value, "a list")
        return tuple(_build(typing.get_args(hint)[0], item, key) for item in value)
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint, include_extras=True)
        items = _build_items(hints, value, key)
        for item in dataclasses.fields(hint):
            if item.name not in items and item.default is item.default_factory is dataclasses.MISSING:
                raise ConfigError(f"{key}.{item.name} is missing")
        return typing.cast(Any, hint)(**items)
    if _wrong_type(hint, value):
        raise _refusal(key, value, TYPE_NAMES[hint])
    if hint is str and not is_writable(value):
        raise _refusal(key, value, "a text that UTF-8 can write")
    try:
        return hint(value)
    except OverflowError:
        raise _refusal(key, value, "a smaller number") from None


def _build_named(table: Table, value: Any, key: str) -> Named:
    if not isinstance(value, Mapping):
        raise _refusal(key, value, "a mapping with a name")
    name = value.get("name")
    if not isinstance(name, str) or name not in table.functions:
        raise _refusal(f"{key}.name", name, OneOf(table.functions))
    parameters = table.parameters(name)
    given = {item: given for item, given in value.items() if item != "name"}
    items = {item: default for item, (_, default) in parameters.items()}
    items |= _build_items({item: hint for item, (hint, _) in parameters.items()}, given, key)
    return Named(name, tuple(sorted(items.items())))


def _build_items(hints: Mapping[str, Any], values: Any, key: str) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise _refusal(key, values, f"a mapping with the keys {', '.join(hints)}")
    prefix = f"{key}." if key else ""
    for name in values:
        if prefix + str(name) in RENAMED:
            raise ConfigError(f"{prefix}{name} is now {RENAMED[prefix + str(name)]}; give that key instead")
        if name not in hints:
            raise ConfigError(f"there is no key {prefix}{name}; allowed: {', '.join(hints) or 'none'}")
    return {name: _build(hints[name], value, prefix + name) for name, value in values.items()}


def _wrong_type(hint: type, value: Any) -> bool:
    if hint is float:
        return isinstance(value, bool) or not isinstance(value, int | float)
    return not isinstance(value, hint) or (hint is int and isinstance(value, bool))


def _refusal(key: str, value: Any, allowed: Any) -> ConfigError:
    return ConfigError(f"{key}={'null' if value is None else value} is not allowed; give {allowed}")


def _plain(value: Any) -> Any:
    if isinstance(value, Named):
        return {"name": value.name} | {key: _plain(item) for key, item in value.items}
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
