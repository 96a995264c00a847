"""The network, the loss, the data and the preprocessing of a configuration."""

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from research.config import PRECISIONS, Config, ConfigError, DataConfig, Named
from research.data import DataError, Dataset, InputSpec, Preprocess, load_dataset
from research.data.image_source import cache_folder
from research.data.source import fingerprint
from research.layers import Sequential
from research.layers.base import abstract_init
from research.models import MODELS
from research.runs.devices import check_parallel
from research.training.freeze import check_freeze
from research.training.losses import resolve
from research.training.optimizers import group_params
from research.training.pruning import channel_groups
from research.utils.memory import machine_memory

LOGGING_PACKAGES = (
    ("tensorboard", "tensorboardX", "tensorboard"),
    ("mlflow", "mlflow", "tracking"),
)
"""Names in `LOGGERS`, the package that each one needs, and the extra that installs the package."""


def build_network(model: Named, image_shape: tuple[int, int, int], num_classes: int) -> Sequential:
    """Return the network of a configuration for images `(H, W, C)`.

    Raises:
        ConfigError: the model does not fit the images.
    """
    try:
        return _assembled(MODELS[model.name], image_shape, num_classes, model.items)
    except ValueError as error:
        raise ConfigError(f"model={model.name}: {error}") from error


@lru_cache(maxsize=64)
def _assembled(
    model: Callable[..., Sequential], shape: tuple[int, int, int], num_classes: int, items: tuple[Any, ...]
) -> Sequential:
    """Return a network, which is a value, so all runs of a sweep can have the same one."""
    return model(shape, num_classes, **dict(items))


def build_loss(config: Config, labels: np.ndarray, num_classes: int) -> Named:
    """Return the loss of a configuration, whose class weights are numbers.

    Raises:
        ConfigError: a list has another length than the classes or losses that it belongs to.
    """
    try:
        return resolve(config.loss, labels, num_classes)
    except ValueError as error:  # its message begins with the key
        raise ConfigError(str(error)) from error


_last: tuple[Any, Dataset] | None = None


def build_data(data: DataConfig) -> Dataset:
    """Return the dataset of the section `data` of a configuration, with its three splits.

    A second call with the same values returns the same dataset, unless a file of the images has changed.

    Raises:
        DataError: the dataset is missing or damaged.
        ConfigError: a number does not fit the dataset.
    """
    global _last
    try:
        images, place = data.images, data.images.locate()
        content = images.content(cache_folder(data.cache_dir))
        times = fingerprint(place) if place and place.is_dir() else None
        values = replace(data, augmentations=()), place, content, times
        if _last is not None and _last[0] == values:
            return _last[1]
        dataset = load_dataset(
            images,
            cache_dir=data.cache_dir,
            validation_fraction=data.validation_fraction,
            test_fraction=data.test_fraction,
            split_seed=data.split_seed,
            train_limit=data.train_limit,
            imbalance=data.imbalance,
            label_noise=data.label_noise,
            folds=data.folds,
            fold=data.fold,
            in_memory=data.in_memory,
            num_workers=data.workers,
        )
        _last = values, dataset
        return dataset
    except DataError:
        raise
    except ValueError as error:  # its message begins with the key
        raise ConfigError(f"data.{error}") from error


def build_preprocess(config: Config, dataset: Dataset | InputSpec) -> Preprocess:
    """Return the function that turns the pixels of a dataset into the input of the network.

    Raises:
        ConfigError: an augmentation does not fit the number of channels.
    """
    return _preprocess(config, dataset.mean, dataset.std)


def _preprocess(config: Config, mean: tuple[float, ...], std: tuple[float, ...]) -> Preprocess:
    try:
        return Preprocess(mean, std, config.data.augmentations, PRECISIONS[config.training.precision])
    except ValueError as error:
        raise ConfigError(f"data.{error}") from error


def eval_batch_size(config: Config, dataset: Dataset) -> int:
    """Return the number of images per batch of an evaluation on one device."""
    num_evaluated = max(len(dataset.validation.labels), len(dataset.test.labels))
    return min(config.training.eval_batch_size, num_evaluated)


def check(config: Config, *, follows: bool = False) -> None:
    """Refuse a configuration that cannot run, without loading data.

    Args:
        config: the configuration.
        follows: whether the run follows on a run of an earlier stage of its study, which does not exist yet.

    Raises:
        ConfigError: the network or an augmentation does not fit the dataset's images, a package is missing,
            or `init_from` or `loss.teacher` is not the folder of a completed run.
        DataError: the dataset is missing.
    """
    check_parallel(config)
    if not follows and (config.init_from.run is not None or config.loss.name == "distillation"):
        config.fingerprint()  # reads the checksum of the other run's parameters
    for name, package, extra in LOGGING_PACKAGES:
        if config.logging.includes(name) and importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"logging={config.logging.to} needs {package}: pip install 'cnn-research[{extra}]'"
            )
    config.data.images.locate()
    dataset = config.data.images.describe()
    net = build_network(config.model, dataset.image_shape, dataset.num_classes)
    refuse_unused_groups(config, net, dataset.image_shape)
    refuse_without_channels(config, net)
    refuse_freeze(config, net, dataset.image_shape)
    build_loss(config, np.arange(dataset.num_classes), dataset.num_classes)
    ones = (1.0,) * dataset.image_shape[-1]
    _preprocess(config, ones, ones)


def refuse_too_large(config: Config, net: Sequential, image_shape: tuple[int, int, int]) -> None:
    """Refuse a network if its parameters, gradients and two moments do not fit into memory."""
    params, _ = abstract_init(net, (1, *image_shape))
    num_parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    needed, there = 16 * num_parameters, machine_memory()
    if needed > there:
        raise ConfigError(
            f"model={config.model.name} has {num_parameters:,} parameters here, whose training takes "
            f"{needed / 1e9:,.0f} GB; this machine has {there / 1e9:,.0f} GB"
        )


def refuse_unused_groups(config: Config, net: Sequential, image_shape: tuple[int, int, int]) -> None:
    """Refuse a group of parameters that takes no parameter of the network."""
    if not config.optimizer.arguments["groups"]:
        return
    params, _ = abstract_init(net, (1, *image_shape))
    try:
        group_params(params, config.optimizer.arguments["groups"])
    except ValueError as error:
        raise ConfigError(f"optimizer.groups: {error}") from error


def refuse_without_channels(config: Config, net: Sequential) -> None:
    """Refuse to prune the channels of a network in which none can be removed."""
    prune = config.training.prune
    if prune.amount and prune.by == "channel" and not any(channel_groups(net)):
        raise ConfigError(
            f"training.prune.by=channel is not allowed with model={config.model.name}, in which no channel "
            "can be removed without a change of another layer; give weight"
        )


def refuse_freeze(config: Config, net: Sequential, image_shape: tuple[int, int, int]) -> None:
    """Refuse a pattern of `training.freeze` that takes no parameter, and an epoch that trains none."""
    params, _ = abstract_init(net, (1, *image_shape))
    try:
        check_freeze(config.training.freeze, params, config.training.epochs)
    except ValueError as error:
        raise ConfigError(f"training.freeze: {error}") from error
