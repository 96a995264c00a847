"""The sections of a configuration that no function stands behind: frozen dataclasses with their defaults."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from research.parallel import STRATEGIES
from research.training.fit import MONITORS
from research.training.freeze import Freeze
from research.training.tta import TTA
from research.utils.constraints import AtLeastOne, Between, OneOf, Positive, Rate
from research.utils.strict import ConfigError

PRECISIONS = {"float32": "float32", "bf16": "bfloat16"}

LOGGERS = ("none", "tensorboard", "mlflow", "all")
"""The programs to which a run can write its metrics."""

RECOMMENDED: Any = None
"""Default of a value that depends on the dataset; `Config.from_dict` replaces it with that value."""


HEADS = ("auto", "keep")
"""What a run does with the head of the run that it starts from."""


@dataclass(frozen=True)
class InitFromConfig:
    """The completed run whose parameters a run starts from.

    Args:
        run: folder of the completed run; null: the run starts from new parameters.
        match: pattern of the names of the parameters that are taken, such as `!dense1`; the others are
            initialised afresh.
        head: `auto` takes the last layer with parameters only if both runs have the same classes in the same
            order; `keep` always takes it.
    """

    run: str | None = None
    match: str = "*"
    head: Annotated[str, OneOf(HEADS)] = "auto"


@dataclass(frozen=True)
class PruneConfig:
    """Magnitude pruning while a run is trained.

    Args:
        amount: share of the numbers of all kernels, or of the channels of each layer, that is zero in the
            end; 0: nothing is pruned.
        by: `weight` prunes single numbers of the kernels; `channel` prunes whole channels, which predict and
            export then leave out.
        from_epoch: first epoch in which something is pruned.
        until_epoch: first epoch in which the whole amount is pruned; no earlier epoch is kept as the best.
            null: from_epoch, so that everything is pruned at once.
    """

    amount: Annotated[float, Rate] = 0.0
    by: Annotated[str, OneOf(("weight", "channel"))] = "weight"
    from_epoch: Annotated[int, AtLeastOne] = 1
    until_epoch: Annotated[int, AtLeastOne] | None = None

    @property
    def last_epoch(self) -> int:
        """The first epoch in which the whole amount is pruned; 1 if nothing is."""
        return (self.until_epoch or self.from_epoch) if self.amount else 1


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
        prune: magnitude pruning; fine-tuning a finished run is `init_from` and pruning.
        freeze: parameters that are not trained: mappings with `match` (a pattern such as `conv*`) and, all
            optional, `from_epoch` and `until_epoch` (the first and the last epoch in which they are frozen)
            and `statistics` (true: their batch norm uses its running averages, and leaves them as they are).
        snapshots: save the parameters at the end of each cycle of schedule=cosine_restarts, of which compress
            makes an ensemble.
        patience: number of epochs without a better epoch before training stops; null: no limit.
        tta: views of each image whose logits an evaluation averages: `none` the image alone, `flip` also its
            mirror image, `flip_shift` also both moved by a pixel.
        scan_steps: largest number of steps in a call of the compiled program; null: as many as take 3 s.
        window: number of steps whose images are on the device at a time; null: the whole training split, or
            as many steps as take 128 MiB if the images are not held in memory.
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
    prune: PruneConfig = field(default_factory=PruneConfig)
    freeze: tuple[Freeze, ...] = ()
    snapshots: bool = False
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
        prune = self.prune
        if prune.until_epoch is not None and prune.until_epoch < prune.from_epoch:
            raise ConfigError(
                f"training.prune.until_epoch={prune.until_epoch} is not allowed; give at least "
                f"training.prune.from_epoch={prune.from_epoch}"
            )
        if self.epochs is not None and prune.last_epoch > self.epochs:
            key = "from_epoch" if prune.until_epoch is None else "until_epoch"
            raise ConfigError(
                f"training.prune.{key}={prune.last_epoch} is not allowed; give at most the {self.epochs} "
                "epochs of training.epochs"
            )
        for each in self.freeze:
            first, last = each.from_epoch or 1, each.until_epoch or self.epochs
            if last is not None and first > last:
                key = "until_epoch" if each.until_epoch else "from_epoch"
                allowed = f"at least {first}" if each.until_epoch else f"at most {last}"
                raise ConfigError(
                    f"training.freeze.{key}={getattr(each, key)} is not allowed for match={each.match}; "
                    f"give {allowed}"
                )
        if self.swa_from is None:
            return
        if prune.last_epoch > self.swa_from:
            raise ConfigError(
                f"training.swa_from={self.swa_from} is not allowed; give at least {prune.last_epoch}, the "
                "first epoch in which training.prune.amount is reached"
            )
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
        overfit_batch: train 200 steps on one batch of so many images, without augmentation, dropout and
            weight decay, and say whether the network learned it; null: train as usual.
    """

    nans: bool = False
    overfit_batch: Annotated[int, AtLeastOne] | None = None


@dataclass(frozen=True)
class LoggingConfig:
    """What a run records beside its own files; it changes no number of the run.

    Args:
        to: `tensorboard` writes the metrics of each epoch to the folder tensorboard of the run; `mlflow`
            writes them to the server or folder in MLFLOW_TRACKING_URI, or to the folder mlruns here.
        statistics: measure the activations, gradients, updates and weights of each layer once per epoch.
    """

    to: Annotated[str, OneOf(LOGGERS)] = "none"
    statistics: bool = False

    def includes(self, program: str) -> bool:
        """Return whether the run writes its metrics to a program, a name in `LOGGERS`."""
        return self.to in (program, "all")


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
class CompressConfig:
    """The file that a stage of a study makes of the runs of an earlier stage.

    Args:
        form: form of the numbers in the file, a name in `research.deploy.compress.FORMS`.
        runs: folders of the runs; the probabilities of several runs are averaged.
    """

    form: str = "float32"
    runs: tuple[str, ...] = ()


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
        seed: seed of the study, if this run is one of several for that seed; null: the seed of the run.
        compress: the file that this run makes of runs of an earlier stage; null: this run trains.
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
    seed: Annotated[int, Between(0, 2**32 - 1)] | None = None
    compress: CompressConfig | None = None

    def __post_init__(self) -> None:
        if self.reference not in self.arms:
            arms = ", ".join(self.arms)
            raise ConfigError(f"study.reference={self.reference} is not allowed; give one of {arms}")
