"""Everything on which the compiled program of a configuration depends."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from research.config import Config, ConfigError, Named
from research.data import Dataset, Preprocess, StoredImages
from research.layers import BatchNorm, Params, Sequential, State
from research.layers.base import abstract_init
from research.layers.remat import Remat
from research.layers.rewrite import rewrite, with_axis_name, with_frozen_statistics, without_chunks
from research.parallel import DATA_AXIS, EXPLICIT_COLLECTIVES, Layout
from research.runs.build import (
    build_loss,
    build_network,
    build_preprocess,
    eval_batch_size,
    refuse_freeze,
    refuse_too_large,
    refuse_unused_groups,
    refuse_without_channels,
)
from research.runs.devices import build_layout
from research.runs.teacher import has_teacher, load_teacher, without_teacher
from research.training.average import Weight, ema, swa, towards
from research.training.distillation import Teacher
from research.training.freeze import Freeze, IsFrozen, any_match, first_epochs, frozen_in
from research.training.losses import make_loss
from research.training.optimizers import RATES, make_optimizer, set_rates
from research.training.schedules import SCHEDULES
from research.training.state import TrainState, init_state
from research.training.step import TrainStep, make_train_step


@dataclass(frozen=True)
class ProgramSpec:
    """Everything on which a compiled program depends. Seed, data and rates are not part of it.

    Args:
        net: the network.
        optimizer: name and arguments of the optimizer, without learning rate and weight decay.
        schedule: name and arguments of the schedule.
        num_steps: number of steps of the run.
        loss: name and arguments of the loss, with numbers as class weights and without the path of a teacher.
        teacher: the network that the loss `distillation` imitates.
        preprocess: function that turns the pixels of images into the input of the network.
        tta: the test-time augmentation, a name in `TTA`.
        image_shape: `(H, W, C)` of one image.
        num_train: number of training images.
        batch_size: number of images in a training step, over all devices.
        eval_batch_size: number of images in a batch of an evaluation, over all devices.
        window: number of steps whose images are on the device at a time; `None` is the whole training split.
        strategy: a name of `STRATEGIES`.
        layout: the devices.
        local_batch_norm: whether batch norm uses the statistics of the part of a batch on each device.
        num_parts: number of parts of a batch that are computed one after the other.
        remat: whether the activations inside blocks are computed again for the gradient.
        ema: decay of the average of the parameters over steps; `None`: there is no such average.
        pruned: whether the state holds the masks of pruning.
        swa_from: first epoch in the average of the parameters over epochs; `None`: there is no such average.
        freeze: the parameters that are frozen in some epochs.
        runs_per_program: the largest number of runs that the program trains together.
        optimization_level: optimization level of XLA for the training steps; `None` is XLA's own.
        use_fusion_emitters: whether XLA on the CPU uses its fusion emitters for the training steps.
    """

    net: Sequential
    optimizer: Named
    schedule: Named
    num_steps: int
    loss: Named
    teacher: Teacher | None
    preprocess: Preprocess
    tta: str
    image_shape: tuple[int, int, int]
    num_train: int
    batch_size: int
    eval_batch_size: int
    window: int | None
    strategy: str
    layout: Layout
    local_batch_norm: bool
    num_parts: int
    remat: bool
    ema: float | None
    pruned: bool
    swa_from: int | None
    freeze: tuple[Freeze, ...]
    runs_per_program: int
    optimization_level: int | None
    use_fusion_emitters: bool

    def make_schedule(self) -> Callable[[Any], Any]:
        """Return the function from a step to the factor of the learning rate."""
        return SCHEDULES[self.schedule.name](self.num_steps, **self.schedule.arguments)

    def make_optimizer(self) -> optax.GradientTransformation:
        """Return the optimizer; its learning rate and weight decay are set later, in its state."""
        layers = [name for name, _ in self.net.layers]
        return make_optimizer(self.optimizer.name, self.make_schedule(), layers, **self.optimizer.arguments)

    @property
    def axis_name(self) -> str | None:
        """Axis over which the step averages; `None` if the step sees the whole batch."""
        return DATA_AXIS if self.strategy in EXPLICIT_COLLECTIVES else None

    @property
    def num_epochs(self) -> int:
        """Number of epochs of the run."""
        return self.num_steps // (self.num_train // self.batch_size)

    def is_frozen_in(self, epoch: int) -> IsFrozen:
        """Return which parameters are frozen in an epoch, which is counted from 1."""
        return partial(any_match, frozen_in(self.freeze, epoch))

    def frozen_after(self, num_steps: int) -> IsFrozen:
        """Return which parameters are frozen in the step after a number of steps."""
        return self.is_frozen_in(num_steps * self.num_epochs // self.num_steps + 1)

    def net_in(self, epoch: int) -> Sequential:
        """Return the network with the frozen batch statistics of an epoch, which is counted from 1."""
        frozen = [each for each in frozen_in(self.freeze, epoch) if each.statistics]
        return with_frozen_statistics(self.net, partial(any_match, frozen)) if frozen else self.net

    def make_train_steps(self) -> list[tuple[int, TrainStep]]:
        """Return the training step for each set of frozen parameters, after the number of steps before it.

        A run without `freeze` has one training step.
        """
        steps_per_epoch = self.num_train // self.batch_size
        starts = first_epochs(self.freeze, self.num_epochs)
        return [((epoch - 1) * steps_per_epoch, self.make_train_step(epoch)) for epoch in starts]

    def make_train_step(self, epoch: int = 1) -> TrainStep:
        """Return the training step of an epoch, which is counted from 1."""
        net = with_axis_name(self.net_in(epoch), None if self.local_batch_norm else self.axis_name)
        if self.strategy == "jit" and self.layout.mesh.size > 1 and jax.default_backend() == "cpu":
            net = without_chunks(net)  # XLA would gather the batch for a loop over its parts
        return make_train_step(
            Remat(net) if self.remat else net,
            self.make_optimizer(),
            make_loss(self.loss),
            self.preprocess,
            axis_name=self.axis_name,
            num_parts=self.num_parts,
            average_weight=self.average_weight,
            alternate=self._alternate if self.preprocess.alternating_flip else None,
            mixing=self.preprocess.mixing,
            is_frozen=self.is_frozen_in(epoch),
            teacher=self.teacher,
        )

    def _alternate(self, images: jax.Array, step: jax.Array) -> jax.Array:
        """Return the images of the epoch of a step, of which half are mirrored."""
        flip = self.preprocess.alternating_flip
        return flip(images, step // (self.num_train // self.batch_size)) if flip else images

    @property
    def average_weight(self) -> Weight | None:
        """Weight of the newest parameters in the average of a run; `None` if there is no average."""
        if self.swa_from is not None:
            return swa(self.swa_from, self.num_train // self.batch_size)
        return None if self.ema is None else ema(self.ema)

    def init(self, key: jax.Array, learning_rate: jax.Array, weight_decay: jax.Array, /) -> TrainState:
        """Return the first state of a run, for a typed key and the two rates, float32 scalars.

        The arrays of a teacher are zeros, which `first_state` replaces.
        """
        averaged = self.average_weight is not None
        state = init_state(
            self.net,
            self.make_optimizer(),
            key,
            (1, *self.image_shape),
            averaged=averaged,
            pruned=self.pruned,
        )
        rates = {"learning_rate": learning_rate, "weight_decay": weight_decay}
        state = state._replace(opt_state=set_rates(state.opt_state, **rates))
        if self.teacher is None:
            return state
        shapes = abstract_init(self.teacher.net, (1, *self.image_shape))
        return state._replace(teacher=jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes))

    def add_statistics(
        self, mean: State, params: Params, model_state: State, images: jax.Array, count: jax.Array, /
    ) -> State:
        """Return the mean of the statistics of batches in every batch normalisation after one more batch.

        Args:
            mean: the mean over the batches before.
            params: the parameters.
            model_state: a model state, whose values are not used.
            images: the images of the batch `[B, H, W, C]`, which are not augmented.
            count: the number of batches with this one, int32 `[]`.
        """
        net = rewrite(
            self.net_in(self.num_epochs),
            lambda each: replace(each, decay=0.0) if isinstance(each, BatchNorm) else each,
        )
        keys = jax.random.split(jax.random.fold_in(jax.random.key(0), count), len(images))
        statistics = net.apply(params, model_state, self.preprocess(images), train=True, key=keys)[1]
        return towards(statistics, mean, 1 / count)

    def trace(self, params: Params, model_state: State, images: Any, /) -> dict[str, jax.Array]:
        """Return the output of each layer for images `[N, H, W, C]`, by the layer's name."""
        return self.net.trace(params, model_state, self.preprocess(images), train=False)[2]


def program_spec(config: Config, dataset: Dataset) -> ProgramSpec:
    """Return the specification of the program of a configuration.

    Raises:
        ConfigError: the training split is smaller than a batch, or a number is too large for this machine.
    """
    training = config.training
    num_train = len(dataset.train.labels)
    if training.batch_size > num_train:
        raise ConfigError(
            f"training.batch_size={training.batch_size} is not allowed; "
            f"give at most the {num_train} training examples"
        )
    strategy, layout = build_layout(config)
    if training.runs_per_program > 1 and jax.process_count() > 1:
        raise ConfigError(
            f"training.runs_per_program={training.runs_per_program} is not allowed with "
            f"{jax.process_count()} processes; give training.runs_per_program=1"
        )
    is_stored = isinstance(dataset.train.images, StoredImages)
    if training.runs_per_program > 1 and is_stored:
        raise ConfigError(
            f"training.runs_per_program={training.runs_per_program} is not allowed for images that are not "
            "held in memory; give training.runs_per_program=1, or data.in_memory=true"
        )
    num_evaluating = layout.num_run_groups * layout.num_shards
    net = build_network(config.model, dataset.image_shape, dataset.num_classes)
    refuse_too_large(config, net, dataset.image_shape)
    refuse_unused_groups(config, net, dataset.image_shape)
    refuse_without_channels(config, net)
    refuse_freeze(config, net, dataset.image_shape)
    num_steps = num_train // training.batch_size
    if training.epochs * num_steps > MAX_STEPS:
        raise ConfigError(
            f"training.epochs={training.epochs} is not allowed; give at most {MAX_STEPS // num_steps}, "
            f"at {num_steps} steps an epoch"
        )
    window = training.window
    if window is None and is_stored:
        window = max(1, WINDOW_BYTES // (training.batch_size * math.prod(dataset.image_shape)))
    if window is not None:
        window = min(window, num_steps)
    arguments = tuple(item for item in config.optimizer.items if item[0] not in RATES)
    return ProgramSpec(
        net=net,
        optimizer=Named(config.optimizer.name, arguments),
        schedule=config.schedule,
        num_steps=training.epochs * num_steps,
        loss=without_teacher(build_loss(config, dataset.train.labels, dataset.num_classes)),
        teacher=load_teacher(config, dataset)[0] if has_teacher(config) else None,
        preprocess=build_preprocess(config, dataset),
        tta=training.tta,
        image_shape=dataset.image_shape,
        num_train=num_train,
        batch_size=training.batch_size,
        eval_batch_size=-(-eval_batch_size(config, dataset) // num_evaluating) * num_evaluating,
        # with a window, each of several processes reads and holds only its own share of an epoch
        window=window or (num_steps if jax.process_count() > 1 else None),
        strategy=strategy,
        layout=layout,
        local_batch_norm=config.parallel.batch_norm == "local",
        num_parts=training.accumulate
        or choose_num_parts(net, dataset.image_shape, training.batch_size // layout.num_shards, strategy),
        remat=training.remat == "blocks",
        ema=training.ema,
        pruned=training.prune.amount > 0,
        swa_from=training.swa_from,
        freeze=training.freeze,
        runs_per_program=training.runs_per_program,
        optimization_level=training.xla_optimization_level,
        use_fusion_emitters=training.xla_cpu_use_fusion_emitters,
    )


WINDOW_BYTES = 128 * 2**20
"""The largest size of a window in bytes if the configuration does not give its steps."""

MAX_STEPS = 2**31 - 1
"""The largest number of steps of a run, since a step is an int32."""


PART_BYTES = 8 * 2**20
"""The largest size of the activations of a part in bytes. Such a part stays in the level-3 cache."""

SMALLEST_PART = 16
"""The smallest number of examples of a part. Every part reads the kernels of the dense layers again."""


@lru_cache(maxsize=16)
def choose_num_parts(
    net: Sequential, image_shape: tuple[int, int, int], batch_size: int, strategy: str
) -> int:
    """Return the number of parts of a batch if the configuration does not give it.

    It is 1 on accelerators, under `jit`, and for networks with batch normalisation, whose result depends on
    the parts. Otherwise it is the smallest number of equal parts with at most `PART_BYTES` of activations
    each, in float32.

    Args:
        net: the network.
        image_shape: `(H, W, C)`.
        batch_size: number of examples that one device sees.
        strategy: a name of `STRATEGIES`; under `jit` the step sees the examples of all devices at once.
    """
    if strategy == "jit" or jax.default_backend() != "cpu":
        return 1
    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    params, model_state = abstract_init(net, image.shape)
    if model_state:
        return 1
    activations = jax.eval_shape(partial(net.trace, train=False), params, model_state, image)[2]
    num_bytes = sum(a.size * a.dtype.itemsize for a in activations.values())
    parts = [n for n in range(1, batch_size + 1) if batch_size % n == 0 and batch_size // n >= SMALLEST_PART]
    return next((n for n in parts if num_bytes * batch_size // n <= PART_BYTES), max(parts, default=1))
