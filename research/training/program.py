"""The compiled functions of a run, together with the numbers that belong to them."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from research.layers.base import Params, State
from research.training.epoch import StepLoop
from research.training.state import Batch, Metrics, TrainState

Examples = tuple[jax.Array, jax.Array, jax.Array | None]
"""Images, labels and order, as the compiled steps read them; see `make_run_steps`."""

Feed = Callable[[jax.Array, int], Iterator[tuple[Examples, int, int]]]
"""`feed(order, first_step)` yields `(examples, start, stop)`. Calls of the program run the steps from `start`
up to and without `stop` on these examples."""


class StepResult(NamedTuple):
    """The result of one call of the compiled steps."""

    state: TrainState
    metrics: Metrics  # on the host
    stop: int  # the step before which the call ended, at most the `stop` of the call
    seconds: float  # the time of the call
    shared_by: int = 1  # number of runs that the call trained


@runtime_checkable
class Init(Protocol):
    """Makes the first state of a run."""

    def __call__(self, key: jax.Array, learning_rate: jax.Array, weight_decay: jax.Array, /) -> TrainState:
        """Return the state for a typed key and the two rates, float32 `[]`."""
        ...


@runtime_checkable
class RunSteps(Protocol):
    """Runs some training steps of one run."""

    def __call__(self, state: TrainState, examples: Examples, start: int, stop: int, /) -> StepResult:
        """Run the steps `start` to `stop` over the examples; the state may be donated."""
        ...


@runtime_checkable
class RunMany(Protocol):
    """Runs the same training steps of several runs, whose images and labels are the same."""

    def __call__(
        self, states: Sequence[TrainState], examples: Sequence[Examples], start: int, stop: int, /
    ) -> Sequence[tuple[TrainState, Metrics]]:
        """Return the new state and the metrics of each run."""
        ...


@runtime_checkable
class Predict(Protocol):
    """Computes the logits of a batch."""

    def __call__(self, params: Params, model_state: State, images: jax.Array | np.ndarray, /) -> jax.Array:
        """Return logits `[B, K]` of images `[B, H, W, C]`."""
        ...


@runtime_checkable
class Trace(Protocol):
    """Computes the activations of a batch."""

    def __call__(self, params: Params, model_state: State, images: np.ndarray, /) -> dict[str, jax.Array]:
        """Return the output of each layer by the layer's name."""
        ...


@runtime_checkable
class Find(Protocol):
    """Names the first value of a step that is not finite; see `nans.make_find`."""

    def __call__(self, state: TrainState, batch: Batch, train: bool = True) -> str | None:
        """Return a description of the value, or `None` if all values are finite."""
        ...


def _unchanged(tree: Any) -> Any:
    return tree


@dataclass(frozen=True)
class Program:
    """The compiled functions of a run. Runs that differ only in seed, data or rates share them.

    Args:
        init: makes the first state.
        run_steps: runs training steps.
        predict: computes logits for evaluation, `eval_batch_size` images at a time.
        trace: computes the activations of each layer.
        find: names the first value that is not finite; its first call compiles it.
        make_feed: `make_feed(images, labels)` puts the training split onto the devices.
        learning_rate_factor: factor of the learning rate at a step.
        num_train: number of training examples.
        batch_size: examples per training step.
        eval_batch_size: images per call of `predict`.
        num_steps: training steps of a whole run.
        run_many: runs training steps of several runs; `None` if the program is for one run.
        shared_by: number of runs that share the program, and among which its seconds are divided.
        compile_seconds: time of tracing and compiling; 0 if an earlier run compiled the program.
        temporary_bytes: temporary memory of the training steps; `None` if the backend does not report it.
        executable: the compiled training steps, which tell their text; `None` if they are compiled later.
        whole: `whole(tree)` returns the arrays of a tree with a copy in every process.
        largest: `largest(value)` returns the largest of the values of all processes.
    """

    init: Init
    run_steps: RunSteps
    predict: Predict
    trace: Trace
    find: Find
    make_feed: Callable[[np.ndarray, np.ndarray], Feed]
    learning_rate_factor: Callable[[int], float]
    num_train: int
    batch_size: int
    eval_batch_size: int
    num_steps: int
    run_many: RunMany | None = None
    shared_by: int = 1
    compile_seconds: float = 0.0
    temporary_bytes: int | None = None
    executable: jax.stages.Compiled | None = None
    whole: Callable[[Any], Any] = _unchanged
    largest: Callable[[float], float] = float

    @property
    def steps_per_epoch(self) -> int:
        """Training steps of an epoch; the examples after the last full batch are left out of it."""
        return self.num_train // self.batch_size

    @property
    def num_epochs(self) -> int:
        """Epochs of a whole run."""
        return self.num_steps // self.steps_per_epoch


def make_timed(compiled: StepLoop) -> RunSteps:
    """Return `RunSteps` that call a compiled loop of steps, and wait until the metrics are on the host."""
    return _timed(
        lambda state, examples, start, stop: compiled(state, *examples, jnp.int32(start), jnp.int32(stop))
    )


def make_timed_alone(run_many: RunMany) -> RunSteps:
    """Return `RunSteps` that call a program for several runs with one run only."""
    return _timed(lambda state, examples, start, stop: run_many([state], [examples], start, stop)[0])


def _timed(call: Callable[[TrainState, Examples, int, int], tuple[TrainState, Metrics]]) -> RunSteps:
    def run_steps(state: TrainState, examples: Examples, start: int, stop: int, /) -> StepResult:
        began = time.perf_counter()
        state, metrics = call(state, examples, start, stop)
        return StepResult(state, jax.device_get(metrics), stop, time.perf_counter() - began)

    return run_steps
