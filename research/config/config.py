"""The configuration of a run, and its fingerprint."""

import functools
import hashlib
import json
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

from research.config.choices import (
    DEFAULT_CHOICES,
    NAME_KEYS,
    default_choices,
    with_recipe,
    with_recommendations,
)
from research.config.data import ADDED, ONLY_FROM, DataConfig, data_choice
from research.config.sections import (
    CompressConfig,
    DebugConfig,
    DistributedConfig,
    InitFromConfig,
    LoggingConfig,
    ParallelConfig,
    StudyConfig,
    TrainingConfig,
)
from research.data import cache_folder
from research.models import MODELS
from research.records import NOT_IN_THE_RESULT, RecordError, parameters_checksum
from research.training.losses import CROSS_ENTROPY, LOSSES
from research.training.optimizers import ONLY_SCHEDULE, OPTIMIZERS, make_optimizer
from research.training.schedules import SCHEDULES
from research.utils.constraints import Between
from research.utils.nested import dotted_keys, nested
from research.utils.strict import ConfigError, Functions, Named, construct, to_plain

RENAMED = {
    "training.replicas": "training.runs_per_program",
    "parallel.mesh.replica": "parallel.mesh.run",
    "training.label_smoothing": "loss.label_smoothing",
    "model.batch_norm": "model.norm",
}
"""Keys that were renamed: the new name by the old name."""


@dataclass(frozen=True)
class Config:
    """The configuration of a run.

    Args:
        model: the network.
        optimizer: the optimizer.
        schedule: factor of the learning rate at each step.
        seed: seed of the parameters, the order of the images and all other random numbers.
        loss: the loss that training minimises; the loss of an evaluation is always the cross-entropy.
        data: the images.
        training: how long and how to train.
        parallel: the devices.
        distributed: the processes of one run.
        study: the study that the run belongs to.
        init_from: the completed run whose parameters this run starts from; its folder alone is allowed.
        logging: what the run records beside its own files.
        debug: checks that help to find an error.
    """

    model: Annotated[Named, Functions(MODELS)]
    optimizer: Annotated[Named, Functions(OPTIMIZERS, make_optimizer)]
    schedule: Annotated[Named, Functions(SCHEDULES)]
    seed: Annotated[int, Between(0, 2**32 - 1)] = 0
    loss: Annotated[Named, Functions(LOSSES)] = CROSS_ENTROPY
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    distributed: DistributedConfig = field(default_factory=DistributedConfig)
    study: StudyConfig | None = None
    init_from: InitFromConfig = field(default_factory=InitFromConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    debug: DebugConfig = field(default_factory=DebugConfig)

    def __post_init__(self) -> None:
        if self.data.validation_fraction == 0:
            self._refuse_without_validation()
        if self.training.snapshots and self.schedule.name != "cosine_restarts":
            raise ConfigError(
                f"training.snapshots=true is not allowed with schedule={self.schedule.name}, which has no "
                "cycles; give schedule=cosine_restarts"
            )
        if self.debug.overfit_batch is not None:
            self._refuse_to_overfit_many()
        if self.data.folds is not None and self.study is not None and self.study.tuning:
            raise ConfigError(
                "study.tuning is not allowed with data.folds, because every fold would choose rates of its "
                "own; give study.tuning=null"
            )
        if self.logging.statistics and self.distributed.is_on:
            raise ConfigError("logging.statistics=true is not allowed with distributed; give false")
        groups = self.optimizer.arguments.get("groups", ())
        for name in (self.optimizer.name, *(group.optimizer for group in groups)):
            if self.schedule.name != (only := ONLY_SCHEDULE.get(name, self.schedule.name)):
                raise ConfigError(
                    f"schedule={self.schedule.name} is not allowed with optimizer={name}; give {only}"
                )

    def _refuse_to_overfit_many(self) -> None:
        for key, is_given in (
            ("study", self.study is not None),
            ("distributed", self.distributed.is_on),
            ("training.runs_per_program", self.training.runs_per_program > 1),
        ):
            if is_given:
                raise ConfigError(
                    f"debug.overfit_batch={self.debug.overfit_batch} is not allowed with {key}, because it "
                    f"is for one run in one process; leave out {key}"
                )

    def _refuse_without_validation(self) -> None:
        if self.schedule.name == "plateau":
            raise ConfigError(
                "schedule=plateau is not allowed with data.validation_fraction=0, which leaves no image to "
                "validate; give another schedule"
            )
        for key, value, allowed in (
            ("training.keep", self.training.keep, "last"),
            ("training.patience", self.training.patience, None),
            ("study.tuning", self.study and self.study.tuning and "...", None),
        ):
            if value != allowed:
                raise ConfigError(
                    f"{key}={value} is not allowed with data.validation_fraction=0, which leaves no image to "
                    f"validate; give {key}={allowed or 'null'}"
                )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Config":
        """Build a configuration strictly from a plain dict; a key that is missing takes its default.

        A choice may be a name alone, and `augmentation` the name of a list in `RECIPES`. The dataset's
        recommendation replaces `training.epochs` and `training.batch_size` where they are null, so that both
        spellings have the same fingerprint.

        Args:
            values: values by key, nested as the dataclasses are.

        Raises:
            ConfigError: a key is unknown, a type is wrong or a value is impossible.

        Example:
            >>> config = Config.from_dict({"model": {"name": "plain", "depth": 1}, "data": "mnist"})
            >>> config.model.arguments["depth"], config.training.epochs
            (1, 3)
            >>> Config.from_dict({"debug": {"nans": 1}})
            Traceback (most recent call last):
            ...
            research.utils.strict.ConfigError: debug.nans=1 is not allowed; give true or false
        """
        if not isinstance(values, Mapping):
            keys = ", ".join(item.name for item in fields(cls))
            raise ConfigError(f"{values!r} is no configuration; give a mapping with the keys {keys}")
        for key in filter(RENAMED.get, dotted_keys(values)):
            raise ConfigError(f"{key} is now {RENAMED[key]}; give that key instead")
        optimizer = values.get("optimizer")
        given = default_choices(optimizer.get("name") if isinstance(optimizer, Mapping) else optimizer)
        given |= dict(values)
        if isinstance(given.get("data"), str):
            given["data"] = data_choice(given["data"])
        for section, key in NAME_KEYS.items():
            if isinstance(given.get(section), str):
                given |= nested({key: given[section]})
        if given.get("init_from", {}) is None:
            del given["init_from"]
        return construct(cls, with_recommendations(with_recipe(given)))

    @classmethod
    def from_record(cls, values: Mapping[str, Any]) -> "Config":
        """Build the configuration of a run on disk, which an earlier version may have written.

        Keys that were renamed since then are read as their new names.

        Args:
            values: the content of the run's `config.yaml`.

        Raises:
            ConfigError: this version cannot read the configuration.

        Example:
            >>> old = {"model": {"name": "plain", "batch_norm": True}, "training": {"label_smoothing": 0.1}}
            >>> config = Config.from_record(old)
            >>> config.model.arguments["norm"], config.loss.arguments["label_smoothing"]
            ('batch', 0.1)
        """
        flat = dotted_keys(values)
        for old in RENAMED.keys() & flat.keys():
            value = flat.pop(old)
            flat[RENAMED[old]] = ("batch" if value else "none") if old == "model.batch_norm" else value
        if "loss.label_smoothing" in flat:
            flat.setdefault("loss.name", DEFAULT_CHOICES["loss"])
        return cls.from_dict(nested(flat))

    def to_dict(self) -> dict[str, Any]:
        """Return the plain dict that `from_dict` reads."""
        return to_plain(self)

    @property
    def teacher(self) -> str:
        """The folder of the run from whose outputs the loss `distillation` learns.

        Raises:
            ConfigError: the folder is not given.
        """
        teacher = self.loss.arguments.get("teacher")
        if not teacher:
            raise ConfigError(
                "loss=distillation needs loss.teacher, the folder of a completed run; give "
                "loss.teacher=FOLDER"
            )
        return teacher

    @property
    def compress(self) -> CompressConfig | None:
        """The file that this run of a study makes of earlier runs; `None` if the run trains."""
        return None if self.study is None else self.study.compress

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits, which are equal only for configurations of the same run.

        `init_from`, `loss.teacher` and `study.compress.runs` count by the parameters in those folders, and
        `data.path` by the images, not by the path.

        Raises:
            ConfigError: one of these folders is not that of a finished run.
            DataError: the user's images are missing.
        """
        values = self.to_dict()
        # keys that were added later do not count at their defaults, so earlier runs keep their fingerprints
        if self.data.source == "table":
            for key in ("source", *ONLY_FROM):
                values["data"].pop(key, None)
        else:
            values["data"]["path"] = self.data.images.content(cache_folder(self.data.cache_dir))
            if self.data.path is not None:
                del values["data"]["name"]
        for key in ADDED:
            if getattr(self.data, key) == getattr(DataConfig, key):
                values["data"].pop(key, None)
        if self.training.continued_from is None:
            del values["training"]["continued_from"]
        if self.training.prune.amount == 0:
            del values["training"]["prune"]
        if not self.training.snapshots:
            del values["training"]["snapshots"]
        if not self.training.freeze:
            del values["training"]["freeze"]
        start = self.init_from
        if start.run is None:
            del values["init_from"]
        else:
            values["init_from"]["run"] = _checksum_of_run("init_from", start.run)
            if start == InitFromConfig(start.run):
                values["init_from"] = values["init_from"]["run"]
        if self.loss.name == "distillation":
            values["loss"]["teacher"] = _checksum_of_run("loss.teacher", self.teacher)
        if self.compress is not None:
            runs = [_checksum_of_run("study.compress.runs", run) for run in self.compress.runs]
            values["study"]["compress"]["runs"] = runs
        for key in ("seed", "compress"):
            if self.study is not None and getattr(self.study, key) is None:
                del values["study"][key]
        if self.debug.overfit_batch is None:
            del values["debug"]["overfit_batch"]
        for dotted in NOT_IN_THE_RESULT:
            *sections, key = dotted.split(".")
            del functools.reduce(operator.getitem, sections, values)[key]
        values = {key: value for key, value in values.items() if value != {}}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    def run_name(self) -> str:
        """Return the name of the run's folder in a sweep: arm, seed and fingerprint."""
        arm = self.study.arm if self.study else self.model.name
        short = re.sub(r"[^A-Za-z0-9.]+", "-", arm)[:80]  # a file system takes up to 255 bytes
        return f"{short}_seed-{self.seed}_{self.fingerprint()[:8]}"


def _checksum_of_run(key: str, folder: str) -> str:
    """Return the checksum of the parameters of a completed run, whose folder is the value of a key."""
    try:
        return parameters_checksum(folder)
    except RecordError as error:
        raise ConfigError(
            f"{key}={folder} is not allowed ({error}); give the folder of a completed run"
        ) from error
