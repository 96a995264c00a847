"""One run: a configuration and a folder in, a result out. Called by scripts, workers and notebooks."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import platformdirs

from research import records
from research.build import (
    CompiledProgram,
    ProgramSpec,
    build_data,
    compile_program,
    num_cpu_devices,
    program_spec,
)
from research.claim import claim
from research.config import Config
from research.data import Dataset
from research.interruption import Received, noticed_signals
from research.parallel import request_cpu_devices
from research.progress import Quiet
from research.provenance import provenance
from research.tensorboard import TensorBoard
from research.trained import load_trained
from research.training import checkpoint
from research.training.evaluate import make_predict, measure, most_confident_mistakes, predict_all
from research.training.fit import EpochMetrics, FitResult, Position, first_position, fit
from research.training.resume import FINAL, Checkpoints

NUM_MISTAKES = 24  # wrong predictions whose images a run keeps


def configure_jax(config: Config | None = None) -> None:
    """Ask for as many CPU devices as ``config`` needs, and keep compiled programs between processes.

    They lie in a folder that only this user can write.
    """
    if config is not None:
        request_cpu_devices(num_cpu_devices(config))
    folder = Path(platformdirs.user_cache_dir("cnn-research")) / "jax"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return  # without a cache every process compiles anew
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def run_until_signal(
    config: Config, folder: Path, progress: Quiet | None = None, *, resume: bool = False
) -> dict[str, Any]:
    """Run as a process of its own: SIGTERM and SIGINT end it with a checkpoint and the status "preempted".

    Where the device is not done within ``interruption.SECONDS``, the process ends without one, and the run
    goes on from the one before.
    """

    def give_up(number: signal.Signals) -> None:
        with contextlib.suppress(OSError):  # the disk may be full
            if not records.is_finished(folder):
                records.write_result(folder, _preempted(number, "before a checkpoint could be written"))
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
) -> dict[str, Any]:
    """Train, evaluate and record.

    Args:
        config: what to do.
        folder: where the run's files go; made where it does not exist.
        progress: told of steps and epochs.
        resume: go on from the checkpoints that are in the folder; the result is the same to the bit.
        received: asked between steps; a signal ends the run with a checkpoint.

    Returns:
        What ``result.json`` holds. A loss that is not finite gives the status "diverged", not an error; a
        signal gives "preempted".

    Raises:
        ConfigError: the configuration does not fit the data.
        DataError: the dataset is missing or damaged.
        CheckpointError: a checkpoint cannot be written, or is of another network.
        FileExistsError: the folder holds a finished run, or checkpoints and ``resume`` is false.
        ClaimedError: another process works on the folder.
    """
    with claim(folder) as beat:
        begun = not records.is_finished(folder) and any((folder / "checkpoints").glob("step-*"))
        if begun and not resume:
            raise FileExistsError(f"{folder} holds an unfinished run; resume=true goes on with it")
        records.start_run(folder, config.to_dict())
        progress = Quiet() if progress is None else progress
        progress = TensorBoard(folder, progress) if config.logging == "tensorboard" else progress
        result = _run(config, folder, progress, received, beat)
        records.write_result(folder, result)
    return result


def _run(
    config: Config, folder: Path, progress: Quiet, received: Received, beat: Callable[[int, int], None]
) -> dict[str, Any]:
    began = time.perf_counter()
    dataset = build_data(config)
    origin = provenance(dataset.checksum)
    spec = program_spec(config, dataset)
    misses = compile_program.cache_info().misses
    compiled = compile_program(spec)
    reused = compile_program.cache_info().misses == misses
    arguments = config.optimizer.arguments
    key = jax.random.key(config.seed)
    program, training = compiled.program, config.training
    state = program.init(key, jnp.float32(arguments["learning_rate"]), jnp.float32(arguments["weight_decay"]))
    num_parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    checkpoints = Checkpoints(
        folder / "checkpoints", keep=training.keep_checkpoints, data_checksum=dataset.checksum
    )
    position = checkpoints.latest(first_position(state))
    records.write_metrics(folder, map(asdict, position.history))

    def on_pause(position: Position) -> bool:
        step = int(position.state.step)
        beat(step, spec.num_steps)
        stopping = received() is not None
        if stopping or (training.checkpoint_every and step % training.checkpoint_every == 0):
            checkpoints.save(position)
        return stopping

    def on_epoch(metrics: EpochMetrics) -> None:
        records.append_metrics(folder, asdict(metrics))
        progress.epoch(metrics)

    with progress.training(spec.num_steps), checkpoints:
        progress.steps(int(position.state.step))
        fitted = fit(
            program,
            position,
            dataset.train,
            dataset.validation,
            order_key=jax.random.fold_in(key, 2),
            epochs=training.epochs,
            batch_size=training.batch_size,
            eval_batch_size=spec.eval_batch_size,
            learning_rate_at=lambda step: arguments["learning_rate"] * compiled.learning_rate_factor(step),
            keep=training.keep,
            patience=training.patience,
            scan_steps=training.scan_steps,
            pause_every=training.checkpoint_every,
            on_pause=on_pause,
            on_progress=progress.steps,
            on_epoch=on_epoch,
        )
    number = received()
    if fitted.status == "preempted" and number is not None:
        return _preempted(number, f"after {fitted.num_steps} of {spec.num_steps} steps")
    return {
        "status": fitted.status,
        "error": None if fitted.status == "completed" else "the loss is not finite",
        "traceback": None,
        **_measure(folder, compiled, spec, fitted, dataset, trial=bool(config.study and config.study.trial)),
        "epochs": len(fitted.history),
        "best_epoch": fitted.best_epoch,
        "num_parameters": num_parameters,
        "seconds": {
            "compile": 0.0 if reused else compiled.compile_seconds,
            "train": fitted.seconds,
            "total": time.perf_counter() - began,
        },
        "images_per_s": fitted.num_steps * training.batch_size / fitted.seconds,
        "temporary_bytes": compiled.temporary_bytes,
        "provenance": origin,
    }


def _preempted(number: signal.Signals, when: str) -> dict[str, Any]:
    error = f"{number.name} {when}"
    return {"status": "preempted", "error": error, "traceback": None, "exit_code": 128 + number}


def evaluate(folder: Path) -> dict[str, float]:
    """Measure the saved parameters of a finished run on its test split again.

    Returns:
        ``test_loss`` (nats) and ``test_accuracy`` (in [0, 1]), equal to those of ``result.json``.

    Raises:
        FileNotFoundError: the folder is not a run.
        RecordError: the run did not finish, or its data is not the data it was trained on.
        CheckpointError: its parameters are missing or damaged.
    """
    trained = load_trained(folder)
    predict, test = jax.jit(make_predict(trained.net, trained.preprocess)), trained.dataset.test
    logits = predict_all(predict, trained.params, trained.model_state, test.images, trained.eval_batch_size)
    loss, accuracy = measure(logits, test.labels)
    return {"test_loss": loss, "test_accuracy": accuracy}


def _measure(
    folder: Path,
    compiled: CompiledProgram,
    spec: ProgramSpec,
    fitted: FitResult,
    dataset: Dataset,
    *,
    trial: bool,
) -> dict[str, float | None]:
    """Read the test split, once, with the kept parameters; save them and what the figures need.

    A trial chooses a rate by validation, so it never sees the test split and leaves nothing else behind.
    """
    names = ("test_accuracy", "test_loss", "validation_accuracy", "validation_loss")
    params, model_state = fitted.params, fitted.model_state
    if fitted.status != "completed" or params is None or model_state is None:
        return dict.fromkeys(names)
    chosen = fitted.history[fitted.best_epoch - 1]
    validation = (chosen.validation_accuracy, chosen.validation_loss)
    if trial:
        return dict(zip(names, (None, None, *validation), strict=True))
    checkpoint.save(folder / "checkpoints" / FINAL, {"params": params, "model_state": model_state})
    images, batch_size = dataset.test.images, spec.eval_batch_size
    logits = predict_all(compiled.program.predict, params, model_state, images, batch_size)
    loss, accuracy = measure(logits, dataset.test.labels)
    image = dataset.test.images[:1]
    arrays = {"test_logits": logits, "test_labels": dataset.test.labels, "image": image[0]}
    mistakes = most_confident_mistakes(logits, dataset.test.labels, NUM_MISTAKES)
    arrays |= {"mistakes": mistakes, "mistake_images": images[mistakes]}
    kernels = [params[name]["kernel"] for name, _ in spec.net.layers if "kernel" in params.get(name, {})]
    if kernels and kernels[0].ndim == 4:
        arrays["first_kernels"] = np.asarray(kernels[0])
    for name, activation in compiled.trace(params, model_state, image).items():
        if activation.ndim == 4:
            arrays[f"feature_map/{name}"] = np.asarray(activation[0])
    records.write_arrays(folder, arrays)
    return dict(zip(names, (accuracy, loss, *validation), strict=True))
