"""Loading of the parameters of a finished run, with its network and data or as the start of another run."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from research import records
from research.config import Config, ConfigError
from research.data import Dataset, Preprocess
from research.layers import Params, Sequential, State
from research.layers.base import abstract_init
from research.runs.build import build_data, build_network, build_preprocess, eval_batch_size
from research.training import checkpoint
from research.training.optimizers import set_noise_key, set_rates
from research.training.resume import FINAL
from research.training.state import TrainState


class TrainedNetwork(NamedTuple):
    """A network with the parameters that its run kept, and the data on which it was trained.

    Args:
        net: the network.
        params: the parameters of the network.
        model_state: the state of the network.
        preprocess: turns the pixels of images into the input of the network.
        tta: the test-time augmentation of the run, a name in `TTA`.
        dataset: the data of the run.
        eval_batch_size: images per batch of an evaluation.
        record: the record of the run.
    """

    net: Sequential
    params: Params
    model_state: State
    preprocess: Preprocess
    tta: str
    dataset: Dataset
    eval_batch_size: int
    record: records.Run


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


def load_trained(folder: str | Path) -> TrainedNetwork:
    """Return the network of a finished run on the default device.

    Raises:
        FileNotFoundError: the folder is not a run.
        RecordError: the run did not complete, or the dataset is not the one on which it was trained.
        CheckpointError: its parameters are missing or damaged.
        DataError: the dataset is missing or damaged.
        ConfigError: this version cannot read the configuration of the run.
    """
    folder = Path(folder)
    record = records.read_run(folder)
    if record.result is None or record.status != "completed":
        raise records.RecordError(f"{folder} has no parameters to evaluate: the run is {record.status}")
    config = Config.from_record(record.config)
    dataset = build_data(config)
    if dataset.checksum != record.result.provenance["data_checksum"]:
        raise records.RecordError(
            f"{folder} was trained on other data: its checksum of {dataset.name} differs"
        )
    net = build_network(config.model, dataset.image_shape, dataset.num_classes)
    params, model_state = abstract_init(net, (1, *dataset.image_shape))
    like = {"params": params, "model_state": model_state}
    saved = jax.tree.map(jnp.asarray, checkpoint.restore(folder / "checkpoints" / FINAL, like))
    return TrainedNetwork(
        net,
        saved["params"],
        saved["model_state"],
        build_preprocess(config, dataset),
        config.training.tta,
        dataset,
        eval_batch_size(config, dataset),
        record,
    )
