"""Loading of the parameters of a finished run, with its network or as the start of another run."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from research import records
from research.config import Config, ConfigError, InitFromConfig
from research.data import DataError, Dataset, InputSpec, Preprocess
from research.layers import Params, Sequential, State
from research.layers.base import abstract_init, by_path
from research.runs.build import build_data, build_network, build_preprocess
from research.training import checkpoint
from research.training.optimizers import matches, set_noise_key, set_rates
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


def head_of(net: Sequential, params: Params) -> str:
    """Return the name of the head of a network, which is its last layer with parameters."""
    return next(name for name, _ in reversed(net.layers) if name in params)


def takes(start: InitFromConfig, name: str, new_head: str | None) -> bool:
    """Return whether a run takes an array of the run from which it starts.

    Args:
        start: where the run starts from.
        name: name of the array, such as `params/conv1/kernel` or `model_state/norm1/mean`.
        new_head: name of the head if it is initialised afresh, or `None`.
    """
    path = name.partition("/")[2]
    return matches(start.match, path) and path.partition("/")[0] != new_head


def start_from(
    start: InitFromConfig,
    state: TrainState,
    net: Sequential,
    optimizer: optax.GradientTransformation,
    class_names: Sequence[str],
) -> tuple[TrainState, str]:
    """Return the first state of a run that starts from the parameters of another, completed run.

    The parameters of the head are taken only if both runs have the same classes in the same order, unless
    `start.head` is `keep`.

    Args:
        start: the other run, and which of its parameters are taken.
        state: the first state of the new run, whose key, learning rate and weight decay are kept.
        net: the network of the new run.
        optimizer: the optimizer of the new run, whose state is initialised for the parameters.
        class_names: the classes of the new run.

    Returns:
        The state, and a sentence that says which parameters were taken.

    Raises:
        ConfigError: the other run has no such parameters, or has another network; the message names the
            first parameter that differs, and both shapes.
    """
    here = {"params": state.params, "model_state": state.model_state}
    final, head = Path(start.run or "") / "checkpoints" / FINAL, head_of(net, state.params)
    try:
        names = checkpoint.read_meta(final).get("inputs", {}).get("class_names")
        is_same = names == list(class_names)
        new_head = None if is_same or start.head == "keep" else head
        taken = [name for name in by_path(here) if takes(start, name, new_head)]
        if not taken:
            others = ", ".join(name for name in by_path(here) if takes(InitFromConfig(), name, new_head))
            raise ConfigError(
                f"init_from.match={start.match} is not allowed, because it takes no array; give a pattern "
                f"that takes some of {others}"
            )
        there = checkpoint.restore(final, here, partial(takes, start, new_head=new_head))
    except checkpoint.CheckpointError as error:
        raise ConfigError(
            f"init_from={start.run} is not allowed: {error}; give a completed run of the same network, or an "
            "init_from.match that leaves this layer out"
        ) from error
    rates = state.opt_state.hyperparams
    opt_state = set_rates(optimizer.init(there["params"]), **rates)
    noise_key = optax.tree.get(state.opt_state, "rng_key")
    opt_state = opt_state if noise_key is None else set_noise_key(opt_state, noise_key)
    placed = jax.tree.map(lambda new, old: jax.device_put(new, old.sharding), opt_state, state.opt_state)
    average = jax.tree.map(jnp.copy, (there["params"], there["model_state"])) if state.average else ()
    return state._replace(opt_state=placed, average=average, **there), _describe(start, head, taken, is_same)


def _describe(start: InitFromConfig, head: str, taken: Sequence[str], is_same: bool) -> str:
    """Return a sentence that says how many arrays were taken, and what became of the head."""
    if any(name.startswith(f"params/{head}/") for name in taken):
        what = "taken"
        why = "the classes and their order are the same" if is_same else "init_from.head=keep says so"
    else:
        what, is_left_out = "initialised afresh", is_same or start.head == "keep"
        why = "init_from.match leaves it out" if is_left_out else "the classes or their order differ"
    return f"{len(taken)} arrays are taken; the head {head} is {what}, because {why}"


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
