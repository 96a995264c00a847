"""The functions that training passes around, as protocols."""

from typing import Protocol, runtime_checkable

import jax
import numpy as np

from research.layers.base import Params, State
from research.training.state import Metrics, TrainState


@runtime_checkable
class Preprocess(Protocol):
    """A function that turns stored pixels into the input of a network, such as `data.Preprocess`."""

    def __call__(self, images: jax.Array, *, keys: jax.Array | None = None) -> jax.Array:
        """Return the input `[N, H, W, C]` for images `[N, H, W, C]`, augmented if keys `[N]` are given."""
        ...


@runtime_checkable
class Predict(Protocol):
    """A function that computes logits, as `evaluate.make_predict` returns it."""

    def __call__(self, params: Params, model_state: State, images: jax.Array | np.ndarray, /) -> jax.Array:
        """Return the logits `[N, K]` for images `[N, H, W, C]`."""
        ...


@runtime_checkable
class RunSteps(Protocol):
    """A function that runs a part of the steps of an epoch, as `epoch.make_run_steps` returns it."""

    def __call__(
        self,
        state: TrainState,
        images: jax.Array,
        labels: jax.Array,
        order: jax.Array | None,
        start: jax.Array,
        stop: jax.Array,
        /,
    ) -> tuple[TrainState, Metrics]:
        """Return the state after the steps from `start` up to and without `stop`, and their metrics."""
        ...
