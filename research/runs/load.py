"""The network that a finished run left behind: its parameters, and the data it was trained on."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from research import records
from research.config import Config
from research.data import Dataset, Preprocess
from research.layers import Params, Sequential, State
from research.layers.base import abstract_init
from research.runs.program import build_data, build_network, build_preprocess, eval_batch_size
from research.training import checkpoint
from research.training.resume import FINAL


class Trained(NamedTuple):
    """A network with the parameters that its run kept; ``preprocess`` turns pixels into what it reads."""

    net: Sequential
    params: Params
    model_state: State
    preprocess: Preprocess
    dataset: Dataset
    eval_batch_size: int


def load_trained(folder: Path) -> Trained:
    """Load the network of a finished run, on however many devices it was trained.

    Raises:
        FileNotFoundError: the folder is not a run.
        RecordError: the run did not finish, or its data is not the data it was trained on.
        CheckpointError: its parameters are missing or damaged.
        DataError: the dataset is missing or damaged.
        ConfigError: its configuration is not one of this version.
    """
    record = records.read_run(folder)
    if record.result is None or record.status != "completed":
        raise records.RecordError(f"{folder} has no parameters to evaluate: the run is {record.status}")
    config = Config.from_dict(record.config)
    dataset = build_data(config)
    if dataset.checksum != record.result.provenance["data_checksum"]:
        raise records.RecordError(
            f"{folder} was trained on other data: its checksum of {dataset.name} differs"
        )
    net = build_network(config.model, dataset.image_shape, dataset.num_classes)
    params, model_state = abstract_init(net, (1, *dataset.image_shape))
    like = {"params": params, "model_state": model_state}
    saved = jax.tree.map(jnp.asarray, checkpoint.restore(folder / "checkpoints" / FINAL, like))
    return Trained(
        net,
        saved["params"],
        saved["model_state"],
        build_preprocess(config, dataset),
        dataset,
        eval_batch_size(config, dataset),
    )
