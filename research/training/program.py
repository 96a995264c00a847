"""The compiled functions of a run, together with the numbers that belong to them."""

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.data import Images
from research.layers.base import Params, State
from research.training.epoch import StepLoop
from research.training.state import Batch, Metrics, TrainState

Examples = tuple[jax.Array, jax.Array, jax.Array | None]
"""Images, labels and order, as the compiled steps read them; see `make_run_steps`."""

Feed = Callable[[Iterable[jax.Array], int], Generator[tuple[Examples, int, int]]]
"""`feed(orders, first_step)` yields `(examples, start, stop)` of the epochs with these orders, the first of
which begins at `first_step`. Calls of the program run the steps from `start` up to and without `stop` on
these examples. The generator must be closed."""


class StepResult(NamedTuple):
    """The result of one call of the compiled steps."""

    state: TrainState
    metrics: Metrics  # on the host
    stop: int  # the step before which the call ended, at most the `stop` of the call
    seconds: float  # the time of the call
    shared_by: int = 1  # number of runs that the call trained


Init = Callable[[jax.Array, jax.Array, jax.Array], TrainState]
"""`init(key, learning_rate, weight_decay)` returns the first state of a run. The key is a typed key, and the
rates are float32 scalars."""

RunSteps = Callable[[TrainState, Examples, int, int], StepResult]
"""`run_steps(state, examples, start, stop)` runs the steps from `start` up to and without `stop` of one run.
The state may be donated."""

RunMany = Callable[[Sequence[TrainState], Sequence[Examples], int, int], Sequence[tuple[TrainState, Metrics]]]
"""`run_many(states, examples, start, stop)` runs the same steps of several runs, and returns the new state
and the metrics of each run. The runs share images and labels."""

Predict = Callable[[Params, State, jax.Array | np.ndarray], jax.Array]
"""`predict(params, model_state, images)` returns the logits `[B, K]` of images `[B, H, W, C]`."""

Recompute = Callable[[Params, State, Images], State]
"""`recompute(params, model_state, images)` returns the model state whose batch statistics are the means over
the batches of all training images `[N, H, W, C]`, computed with these parameters."""

Trace = Callable[[Params, State, np.ndarray], dict[str, jax.Array]]
"""`trace(params, model_state, images)` returns the output of each layer by the layer's name."""

Find = Callable[[TrainState, Batch, bool], str | None]
"""`find(state, batch, train)` describes the first value that is not finite in a training step, or in an
evaluation. It returns `None` if all values are finite; see `nans.make_find`."""


MeasureLayers = Callable[[TrainState, Batch, bool], dict[str, dict[str, Any]]]
"""`measure_layers(state, batch, histograms)` returns statistics of each layer in a training step by its path;
see `analysis.layer_statistics`."""


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
        recompute: computes batch statistics once more for the parameters that are kept; `None` if those of
            the training are kept.
        measure_layers: measures each layer in a training step; its first call compiles it.
        whole: `whole(tree)` returns the arrays of a tree with a copy in every process.
        largest: `largest(value)` returns the largest of the values of all processes.
    """

    init: Init
    run_steps: RunSteps
    predict: Predict
    trace: Trace
    find: Find
    make_feed: Callable[[Images, np.ndarray], Feed]
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
    recompute: Recompute | None = None
    measure_layers: MeasureLayers | None = None
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
