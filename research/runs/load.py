"""Loading of the parameters of a finished run, with its network or as the start of another run."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from research import records
from research.config import Config, ConfigError
from research.data import DataError, Dataset, InputSpec, Preprocess
from research.layers import Params, Sequential, State
from research.layers.base import abstract_init
from research.runs.build import build_data, build_network, build_preprocess
from research.training import checkpoint
from research.training.optimizers import set_noise_key, set_rates
from research.training.resume import FINAL
from research.training.state import TrainState
from research.utils.strict import construct


class TrainedNetwork(NamedTuple):
    """A network with the parameters that its run kept.

    Args:
        net: the network.
        params: the parameters of the network.
        model_state: the state of the network.
        preprocess: turns the pixels of images into the input of the network.
        inputs: the shape of the images, the names of the classes, and how images are resized.
        config: the configuration of the run.
    """

    net: Sequential
    params: Params
    model_state: State
    preprocess: Preprocess
    inputs: InputSpec
    config: Config


def start_from(folder: str | Path, state: TrainState, optimizer: optax.GradientTransformation) -> TrainState:
    """Return the first state of a run that starts from the parameters of another, completed run.

    Args:
        folder: the folder of the other run.
        state: the first state of the new run, whose key, learning rate and weight decay are kept.
        optimizer: the optimizer of the new run, whose state is initialised for the parameters.

    Raises:
        ConfigError: the other run has no such parameters, or has another network; the message names the
            first parameter that differs, and both shapes.
    """
    here = {"params": state.params, "model_state": state.model_state}
    try:
        there = checkpoint.restore(Path(folder) / "checkpoints" / FINAL, here)
    except checkpoint.CheckpointError as error:
        raise ConfigError(
            f"init_from={folder} is not allowed: {error}; give a completed run of the same network"
        ) from error
    rates = state.opt_state.hyperparams
    opt_state = set_rates(optimizer.init(there["params"]), **rates)
    noise_key = optax.tree.get(state.opt_state, "rng_key")
    opt_state = opt_state if noise_key is None else set_noise_key(opt_state, noise_key)
    placed = jax.tree.map(lambda new, old: jax.device_put(new, old.sharding), opt_state, state.opt_state)
    average = jax.tree.map(jnp.copy, (there["params"], there["model_state"])) if state.average else ()
    return state._replace(opt_state=placed, average=average, **there)


def load_trained(run: str | Path | records.Run) -> TrainedNetwork:
    """Return the network of a finished run on the default device. Its dataset is not needed.

    Runs of earlier versions do not hold what is known about their images. It is then taken from the dataset.

    Args:
        run: the folder of the run, or its record.

    Raises:
        FileNotFoundError: the folder is not a run.
        RecordError: the run did not complete, or an earlier version made it and its dataset is not here.
        CheckpointError: its parameters are missing or damaged.
        ConfigError: this version cannot read the configuration of the run.
    """
    record = _completed(run)
    config, final = Config.from_record(record.config), record.path / "checkpoints" / FINAL
    meta = checkpoint.read_meta(final)
    inputs = construct(InputSpec, meta["inputs"]) if "inputs" in meta else _inputs_from_data(record)
    net = build_network(config.model, inputs.image_shape, len(inputs.class_names))
    params, model_state = abstract_init(net, (1, *inputs.image_shape))
    like = {"params": params, "model_state": model_state}
    saved = jax.tree.map(jnp.asarray, checkpoint.restore(final, like))
    preprocess = build_preprocess(config, inputs)
    return TrainedNetwork(net, saved["params"], saved["model_state"], preprocess, inputs, config)


def load_data(run: str | Path | records.Run) -> Dataset:
    """Return the dataset on which a finished run was trained.

    Args:
        run: the folder of the run, or its record.

    Raises:
        FileNotFoundError: the folder is not a run.
        RecordError: the run did not complete, or the dataset is not the one on which it was trained.
        DataError: the dataset is missing or damaged.
        ConfigError: this version cannot read the configuration of the run.
    """
    record = _completed(run)
    dataset = build_data(Config.from_record(record.config).data)
    if dataset.checksum != record.outcome.provenance["data_checksum"]:
        raise records.RecordError(
            f"{record.path} was trained on other data: its checksum of {dataset.name} differs"
        )
    return dataset


def _completed(run: str | Path | records.Run) -> records.Run:
    """Return the record of a completed run."""
    record = run if isinstance(run, records.Run) else records.read_run(run)
    if record.status != "completed":
        raise records.RecordError(f"{record.path} has no parameters to evaluate: the run is {record.status}")
    return record


def _inputs_from_data(run: records.Run) -> InputSpec:
    try:
        return load_data(run).inputs
    except (DataError, records.RecordError) as error:
        raise records.RecordError(
            f"{run.path} was trained by an earlier version, which did not store the class names, the size of "
            f"the images and the mean and deviation of their pixels; its dataset has them, but {error}"
        ) from error
