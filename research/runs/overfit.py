"""A run on one batch of images, which every network that can learn at all learns by heart."""

from dataclasses import replace
from typing import Any

import numpy as np

from research.config import Config, ConfigError, Named, ParallelConfig, PruneConfig
from research.data import Dataset
from research.data.splits import stratified_order, take
from research.records import Run

OVERFIT_STEPS = 200
"""Number of training steps on the batch."""


def overfit_config(config: Config) -> Config:
    """Return the configuration in which the run of `debug.overfit_batch` trains; other runs keep theirs.

    It has no augmentation, no weight decay, no L1 penalty, no average of the parameters, no pruning and no
    test-time augmentation. An epoch is one step, and one device computes it. `without_dropout` changes the
    network.
    """
    count = config.debug.overfit_batch
    if count is None:
        return config
    arguments: dict[str, Any] = config.optimizer.arguments | {"weight_decay": 0.0, "l1": 0.0}
    arguments["groups"] = tuple(replace(group, weight_decay=0.0) for group in arguments["groups"])
    return replace(
        config,
        optimizer=Named(config.optimizer.name, tuple(sorted(arguments.items()))),
        data=replace(config.data, augmentations=()),
        parallel=ParallelConfig(),
        training=replace(
            config.training,
            epochs=OVERFIT_STEPS,
            batch_size=count,
            keep="last",
            tta="none",
            prune=PruneConfig(),
            snapshots=False,
            **dict.fromkeys(("ema", "swa_from", "patience", "accumulate", "window")),
        ),
    )


def one_batch(dataset: Dataset, count: int, seed: int) -> Dataset:
    """Return the dataset whose training and validation split are the same images of all classes.

    Args:
        dataset: the dataset.
        count: number of images.
        seed: seed of the choice.

    Raises:
        ConfigError: there are fewer training images.
    """
    if count > len(dataset.train.labels):
        raise ConfigError(
            f"debug.overfit_batch={count} is not allowed; give at most the {len(dataset.train.labels)} "
            "training images"
        )
    batch = take(dataset.train, stratified_order(dataset.train.labels, seed)[:count])
    batch = batch._replace(images=np.asarray(batch.images))
    return replace(dataset, train=batch, validation=batch)


def describe_overfit(run: Run) -> str:
    """Return a sentence that says whether the network learned the batch.

    Args:
        run: the record of a run with `debug.overfit_batch` that has ended.
    """
    count, advice = run.config["debug"]["overfit_batch"], "look for an error in the network, the loss or the"
    advice += " labels, or give another optimizer.learning_rate"
    if run.status != "completed":
        return f"The network did not learn the batch of {count} images: {run.outcome.error}; {advice}."
    last = run.metrics[-1]
    correct = round(last["train_accuracy"] * count)
    said = (
        f"the batch of {count} images: {correct} are classified correctly, and the loss is "
        f"{last['train_loss']:.4g} after {OVERFIT_STEPS} steps"
    )
    if correct < count:
        return f"The network did not learn {said}; {advice}."
    evaluated = round(last["validation_accuracy"] * count)
    if evaluated < count:
        said += f"; in an evaluation, with the averages of batch normalisation, only {evaluated} are"
    return f"The network learned {said}."
