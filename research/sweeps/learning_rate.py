"""The range test, which looks for a learning rate in one short training with a rising rate."""

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Annotated

import jax
import numpy as np
from scipy.ndimage import gaussian_filter1d

from research.config import Config, ConfigError, Named
from research.runs.run import first_state, load_program
from research.runs.settings import PRNG_IMPL, run_settings
from research.training.epoch import epoch_order
from research.training.optimizers import set_learning_rate
from research.utils.constraints import Between, Positive

WINDOW = 5
"""The number of steps over whose mean loss it is decided whether the training diverges."""

DIVERGED = 4.0
"""The test stops if the mean loss is more than this factor above the lowest mean loss before."""


SMOOTHING = 4.0
"""The standard deviation of the Gaussian that smooths the losses, in steps."""


@dataclass(frozen=True)
class RangeConfig:
    """Which learning rates are tried.

    Args:
        lowest: the learning rate of the first step.
        highest: the learning rate of the last step.
        steps: the number of steps; the rate grows by the same factor from each to the next.
    """

    lowest: Annotated[float, Positive] = 1e-6
    highest: Annotated[float, Positive] = 10.0
    steps: Annotated[int, Between(20)] = 100

    def __post_init__(self) -> None:
        if self.lowest >= self.highest:
            raise ConfigError(
                f"lowest={self.lowest} is not allowed; give a number below highest={self.highest}"
            )

    @property
    def rates(self) -> list[float]:
        """The learning rates of all steps."""
        return np.geomspace(self.lowest, self.highest, self.steps).tolist()


@dataclass(frozen=True)
class RangeTest:
    """The losses of a range test. The loss of a step is that before its update.

    Args:
        rates: the learning rates of the steps that were run, ascending.
        losses: the losses of these steps.
    """

    rates: Sequence[float]
    losses: Sequence[float]

    @property
    def smoothed(self) -> np.ndarray:
        """The losses, smoothed by a Gaussian. A loss above the first ones counts as the largest of them."""
        clipped = np.minimum(self.losses, max(self.losses[:WINDOW]))  # else the end hides what comes before
        return gaussian_filter1d(clipped, SMOOTHING, mode="nearest")

    @property
    def minimum(self) -> float:
        """The learning rate at which the smoothed loss is lowest."""
        return self.rates[int(self.smoothed.argmin())]

    @property
    def steepest(self) -> float:
        """The learning rate below `minimum` at which the smoothed loss falls fastest over the logarithm.

        Raises:
            ConfigError: the loss does not fall by more than its noise.
        """
        smoothed = self.smoothed
        last = int(smoothed.argmin())
        noise = np.std((self.losses - smoothed)[: last + 1])
        if smoothed[0] - smoothed[last] <= noise:
            raise ConfigError(
                f"the loss does not fall between the learning rates {self.rates[0]:g} and "
                f"{self.rates[-1]:g}; give a smaller lowest or a larger highest"
            )
        slopes = np.gradient(smoothed, np.log(self.rates))
        return self.rates[int(slopes[: last + 1].argmin())]


def range_test(step: Callable[[float], float], rates: Sequence[float]) -> RangeTest:
    """Return the losses of a training in which each step has a larger learning rate than the one before.

    The test stops when the loss diverges.

    Args:
        step: takes a training step with a learning rate, and returns the loss before the step.
        rates: the learning rates, ascending.

    Raises:
        ConfigError: the loss diverges before there are enough steps to see where it falls.

    Example:
        >>> test = range_test(lambda rate: 1 / rate, [0.1 * 2**i for i in range(8)])
        >>> test.minimum
        12.8

    Source: Smith (2017), Cyclical learning rates for training neural networks, section 3.3.
    """
    losses: list[float] = []
    lowest = math.inf
    for rate in rates:
        loss = step(rate)
        if not math.isfinite(loss):
            break
        losses.append(loss)
        mean = sum(losses[-WINDOW:]) / min(len(losses), WINDOW)
        lowest = min(lowest, mean)
        if mean > DIVERGED * lowest:
            break
    if len(losses) < 2 * WINDOW < len(rates):
        raise ConfigError(
            f"lowest={rates[0]:g} is not allowed, because the loss diverges after {len(losses)} steps; "
            "give a smaller number"
        )
    return RangeTest(rates[: len(losses)], losses)


@run_settings()
def find_learning_rate(config: Config, settings: RangeConfig = RangeConfig()) -> RangeTest:
    """Return the range test of a configuration, which uses the compiled steps that `run` uses.

    The rate follows the test and not `schedule`, whose factor is 1. Nothing is written.

    Args:
        config: the configuration of the run. Its learning rate is not used.
        settings: the learning rates.

    Raises:
        ConfigError: the configuration does not fit the data, or the loss diverges or does not fall.
        DataError: the dataset is missing or damaged.
    """
    config = replace(config, schedule=Named("constant", ()))
    loaded = dataset, _, program = load_program(config)
    key = jax.random.key(config.seed, impl=PRNG_IMPL)
    state, _ = first_state(config, loaded, key)
    feed, order_key = program.make_feed(*dataset.train), jax.random.fold_in(key, 2)
    labels = dataset.train.labels if config.data.sampling == "balanced" else None

    num_epochs = -(-settings.steps // program.steps_per_epoch)
    orders = (
        epoch_order(order_key, epoch, program.num_train, program.batch_size, labels)
        for epoch in range(1, num_epochs + 1)
    )
    examples_ahead = feed(orders, 0)
    following = ((each, index) for each, start, stop in examples_ahead for index in range(start, stop))

    def step(rate: float) -> float:
        nonlocal state
        examples, index = next(following)
        state = state._replace(opt_state=set_learning_rate(state.opt_state, rate))
        state, metrics, *_ = program.run_steps(state, examples, index, index + 1)
        return float(metrics.loss[index]) / int(metrics.num_examples)

    with closing(examples_ahead):
        return range_test(step, settings.rates)
