"""The function `run`, which trains and evaluates the network of a configuration and records the result."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from research import records
from research.config import Config, ConfigError
from research.data import Dataset
from research.layers.rewrite import without_dropout
from research.parallel import request_cpu_devices
from research.parallel.distributed import is_writer, largest, num_processes
from research.records import RunResult, Seconds
from research.records.lock import hold
from research.records.run_folder import CARD
from research.records.tracking import finish_tracking
from research.runs.build import build_data
from research.runs.callbacks import CheckpointWriter, Heartbeat, MetricsWriter
from research.runs.card import model_card
from research.runs.devices import num_cpu_devices
from research.runs.judge import judge_test_split
from research.runs.load import TrainedNetwork, start_from
from research.runs.loggers import make_loggers
from research.runs.measure import count_and_score, measure_run
from research.runs.overfit import one_batch, overfit_config
from research.runs.preemption import preempted
from research.runs.program import compile_program
from research.runs.provenance import provenance
from research.runs.settings import PRNG_IMPL, run_settings
from research.runs.snapshots import SnapshotWriter, snapshot_steps
from research.runs.spec import ProgramSpec, program_spec
from research.runs.teacher import has_teacher, load_teacher
from research.training import checkpoint
from research.training.callback import Callback
from research.training.fit import FitOptions, first_position, fit
from research.training.plateau import make_plateau
from research.training.program import Program
from research.training.pruning import make_prune
from research.training.resume import Checkpoints, saved_steps
from research.training.state import TrainState
from research.utils.files import write_atomically


def configure_jax(config: Config) -> None:
    """Ask for as many CPU devices as `config` needs."""
    request_cpu_devices(-(-num_cpu_devices(config) // num_processes()))


def leave_accelerators() -> None:
    """Make JAX use the CPU in this process, because only one process can use a TPU, and a worker trains."""
    jax.config.update("jax_platforms", "cpu")


logger = logging.getLogger(__name__)

Loaded = tuple[Dataset, ProgramSpec, Program]
Load = Callable[[Config], Loaded]


def load_program(config: Config) -> Loaded:
    """Return the data of a configuration, the specification of its program, and the program.

    Raises:
        ConfigError: the configuration does not fit the data.
        DataError: the dataset is missing or damaged.
    """
    dataset, count = build_data(config.data), config.debug.overfit_batch
    if count is not None:
        dataset = one_batch(dataset, count, config.seed)
    spec = program_spec(overfit_config(config), dataset)
    if count is not None:
        spec = replace(spec, net=without_dropout(spec.net))
    return dataset, spec, compile_program(spec)


def first_state(config: Config, loaded: Loaded, key: jax.Array) -> tuple[TrainState, str | None]:
    """Return the state with which a run begins: that of new parameters, or of those of `init_from`.

    Args:
        config: the configuration of the run.
        loaded: its data, the specification of its program, and the program.
        key: the key of all random numbers of the run.

    Returns:
        The state, and a sentence about the parameters that are taken from `init_from`, or `None`.

    Raises:
        ConfigError: the run in `init_from` has no parameters, or has another network.
    """
    dataset, spec, program = loaded
    rates = config.optimizer.arguments
    state = program.init(key, jnp.float32(rates["learning_rate"]), jnp.float32(rates["weight_decay"]))
    if has_teacher(config):
        arrays = load_teacher(config, dataset)[1]
        placed = jax.tree.map(lambda new, old: jax.device_put(new, old.sharding), arrays, state.teacher)
        state = state._replace(teacher=placed)
    if config.init_from.run is None:
        return state, None
    return start_from(config.init_from, state, spec.net, spec.make_optimizer(), dataset.class_names)


@run_settings()
def run(
    config: Config,
    folder: str | Path,
    callbacks: Sequence[Callback] = (),
    *,
    resume: bool = False,
    load: Load = load_program,
) -> RunResult:
    """Train, evaluate and record one run.

    Several processes may train one run together; then all of them call this function and return the result,
    and the first one records it.

    Args:
        config: the configuration.
        folder: the folder for the files of the run; it is made if it does not exist.
        callbacks: callbacks, such as `ProgressBar()`. If one of them stops training, the run ends with a
            checkpoint.
        resume: continue from the last checkpoint, if there is one; the result has the same bits as that of a
            run that was never interrupted.
        load: returns the data and the program, which several runs may share.

    Returns:
        The result. If a loss is not finite, the status is "diverged", and no exception is raised. If a
        callback stopped training, the status is "preempted", and if a callback gave the run up, "stopped".

    Raises:
        TypeError: `config` is no `Config`.
        ConfigError: the configuration does not fit the data.
        DataError: the dataset is missing or damaged.
        CheckpointError: a checkpoint cannot be written, or belongs to another network.
        FileExistsError: the folder holds a finished run, or checkpoints although `resume` is false.
        OccupiedError: the folder holds a run that this version cannot read, or files of another program.
        LockedError: another process works on the folder.
    """
    if not isinstance(config, Config):
        raise TypeError(f"config={config!r} is not allowed; give a Config, such as Config.from_dict(...)")
    folder = Path(folder)
    if not is_writer():
        return _train(config, folder, [], callbacks, load)
    with hold(folder) as beat:
        records.check_folder(folder, resume=resume)
        if saved_steps(folder / "checkpoints") and not resume:
            raise FileExistsError(f"{folder} holds an unfinished run; resume=true continues it")
        values = config.to_dict()
        writers = [Heartbeat(beat), MetricsWriter(folder, values, resume=resume)]
        with records.planned(folder, values):
            result = _train(config, folder, writers, callbacks, load)
        records.write_result(folder, result)
        if config.logging.includes("mlflow"):
            steps = [line["step"] for line in records.read_run(folder).metrics]
            finish_tracking(folder, result, max(steps, default=0))
    return result


def _train(
    config: Config, folder: Path, writers: Sequence[Callback], callbacks: Sequence[Callback], load: Load
) -> RunResult:
    began = time.perf_counter()
    loaded = dataset, spec, program = load(config)
    config = overfit_config(config)
    origin = provenance(dataset.checksum)
    origin["class_names"] = list(dataset.class_names)
    if dataset.num_left_out:
        origin["num_left_out"] = dataset.num_left_out
    training = config.training
    key = jax.random.key(config.seed, impl=PRNG_IMPL)
    state, sentence = first_state(config, loaded, key)
    if config.init_from.run is not None:
        origin["init_checksum"] = records.parameters_checksum(Path(config.init_from.run))
        origin["init_from"] = sentence
        logger.info(f"init_from={config.init_from.run}: {sentence}")
    if has_teacher(config):
        origin["teacher_checksum"] = records.parameters_checksum(config.teacher)
    num_parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    checkpoints = Checkpoints(
        folder / "checkpoints",
        keep=training.keep_checkpoints,
        data_checksum=dataset.checksum,
        xla_flags=origin["xla_flags"],
    )
    position = checkpoints.latest(first_position(state))
    _check_same_step(folder, int(position.state.step))
    if training.continued_from is not None and int(position.state.step) == 0:
        raise ConfigError(
            f"training.continued_from={list(training.continued_from)} is not allowed, because {folder} holds "
            "no checkpoint of an earlier run; give resume=true and a larger training.epochs"
        )
    options: dict[str, Any] = {}
    if config.schedule.name == "plateau":
        arguments = config.schedule.arguments
        options["plateau"] = make_plateau(training.monitor, program.num_epochs, **arguments)
    if (pruning := training.prune).amount:
        options["first_epoch"] = pruning.last_epoch
        options["prune"] = make_prune(
            spec.net,
            amount=pruning.amount,
            by=pruning.by,
            from_epoch=pruning.from_epoch,
            until_epoch=pruning.last_epoch,
        )
    fitted = fit(
        program,
        position,
        program.make_feed(*dataset.train),
        dataset.validation,
        order_key=jax.random.fold_in(key, 2),
        options=FitOptions(
            keep=training.keep,
            monitor=training.monitor,
            patience=training.patience,
            scan_steps=training.scan_steps,
            checkpoint_every=training.checkpoint_every,
            find_nans=config.debug.nans,
            labels=dataset.train.labels if config.data.sampling == "balanced" else None,
            learning_rate=config.optimizer.arguments["learning_rate"],
            **options,
        ),
        callbacks=[
            *writers,
            *(make_loggers(config, folder, program, dataset, spec.layout.num_shards) if writers else ()),
            *callbacks,
            SnapshotWriter(
                folder / "checkpoints",
                program,
                snapshot_steps(config, program.num_steps, program.steps_per_epoch),
            ),
            CheckpointWriter(checkpoints, program, training.checkpoint_every),
        ],
    )
    if program.recompute and fitted.params is not None and fitted.model_state is not None:
        images = dataset.train.images
        fitted = fitted._replace(model_state=program.recompute(fitted.params, fitted.model_state, images))
    if fitted.status == "preempted":
        return preempted(str(fitted.error), f"after {fitted.num_steps} of {program.num_steps} steps")
    is_trial = (config.study is not None and config.study.trial) or config.debug.overfit_batch is not None
    measured, logits = measure_run(folder, program, spec.net, fitted, dataset, trial=is_trial)
    result = RunResult(
        fitted.status,
        fitted.error,
        exit_code=int(fitted.status != "completed"),
        **measured._asdict(),
        epochs=len(fitted.history),
        best_epoch=fitted.best_epoch,
        num_parameters=num_parameters,
        seconds=Seconds(
            compile=program.compile_seconds / program.shared_by,
            train=fitted.seconds,
            total=(time.perf_counter() - began) / program.shared_by,
            shared_by=program.shared_by,
        ),
        images_per_s=fitted.num_steps * program.batch_size / fitted.seconds,
        temporary_bytes=program.temporary_bytes,
        measurements=count_and_score(dataset, logits),
        provenance=origin,
    )
    if logits is not None and is_writer():
        write_atomically(folder / CARD, model_card(config, result, dataset, logits).encode())
    return result


def _check_same_step(folder: Path, step: int) -> None:
    if largest(step) != step or -largest(-step) != step:
        raise checkpoint.CheckpointError(
            f"{folder} does not hold the same checkpoints for every process (here that of step {step}); "
            "give a folder that all processes share"
        )


@run_settings()
def evaluate(
    folder: str | Path, tta: str | None = None, network: TrainedNetwork | None = None
) -> dict[str, float]:
    """Measure the saved parameters of a finished run on its test split again.

    Args:
        folder: the folder of the run.
        tta: the test-time augmentation, a name in `TTA`; `None` takes that of the run.
        network: another network on images of this size, such as an ensemble; `None` is that of the run.

    Returns:
        `test_loss` (nats) and `test_accuracy`, `test_balanced_accuracy` and `test_macro_f1` (in [0, 1]),
        equal to those of `result.json` for a run on one device, and equal up to rounding for other runs.

    Raises:
        The errors of `judge_test_split`.
    """
    return judge_test_split(folder, tta, network).scores
