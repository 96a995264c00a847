"""The factor of the learning rate that falls when training stops improving."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from research.training.callback import EpochMetrics
from research.utils.xla import jit_for_one_call

MEASURES: dict[str, Callable[[EpochMetrics], float]] = {
    "accuracy": lambda line: 1 - (line.validation_accuracy or 0.0),
    "loss": lambda line: line.validation_loss or 0.0,
}
"""Measures of an epoch on the validation split, of which the lowest is the best; 0 without the split."""


def make_plateau(
    monitor: str, num_epochs: int, *, factor: float, patience: int, cooldown: int, tolerance: float
) -> Callable[[Sequence[EpochMetrics]], float]:
    """Return a function from the history of a run to the factor of the learning rate in its next epoch.

    The factor follows from the history alone, so it is the same after a run was interrupted.

    Args:
        monitor: the name of the measure in `MEASURES`.
        num_epochs: the number of epochs of a whole run.
        factor: the number by which a drop multiplies the learning rate.
        patience: number of epochs without a better measure before a drop.
        cooldown: number of epochs after a drop that do not count.
        tolerance: an epoch is better if its measure is below (1 - tolerance) times the lowest one.

    Example:
        >>> line = EpochMetrics(1, 1, 0.0, 0.0, 0.7, 0.5, 0.1, 0.0)
        >>> plateau = make_plateau("loss", 4, factor=0.5, patience=1, cooldown=0, tolerance=0.0001)
        >>> [plateau([line] * num_epochs) for num_epochs in range(4)]
        [1.0, 1.0, 0.5, 0.25]
    """
    reduce: Any = optax.contrib.reduce_on_plateau(factor, patience, rtol=tolerance, cooldown=cooldown)

    @jit_for_one_call
    def factors(values: jax.Array) -> jax.Array:
        def after(state: Any, value: jax.Array) -> tuple[Any, Any]:
            _, state = reduce.update((), state, value=value)
            return state, state.scale

        return jax.lax.scan(after, reduce.init(jnp.zeros(())), values)[1]

    def plateau(history: Sequence[EpochMetrics]) -> float:
        values = np.zeros(num_epochs, np.float32)
        values[: len(history)] = [MEASURES[monitor](line) for line in history]
        return float(factors(values)[len(history) - 1]) if history else 1.0

    return plateau
