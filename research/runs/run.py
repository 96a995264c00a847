"""One run: a configuration and a folder in, a result out. Called by scripts, workers and notebooks."""

import contextlib
import os
import signal
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import platformdirs

from research import records
from research.config import Config
from research.data import Dataset
from research.parallel import request_cpu_devices
from research.parallel.distributed import is_writer, largest, num_processes
from research.records import RunResult, Seconds
from research.records.lock import hold
from research.runs.callbacks import Quiet
from research.runs.devices import num_cpu_devices
from research.runs.load import load_trained, start_from
from research.runs.program import (
    CompiledProgram,
    ProgramSpec,
    build_data,
    compile_program,
    program_spec,
)
from research.runs.provenance import provenance
from research.runs.tensorboard import TensorBoard
from research.training import checkpoint
from research.training.evaluate import make_predict, measure, most_confident_mistakes, predict_all
from research.training.fit import EpochMetrics, Feed, FitResult, Position, first_position, fit
from research.training.replicas import Training, together
from research.training.resume import FINAL, Checkpoints
from research.utils.signals import Received, noticed_signals
from research.utils.xla import for_few_calls

NUM_MISTAKES = 24  # wrong predictions whose images a run keeps


def configure_jax(config: Config | None = None) -> None:
    """Ask for as many CPU devices as ``config`` needs, and keep compiled programs between processes.

    They lie in a folder that only this user can write: whoever writes there decides what is run.
    """
    if config is not None:
        request_cpu_devices(-(-num_cpu_devices(config) // num_processes()))
    folder = Path(platformdirs.user_cache_dir("cnn-research")) / "jax"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError:
        return  # without a cache every process compiles anew
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        warnings.warn(
            f"compiled programs are not kept in {folder}, which others can write; remove it, or give another "
            "folder by XDG_CACHE_HOME",
            RuntimeWarning,
            stacklevel=2,
        )
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def leave_accelerators() -> None:
    """Have JAX start on the CPU here, in a process whose workers train: a TPU is of one process only."""
    jax.config.update("jax_platforms", "cpu")


def run_until_signal(
    config: Config, folder: Path, progress: Quiet | None = None, *, resume: bool = False
) -> RunResult:
    """Run as a process of its own: SIGTERM and SIGINT end it with a checkpoint and the status "preempted".

    Where the device is not done within ``interruption.SECONDS``, the process ends without one, and the run
    goes on from the one before.
    """

    def give_up(number: signal.Signals) -> None:
        with contextlib.suppress(OSError):  # the disk may be full
            if is_writer() and not records.is_finished(folder):
                records.write_result(folder, preempted(number, "before a checkpoint could be written"))
        os._exit(128 + number)

    with noticed_signals(give_up) as received:
        return run(config, folder, progress, resume=resume, received=received)


def run(
    config: Config,
    folder: Path,
    progress: Quiet | None = None,
    *,
    resume: bool = False,
    received: Received = lambda: None,
) -> RunResult:
    """Train, evaluate and record. Of several processes all return the result, and one records.

    Args:
        config: what to do.
        folder: where the run's files go; made where it does not exist.
        progress: told of steps and epochs.
        resume: go on from the checkpoints that are in the folder; the result is the same to the bit.
        received: asked between steps; a signal ends the run with a checkpoint.

    Returns:
        The result. A loss that is not finite gives the status "diverged", not an error; a
        signal gives "preempted".

    Raises:
        ConfigError: the configuration does not fit the data.
        DataError: the dataset is missing or damaged.
        CheckpointError: a checkpoint cannot be written, or is of another network.
        FileExistsError: the folder holds a finished run, or checkpoints and ``resume`` is false.
        LockedError: another process works on the folder.
    """
    prepared = cache(partial(prepare, config))
    (result,) = together([run_in_steps(config, folder, prepared, progress, resume=resume, received=received)])
    return result


class Prepared(NamedTuple):
    """What runs that are trained as one program share."""

    dataset: Dataset
    spec: ProgramSpec
    compiled: CompiledProgram
    compile_seconds: float  # 0 where an earlier run had compiled
    feed: Feed
    began: float  # by ``time.perf_counter``


def prepare(config: Config) -> Prepared:
    """Data and program of a configuration, and of every other that differs in seed and rates only."""
    began = time.perf_counter()
    dataset = build_data(config)
    spec = program_spec(config, dataset)
    misses = compile_program.cache_info().misses
    compiled = compile_program(spec)
    reused = compile_program.cache_info().misses == misses
    feed = compiled.program.make_feed(dataset.train.images, dataset.train.labels)
    return Prepared(dataset, spec, compiled, 0.0 if reused else compiled.compile_seconds, feed, began)


def run_in_steps(
    config: Config,
    folder: Path,
    prepared: Callable[[], Prepared],
    progress: Quiet | None = None,
    *,
    resume: bool = False,
    received: Received = lambda: None,
    num_together: int = 1,
) -> Training[RunResult]:
    """``run``, as one of several that ``together`` drives.

    Args:
        config: as in ``run``, and so are those that are not said here.
        folder: its own.
        prepared: gives what ``prepare`` returns, shared by all runs that are driven together.
        progress: its own.
        resume: whether it goes on.
        received: shared.
        num_together: how many they are; the seconds of a run are those of all, divided by this.
    """
    if not is_writer():
        return (
            yield from _run(
                config, folder, prepared(), Quiet(), received, lambda step, num_steps: None, num_together
            )
        )
    with hold(folder) as beat:
        begun = not records.is_finished(folder) and any((folder / "checkpoints").glob("step-*"))
        if begun and not resume:
            raise FileExistsError(f"{folder} holds an unfinished run; resume=true goes on with it")
        records.start_run(folder, config.to_dict())
        progress = Quiet() if progress is None else progress
        progress = TensorBoard(folder, progress) if config.logging == "tensorboard" else progress
        result = yield from _run(config, folder, prepared(), progress, received, beat, num_together)
        records.write_result(folder, result)
    return result


def _run(
    config: Config,
    folder: Path,
    prepared: Prepared,
    progress: Quiet,
    received: Received,
    beat: Callable[[int, int], None],
    num_together: int,
) -> Training[RunResult]:
    dataset, spec, compiled = prepared.dataset, prepared.spec, prepared.compiled
    origin = provenance(dataset.checksum)
    arguments = config.optimizer.arguments
    key = jax.random.key(config.seed)
    program, training = compiled.program, config.training
    state = program.init(key, jnp.float32(arguments["learning_rate"]), jnp.float32(arguments["weight_decay"]))
    if config.init_from is not None:
        state = start_from(Path(config.init_from), state, spec.make_optimizer())
        origin["init_checksum"] = records.parameters_checksum(Path(config.init_from))
    num_parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    checkpoints = Checkpoints(
        folder / "checkpoints", keep=training.keep_checkpoints, data_checksum=dataset.checksum
    )
    position = checkpoints.latest(first_position(state))
    _check_same_step(folder, int(position.state.step))
    if is_writer():
        records.write_metrics(folder, map(asdict, position.history))

    stopped_by = 0

    def on_pause(position: Position) -> bool:
        step = int(position.state.step)
        beat(step, spec.num_steps)
        nonlocal stopped_by
        stopped_by = int(largest(received() or 0))  # a signal to one process stops all
        if stopped_by or (training.checkpoint_every and step % training.checkpoint_every == 0):
            if num_processes() > 1:  # a part of an array may lie with another process
                state, best = spec.layout.replicate((position.state, position.best))
                position = position._replace(state=state, best=best)
            if is_writer():
                checkpoints.save(position)
        return stopped_by > 0

    def on_epoch(metrics: EpochMetrics) -> None:
        if is_writer():
            records.append_metrics(folder, asdict(metrics))
        progress.epoch(metrics)

    with progress.training(spec.num_steps), checkpoints:
        progress.steps(int(position.state.step))
        fitted = yield from fit(
            program,
            position,
            prepared.feed,
            dataset.validation,
            num_train=len(dataset.train.labels),
            order_key=jax.random.fold_in(key, 2),
            epochs=training.epochs,
            batch_size=training.batch_size,
            eval_batch_size=spec.eval_batch_size,
            learning_rate_at=lambda step: arguments["learning_rate"] * compiled.learning_rate_factor(step),
            keep=training.keep,
            patience=training.patience,
            scan_steps=training.scan_steps,
            pause_every=training.checkpoint_every,
            find_nans=config.debug.nans,
            on_pause=on_pause,
            on_progress=progress.steps,
            on_epoch=on_epoch,
        )
    if fitted.status == "preempted":
        return preempted(signal.Signals(stopped_by), f"after {fitted.num_steps} of {spec.num_steps} steps")
    measured = _measure(
        folder, compiled, spec, fitted, dataset, trial=bool(config.study and config.study.trial)
    )
    return RunResult(
        fitted.status,
        fitted.error,
        **measured._asdict(),
        epochs=len(fitted.history),
        best_epoch=fitted.best_epoch,
        num_parameters=num_parameters,
        seconds=Seconds(
            compile=prepared.compile_seconds / num_together,
            train=fitted.seconds,
            total=(time.perf_counter() - prepared.began) / num_together,
            shared_by=num_together,
        ),
        images_per_s=fitted.num_steps * training.batch_size / fitted.seconds,
        temporary_bytes=compiled.temporary_bytes,
        provenance=origin,
    )


def _check_same_step(folder: Path, step: int) -> None:
    if largest(step) != step or -largest(-step) != step:
        raise checkpoint.CheckpointError(
            f"{folder} does not show the same checkpoints to every process (here that of step {step}); "
            "give a folder that all of them see"
        )


def preempted(number: signal.Signals, when: str) -> RunResult:
    """Return the result of a run that a signal ended."""
    return RunResult("preempted", f"{number.name} {when}", exit_code=128 + number)


def evaluate(folder: Path) -> dict[str, float]:
    """Measure the saved parameters of a finished run on its test split again.

    Returns:
        ``test_loss`` (nats) and ``test_accuracy`` (in [0, 1]), equal to those of ``result.json`` for a run on
        one device, and within rounding for others.

    Raises:
        As ``load_trained``.
    """
    trained = load_trained(folder)
    predict = jax.jit(make_predict(trained.net, trained.preprocess), compiler_options=for_few_calls())
    test = trained.dataset.test
    logits = predict_all(predict, trained.params, trained.model_state, test.images, trained.eval_batch_size)
    loss, accuracy = measure(logits, test.labels)
    return {"test_loss": loss, "test_accuracy": accuracy}


class Measured(NamedTuple):
    """What a run measured with the parameters that it kept; a run that did not complete measured nothing."""

    test_accuracy: float | None = None
    test_loss: float | None = None
    validation_accuracy: float | None = None
    validation_loss: float | None = None


def _measure(
    folder: Path,
    compiled: CompiledProgram,
    spec: ProgramSpec,
    fitted: FitResult,
    dataset: Dataset,
    *,
    trial: bool,
) -> Measured:
    """Read the test split, once, with the kept parameters; save them and what the figures need.

    A trial chooses a rate by validation, so it never sees the test split and leaves nothing else behind.
    """
    params, model_state = fitted.params, fitted.model_state
    if fitted.status != "completed" or params is None or model_state is None:
        return Measured()
    chosen = fitted.history[fitted.best_epoch - 1]
    measured = Measured(None, None, chosen.validation_accuracy, chosen.validation_loss)
    if trial:
        return measured
    images, batch_size = dataset.test.images, spec.eval_batch_size
    logits = predict_all(compiled.program.predict, params, model_state, images, batch_size)
    loss, accuracy = measure(logits, dataset.test.labels)
    measured = measured._replace(test_accuracy=accuracy, test_loss=loss)
    if num_processes() > 1:
        params, model_state = spec.layout.gather((params, model_state))
    if not is_writer():
        return measured
    kept = {"params": params, "model_state": model_state}
    checkpoint.save(folder / "checkpoints" / FINAL, kept, {"sha256": checkpoint.checksum(kept)})
    image = dataset.test.images[:1]
    arrays = {"test_logits": logits, "test_labels": dataset.test.labels, "image": image[0]}
    mistakes = most_confident_mistakes(logits, dataset.test.labels, NUM_MISTAKES)
    arrays |= {"mistakes": mistakes, "mistake_images": images[mistakes]}
    kernels = [params[name]["kernel"] for name, _ in spec.net.layers if "kernel" in params.get(name, {})]
    if kernels and kernels[0].ndim == 4:
        arrays["first_kernels"] = np.asarray(kernels[0])
    activations = compiled.trace(params, model_state, image)
    order = [name for name, _ in spec.net.layers]  # jit returns a dict in the order of its sorted keys
    for name in sorted(activations, key=lambda name: order.index(name.partition("/")[0])):
        if activations[name].ndim == 4:
            arrays[f"feature_map/{name}"] = np.asarray(activations[name][0])
    records.write_arrays(folder, arrays)
    return measured
