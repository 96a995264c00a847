"""The configuration of a run: frozen dataclasses, which are built strictly from plain dicts.

A choice is the name of a function and its arguments, such as `{"name": "plain", "depth": 3}`. A table maps
the name to the function, and the signature of the function says which keys there are, with their types and
ranges. Every default is the default of a field in this module or of an argument of such a function.
"""

import functools
import hashlib
import json
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

from research.data import AUGMENTATIONS, DATASETS, RECIPES
from research.models import MODELS
from research.parallel import STRATEGIES
from research.records import NOT_IN_THE_RESULT, RecordError, parameters_checksum
from research.training.fit import MONITORS
from research.training.losses import CROSS_ENTROPY, LOSSES
from research.training.optimizers import ONLY_SCHEDULE, OPTIMIZERS, make_optimizer
from research.training.schedules import SCHEDULES
from research.training.tta import TTA
from research.utils.constraints import AtLeastOne, Between, Fraction, OneOf, Positive, Rate
from research.utils.nested import dotted_keys, nested
from research.utils.strict import ConfigError as ConfigError
from research.utils.strict import Functions, construct, to_plain
from research.utils.strict import Named as Named

RENAMED = {
    "training.replicas": "training.runs_per_program",
    "parallel.mesh.replica": "parallel.mesh.run",
    "training.label_smoothing": "loss.label_smoothing",
    "model.batch_norm": "model.norm",
}
"""Keys that were renamed: the new name by the old name."""

PRECISIONS = {"float32": "float32", "bf16": "bfloat16"}

RECOMMENDED: Any = None
"""Default of a number that the dataset recommends; `Config.from_dict` replaces it with that number."""


@dataclass(frozen=True)
class DataConfig:
    """Which images a run reads, and how they are split.

    Args:
        name: the dataset.
        dir: folder of prepared datasets; null: $TFDS_DATA_DIR, else ~/tensorflow_datasets.
        cache_dir: folder of decoded images; null: the user's cache folder.
        validation_fraction: share of the training images that becomes the validation split; 0 trains on all
            images, and needs `training.keep=last`.
        test_fraction: share of digits that becomes the test split; other datasets have their own test split.
        split_seed: seed of the shuffle before the validation split is taken.
        train_limit: number of training images to use; null: all.
        augmentations: random changes of the training images, which are applied in this order; each is a name,
            or a mapping with a name and keyword arguments, such as `{name: crop, padding: 2}`.
    """

    name: Annotated[str, OneOf(DATASETS)] = "digits"
    dir: str | None = None
    cache_dir: str | None = None
    validation_fraction: Annotated[float, Rate] = 0.1
    test_fraction: Annotated[float, Fraction] = 0.2
    split_seed: Annotated[int, Between(0)] = 0
    train_limit: Annotated[int, AtLeastOne] | None = None
    augmentations: tuple[Annotated[Named, Functions(AUGMENTATIONS)], ...] = ()


@dataclass(frozen=True)
class TrainingConfig:
    """How long and how to train.

    Args:
        epochs: number of passes over the training split; null: what the dataset recommends.
        batch_size: number of images in a training step; null: what the dataset recommends.
        eval_batch_size: largest number of images that are evaluated at a time.
        keep: `best` keeps the parameters of the best epoch, `last` those of the last epoch.
        monitor: measure on the validation split that decides which epoch is best; the lower loss decides
            between equal accuracies.
        ema: decay of an exponential moving average of the parameters and batch statistics over the steps,
            which is evaluated and kept; null: none.
        swa_from: first epoch whose parameters at its end count in the average over epochs, which is evaluated
            and kept; its batch statistics are computed once more at the end of the run. null: no average.
        patience: number of epochs without a better epoch before training stops; null: no limit.
        tta: views of each image whose logits an evaluation averages: `none` the image alone, `flip` also its
            mirror image, `flip_shift` also both moved by a pixel.
        scan_steps: largest number of steps in a call of the compiled program; null: as many as take 3 s.
        window: number of steps whose images are on the device at a time; null: the whole training split.
        accumulate: number of parts of a batch, which are computed one after the other to save memory; batch
            norm uses the statistics of one part. null: a part fits into the cache of the processor.
        remat: `blocks` computes the activations inside blocks twice, to save memory; it has no effect on a
            CPU.
        precision: `bf16` computes in bfloat16; parameters, statistics and loss stay float32.
        xla_optimization_level: optimization level of XLA for the training steps; null: XLA's own. Level 1
            compiles faster on a CPU.
        xla_cpu_use_fusion_emitters: false compiles small networks faster before JAX 0.11; steps are slower.
        checkpoint_every: number of steps between checkpoints; the last step has one, too; null: only when the
            run is interrupted.
        keep_checkpoints: number of newest checkpoints to keep; each also holds the best parameters so far.
        continued_from: numbers of epochs after which the run had completed and was continued; `resume=true`
            with a larger `training.epochs` writes it.
        runs_per_program: number of runs of a sweep that are trained as one program; these runs may differ
            only in seed, learning rate and weight decay.
    """

    epochs: Annotated[int, AtLeastOne] = RECOMMENDED
    batch_size: Annotated[int, AtLeastOne] = RECOMMENDED
    eval_batch_size: Annotated[int, AtLeastOne] = 256
    keep: Annotated[str, OneOf(("best", "last"))] = "best"
    monitor: Annotated[str, OneOf(MONITORS)] = "accuracy"
    ema: Annotated[float, Rate] | None = None
    swa_from: Annotated[int, AtLeastOne] | None = None
    patience: Annotated[int, AtLeastOne] | None = None
    tta: Annotated[str, OneOf(TTA)] = "none"
    scan_steps: Annotated[int, AtLeastOne] | None = None
    window: Annotated[int, AtLeastOne] | None = None
    accumulate: Annotated[int, AtLeastOne] | None = None
    remat: Annotated[str, OneOf(("none", "blocks"))] = "none"
    precision: Annotated[str, OneOf(PRECISIONS)] = "float32"
    xla_optimization_level: Annotated[int, Between(0, 3)] | None = None
    xla_cpu_use_fusion_emitters: bool = True
    checkpoint_every: Annotated[int, AtLeastOne] | None = 1000
    keep_checkpoints: Annotated[int, AtLeastOne] = 2
    continued_from: tuple[Annotated[int, AtLeastOne], ...] | None = None
    runs_per_program: Annotated[int, Between(1, 1024)] = 1

    def __post_init__(self) -> None:
        if self.swa_from is None:
            return
        if self.ema is not None:
            raise ConfigError(
                f"training.ema={self.ema} is not allowed beside training.swa_from={self.swa_from}; give one "
                "of the two keys"
            )
        if self.epochs is not None and self.swa_from > self.epochs:
            raise ConfigError(
                f"training.swa_from={self.swa_from} is not allowed; give at most the {self.epochs} epochs of "
                "training.epochs"
            )


@dataclass(frozen=True)
class SweepConfig:
    """What a sweep does with the runs that an earlier launch left in its folder.

    Args:
        retry_failed: run the runs that failed before again.
    """

    retry_failed: bool = True


@dataclass(frozen=True)
class SearchConfig:
    """How a search chooses the values of its trials.

    Args:
        trials: number of trials; a finished search with a larger number goes on.
        prune: give up a trial whose validation accuracy is below the median of the earlier trials.
    """

    trials: Annotated[int, AtLeastOne] = 40
    prune: bool = True


@dataclass(frozen=True)
class DebugConfig:
    """Checks that help to find an error and make a run slower.

    Args:
        nans: name the layer of the first value that is not finite, if the run diverges.
    """

    nans: bool = False


@dataclass(frozen=True)
class TuningConfig:
    """Trials that choose the learning rate and the weight decay of each arm before the runs of a study.

    Args:
        seeds: seeds of the trials; no run of the study may have one of them.
        learning_rate: numbers by which the trials multiply the learning rate of the arm.
        weight_decay: numbers by which the trials multiply the weight decay of the arm.
    """

    seeds: tuple[Annotated[int, Between(0, 2**32 - 1)], ...] = (1000,)
    learning_rate: tuple[Annotated[float, Positive], ...] = (1.0,)
    weight_decay: tuple[Annotated[float, Positive], ...] = (1.0,)

    def __post_init__(self) -> None:
        for name, values in vars(self).items():
            if not values:
                raise ConfigError(f"study.tuning.{name}=[] is not allowed; give at least one number")


@dataclass(frozen=True)
class MeshConfig:
    """Number of devices along each axis of the mesh.

    Args:
        run: number of parts into which the runs of one program are split.
        data: number of parts into which a batch is split; null: the number of devices / (run * model).
        model: number of parts into which the kernels are split.
    """

    run: Annotated[int, AtLeastOne] = 1
    data: Annotated[int, AtLeastOne] | None = None
    model: Annotated[int, AtLeastOne] = 1


@dataclass(frozen=True)
class ParallelConfig:
    """The devices on which a run is trained, and the strategy.

    Args:
        name: the strategy; `auto` is jit over all accelerators; on a CPU it is one device, or shard_map if
            `num_devices` is larger than 1.
        num_devices: number of devices; null: all (on a CPU one per core), or one with `single`.
        mesh: number of devices along each axis.
        batch_norm: `local` normalises over the part of a batch on each device (shard_map and pmap only).
    """

    name: Annotated[str, OneOf(("auto", *STRATEGIES))] = "single"
    num_devices: Annotated[int, AtLeastOne] | None = None
    mesh: MeshConfig = field(default_factory=MeshConfig)
    batch_norm: Annotated[str, OneOf(("global", "local"))] = "global"


@dataclass(frozen=True)
class DistributedConfig:
    """How the processes of one run find each other.

    Args:
        mode: `auto` reads the next three values from SLURM, Open MPI or a TPU pod; `none` does not.
        coordinator: host:port of process 0.
        num_processes: number of processes.
        process_id: number of this process, from 0.
        timeout: seconds that a process waits for the others at the start.
    """

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
    """The study and the arm that a run belongs to.

    Args:
        name: name of the study.
        question: the question that it answers.
        axis: the key in which its arms differ.
        arm: name of the arm of this run.
        arms: names of all arms.
        reference: the arm that the others are compared with.
        tuning: trials before the runs; null: none.
        trial: whether this run is a trial; comparisons leave trials out.
        stage: earlier stage that this run belongs to; comparisons leave it out. null: the last stage.
    """

    name: str
    question: str
    axis: str
    arm: str
    arms: tuple[str, ...]
    reference: str
    tuning: TuningConfig | None = None
    trial: bool = False
    stage: str | None = None

    def __post_init__(self) -> None:
        if self.reference not in self.arms:
            arms = ", ".join(self.arms)
            raise ConfigError(f"study.reference={self.reference} is not allowed; give one of {arms}")


DEFAULT_CHOICES = {"model": "plain", "optimizer": "adam", "schedule": "cosine", "loss": CROSS_ENTROPY.name}
CHOICES = (*DEFAULT_CHOICES, "data", "parallel")
"""Keys of `Config` whose value may be a name alone."""


def default_choices(optimizer: Any) -> dict[str, Any]:
    """Return the names of the choices that are not given, for the name of an optimizer or `None`.

    Example:
        >>> default_choices("schedule_free_adamw")["schedule"], default_choices(None)["schedule"]
        ('constant', 'cosine')
    """
    schedule = ONLY_SCHEDULE.get(optimizer) if isinstance(optimizer, str) else None
    return DEFAULT_CHOICES | ({"schedule": schedule} if schedule else {})


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
        init_from: folder of a completed run of the same network; this run starts from its parameters.
        logging: `tensorboard` also writes the metrics of each epoch to the folder tensorboard of the run.
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
    init_from: str | None = None
    logging: Annotated[str, OneOf(("none", "tensorboard"))] = "none"
    debug: DebugConfig = field(default_factory=DebugConfig)

    def __post_init__(self) -> None:
        if self.data.validation_fraction == 0:
            self._refuse_without_validation()
        groups = self.optimizer.arguments.get("groups", ())
        for name in (self.optimizer.name, *(group.optimizer for group in groups)):
            if self.schedule.name != (only := ONLY_SCHEDULE.get(name, self.schedule.name)):
                raise ConfigError(
                    f"schedule={self.schedule.name} is not allowed with optimizer={name}; give {only}"
                )

    def _refuse_without_validation(self) -> None:
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
        if self.schedule.name == "plateau":
            raise ConfigError(
                "schedule=plateau is not allowed with data.validation_fraction=0, which leaves no image to "
                "validate; give another schedule"
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
        named = {key: {"name": given[key]} for key in CHOICES if isinstance(given.get(key), str)}
        return construct(cls, with_recommendations(with_recipe(given | named)))

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

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits, which are equal only for configurations of the same run.

        `init_from` counts by the parameters in that folder, not by its path.

        Raises:
            ConfigError: `init_from` is not the folder of a finished run.
        """
        values = self.to_dict()
        if self.training.continued_from is None:  # as before there was this key
            del values["training"]["continued_from"]
        if self.init_from is None:
            del values["init_from"]
        else:
            try:
                values["init_from"] = parameters_checksum(Path(self.init_from))
            except RecordError as error:
                raise ConfigError(
                    f"init_from={self.init_from} is not allowed ({error}); give the folder of a completed run"
                ) from error
        for dotted in NOT_IN_THE_RESULT:
            *sections, key = dotted.split(".")
            del functools.reduce(operator.getitem, sections, values)[key]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    def run_name(self) -> str:
        """Return the name of the run's folder in a sweep: arm, seed and fingerprint."""
        arm = self.study.arm if self.study else self.model.name
        short = re.sub(r"[^A-Za-z0-9.]+", "-", arm)[:80]  # a file system takes up to 255 bytes
        return f"{short}_seed-{self.seed}_{self.fingerprint()[:8]}"


def with_recommendations(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration in which the dataset's epochs and batch size replace missing ones.

    Args:
        values: a plain dict with the keys `data` and `training`, both optional.

    Example:
        >>> with_recommendations({"data": {"name": "mnist"}, "training": {"batch_size": None}})
        {'data': {'name': 'mnist'}, 'training': {'epochs': 3, 'batch_size': 64}}
    """
    data, training = values.get("data", {}), values.get("training", {})
    name = data.get("name", DataConfig.name) if isinstance(data, Mapping) else None
    if not isinstance(name, str) or name not in DATASETS or not isinstance(training, Mapping):
        return dict(values)  # `construct` refuses it
    spec = DATASETS[name]
    recommended = {"epochs": spec.epochs, "batch_size": spec.batch_size}
    given = {key: value for key, value in training.items() if value is not None or key not in recommended}
    return {**values, "training": recommended | given}


def with_recipe(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration in which a named list of augmentations is replaced by the list.

    Args:
        values: a plain dict that may have the key `augmentation`.

    Raises:
        ConfigError: there is no such list, or `data.augmentations` is given too.

    Example:
        >>> with_recipe({"augmentation": "standard"})
        {'data': {'augmentations': ['flip', 'crop']}}
    """
    values = dict(values)
    if "augmentation" not in values:
        return values
    name, data = values.pop("augmentation"), values.get("data", {})
    if name not in list(RECIPES):
        raise ConfigError(f"augmentation={name} is not allowed; give {OneOf(RECIPES)}")
    if isinstance(data, str):
        data = {"name": data}
    if not isinstance(data, Mapping):
        return values  # `construct` refuses it
    if data.get("augmentations"):
        raise ConfigError(
            f"augmentation={name} is not allowed beside data.augmentations; give one of the two keys"
        )
    return {**values, "data": {**data, "augmentations": list(RECIPES[name])}}
