"""Several trained networks as one: their probabilities or their parameters are averaged."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp

from research import records
from research.config import ConfigError
from research.deploy.fold import fold_batch_norm
from research.deploy.prune import remove_channels
from research.layers import Sequential
from research.layers.ensemble import Ensemble
from research.runs.load import TrainedNetwork, load_trained
from research.runs.snapshots import load_snapshots
from research.utils.constraints import OneOf

AVERAGES = ("probabilities", "weights")
"""What of several networks can be averaged."""


def load_ensemble(
    folders: Sequence[str | Path], average: str = "probabilities", tta: str | None = None
) -> TrainedNetwork:
    """Return one network for several completed runs, or the network of the run if there is only one.

    Args:
        folders: the folders of the runs, which were trained on images of the same size and classes.
        average: `probabilities` averages the outputs of all networks. `weights` averages their parameters,
            which gives one network that costs no more than one of them. The averaged network is accurate if
            the runs start from the same parameters, or for snapshots whose learning rate stays low.
        tta: the test-time augmentation, a name in `TTA`; `None` takes that of the runs, which must be equal.

    Raises:
        ConfigError: the runs do not fit together, or `average` is unknown.
        The errors of `load_trained`.
    """
    networks = [load_trained(folder) for folder in folders]
    if tta is not None:
        configs = [each.config for each in networks]
        configs = [replace(config, training=replace(config.training, tta=tta)) for config in configs]
        networks = [each._replace(config=config) for each, config in zip(networks, configs, strict=True)]
    return average_networks(networks, average, [str(folder) for folder in folders])


def load_snapshot_ensemble(folder: str | Path, average: str = "probabilities") -> TrainedNetwork:
    """Return one network for the snapshots of a run with `training.snapshots=true`.

    Args:
        folder: the folder of the run.
        average: what is averaged; see `load_ensemble`.

    Raises:
        RecordError: the run has no snapshots.
        The errors of `load_ensemble`.
    """
    trained = load_trained(folder)
    snapshots = load_snapshots(folder, trained)
    if not snapshots:
        raise records.RecordError(
            f"{folder} holds no snapshots; train it with training.snapshots=true schedule=cosine_restarts"
        )
    return average_networks(snapshots, average, [f"snapshot {n}" for n in range(1, len(snapshots) + 1)])


def average_networks(
    networks: Sequence[TrainedNetwork], average: str, names: Sequence[str]
) -> TrainedNetwork:
    """Return one network for several trained networks.

    Args:
        networks: the networks.
        average: `probabilities` or `weights`; see `load_ensemble`.
        names: the names of the networks, for errors.

    Raises:
        ConfigError: the networks do not fit together, or `average` is unknown.
    """
    if average not in AVERAGES:
        raise ConfigError(f"--average={average} is not allowed; give {OneOf(AVERAGES)}")
    first = networks[0]
    for name, other in zip(names[1:], networks[1:], strict=True):
        if (other.inputs, other.preprocess.dtype) != (first.inputs, first.preprocess.dtype):
            raise ConfigError(
                f"{names[0]} and {name} are no ensemble: their images are of another size, scaled or resized "
                "in another way, or their classes differ; give runs on the same data"
            )
        tta = first.config.training.tta, other.config.training.tta
        if tta[0] != tta[1]:
            raise ConfigError(
                f"{names[0]} and {name} are no ensemble: training.tta is {tta[0]} in the first and {tta[1]} "
                "in the second; give runs with one value, or give --tta to evaluate, predict or serve"
            )
        if average == "weights" and other.config.model != first.config.model:
            raise ConfigError(
                f"--average=weights is not allowed for {names[0]} and {name}, which have different networks; "
                "give probabilities"
            )
    if len(networks) == 1:
        return first
    if average == "weights":
        trees = [(each.params, each.model_state) for each in networks]
        params, state = jax.tree.map(lambda *leaves: jnp.stack(leaves).mean(0), *trees)
        return first._replace(params=params, model_state=state)
    members, all_params, all_state = [], {}, {}
    for number, each in enumerate(networks, start=1):
        net, params, state = fold_batch_norm(*remove_channels(each.net, each.params, each.model_state))
        members.append(net)
        all_params[f"member{number}"] = params
        all_state |= {f"member{number}": state} if state else {}
    net = Sequential((("ensemble", Ensemble(tuple(members))),))
    states = {"ensemble": all_state} if all_state else {}
    return first._replace(net=net, params={"ensemble": all_params}, model_state=states)
