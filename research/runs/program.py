"""The network, the data and the compiled program of a configuration."""

import importlib.util
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from research.config import PRECISIONS, Config, ConfigError, Named
from research.data import DATASETS, DataError, Dataset, Preprocess, load_dataset, locate
from research.layers import BatchNorm, Params, Sequential, State
from research.layers.base import abstract_init
from research.layers.remat import Remat
from research.layers.rewrite import rewrite, with_axis_name, without_chunks
from research.models import MODELS
from research.parallel import DATA_AXIS, EXPLICIT_COLLECTIVES, STRATEGIES, Layout, compile_stacked, make_feed
from research.parallel.distributed import largest
from research.runs.devices import build_layout, check_parallel
from research.runs.settings import pinned_settings, with_same_settings
from research.training.average import Weight, ema, swa
from research.training.epoch import make_run_steps
from research.training.evaluate import make_predict
from research.training.losses import make_loss, resolve
from research.training.nans import make_find
from research.training.optimizers import RATES, group_params, make_optimizer, set_rates
from research.training.program import Program, make_timed, make_timed_alone
from research.training.schedules import SCHEDULES
from research.training.state import TrainState, init_state
from research.training.step import TrainStep, make_train_step
from research.utils.memory import give_back_memory
from research.utils.xla import at_level, for_few_calls, for_one_call, jit_for_one_call


def build_network(model: Named, image_shape: tuple[int, int, int], num_classes: int) -> Sequential:
    """Return the network of a configuration for images `(H, W, C)`.

    Raises:
        ConfigError: the model does not fit the images.
    """
    try:
        return MODELS[model.name](image_shape, num_classes, **model.arguments)
    except ValueError as error:
        raise ConfigError(f"model={model.name}: {error}") from error


def build_loss(config: Config, labels: np.ndarray, num_classes: int) -> Named:
    """Return the loss of a configuration, whose class weights are numbers.

    Raises:
        ConfigError: a list has another length than the classes or losses that it belongs to.
    """
    try:
        return resolve(config.loss, labels, num_classes)
    except ValueError as error:  # its message begins with the key
        raise ConfigError(str(error)) from error


def build_data(config: Config) -> Dataset:
    """Return the dataset of a configuration, with its three splits.

    Raises:
        DataError: the dataset is missing or damaged.
        ConfigError: a number does not fit the dataset.
    """
    data = config.data
    try:
        return load_dataset(
            data.name,
            data_dir=data.dir,
            cache_dir=data.cache_dir,
            validation_fraction=data.validation_fraction,
            test_fraction=data.test_fraction,
            split_seed=data.split_seed,
            train_limit=data.train_limit,
        )
    except DataError:
        raise
    except ValueError as error:  # its message begins with the key
        raise ConfigError(f"data.{error}") from error


def build_preprocess(config: Config, dataset: Dataset) -> Preprocess:
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


def check(config: Config) -> None:
    """Refuse a configuration that cannot run, without loading data.

    Raises:
        ConfigError: the network or an augmentation does not fit the dataset's images, a package is missing,
            or `init_from` is not the folder of a completed run.
        DataError: the dataset is missing.
    """
    check_parallel(config)
    if config.init_from is not None:
        config.fingerprint()  # reads the checksum of its parameters
    if config.logging == "tensorboard" and importlib.util.find_spec("tensorboardX") is None:
        raise ConfigError("logging=tensorboard needs tensorboardX: pip install 'cnn-research[tensorboard]'")
    locate(config.data.name, config.data.dir)
    dataset = DATASETS[config.data.name]
    net = build_network(config.model, dataset.image_shape, dataset.num_classes)
    _refuse_unused_groups(config, net, dataset.image_shape)
    build_loss(config, np.arange(dataset.num_classes), dataset.num_classes)
    ones = (1.0,) * dataset.image_shape[-1]
    _preprocess(config, ones, ones)


@dataclass(frozen=True)
class ProgramSpec:
    """Everything on which a compiled program depends. Seed, data and rates are not part of it.

    Args:
        net: the network.
        optimizer: name and arguments of the optimizer, without learning rate and weight decay.
        schedule: name and arguments of the schedule.
        num_steps: number of steps of the run.
        loss: name and arguments of the loss, with numbers as class weights.
        preprocess: function that turns the pixels of images into the input of the network.
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
        swa_from: first epoch in the average of the parameters over epochs; `None`: there is no such average.
        runs_per_program: the largest number of runs that the program trains together.
        optimization_level: optimization level of XLA for the training steps; `None` is XLA's own.
        use_fusion_emitters: whether XLA on the CPU uses its fusion emitters for the training steps.
    """

    net: Sequential
    optimizer: Named
    schedule: Named
    num_steps: int
    loss: Named
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
    swa_from: int | None
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

    def make_train_step(self) -> TrainStep:
        """Return the training step."""
        net = with_axis_name(self.net, None if self.local_batch_norm else self.axis_name)
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
        """Return the first state of a run, for a typed key and the two rates, float32 scalars."""
        averaged = self.average_weight is not None
        state = init_state(self.net, self.make_optimizer(), key, (1, *self.image_shape), averaged=averaged)
        rates = {"learning_rate": learning_rate, "weight_decay": weight_decay}
        return state._replace(opt_state=set_rates(state.opt_state, **rates))

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
            self.net, lambda each: replace(each, decay=0.0) if isinstance(each, BatchNorm) else each
        )
        keys = jax.random.split(jax.random.fold_in(jax.random.key(0), count), len(images))
        statistics = net.apply(params, model_state, self.preprocess(images), train=True, key=keys)[1]
        added: Any = optax.incremental_update(statistics, mean, 1 / count)
        return added

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
    num_evaluating = layout.num_run_groups * layout.num_shards
    net = build_network(config.model, dataset.image_shape, dataset.num_classes)
    _refuse_too_large(config, net, dataset.image_shape)
    _refuse_unused_groups(config, net, dataset.image_shape)
    num_steps = num_train // training.batch_size
    if training.epochs * num_steps > MAX_STEPS:
        raise ConfigError(
            f"training.epochs={training.epochs} is not allowed; give at most {MAX_STEPS // num_steps}, "
            f"at {num_steps} steps an epoch"
        )
    window = None if training.window is None else min(training.window, num_steps)
    arguments = tuple(item for item in config.optimizer.items if item[0] not in RATES)
    return ProgramSpec(
        net=net,
        optimizer=Named(config.optimizer.name, arguments),
        schedule=config.schedule,
        num_steps=training.epochs * num_steps,
        loss=build_loss(config, dataset.train.labels, dataset.num_classes),
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
        swa_from=training.swa_from,
        runs_per_program=training.runs_per_program,
        optimization_level=training.xla_optimization_level,
        use_fusion_emitters=training.xla_cpu_use_fusion_emitters,
    )


MAX_STEPS = 2**31 - 1
"""The largest number of steps of a run, since a step is an int32."""


def _refuse_too_large(config: Config, net: Sequential, image_shape: tuple[int, int, int]) -> None:
    """Refuse a network if its parameters, gradients and two moments do not fit into memory."""
    params, _ = abstract_init(net, (1, *image_shape))
    num_parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    needed, there = 16 * num_parameters, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise ConfigError(
            f"model={config.model.name} has {num_parameters:,} parameters here, whose training takes "
            f"{needed / 1e9:,.0f} GB; this machine has {there / 1e9:,.0f} GB"
        )


def _refuse_unused_groups(config: Config, net: Sequential, image_shape: tuple[int, int, int]) -> None:
    """Refuse a group of parameters that takes no parameter of the network."""
    params, _ = abstract_init(net, (1, *image_shape))
    try:
        group_params(params, config.optimizer.arguments["groups"])
    except ValueError as error:
        raise ConfigError(f"optimizer.groups: {error}") from error


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


def compile_program(spec: ProgramSpec) -> Program:
    """Return the program of a specification. It is compiled once for all runs that share it.

    If an earlier call compiled the program, its `compile_seconds` are 0.
    """
    misses = _compile.cache_info().misses
    program = _compile(spec)
    _, now, max_size, _ = _compile.cache_info()
    if now == misses:
        return replace(program, compile_seconds=0.0)
    if max_size and now % max_size == 0:
        jax.clear_caches()  # otherwise JAX keeps what it traced and compiled for thousands of other shapes
    give_back_memory()
    return program


def forget_programs() -> None:
    """Clear the cache of `compile_program`, so that its next call traces and compiles again."""
    _compile.cache_clear()


@lru_cache(maxsize=16)
@pinned_settings()
def _compile(spec: ProgramSpec) -> Program:
    began = time.perf_counter()
    layout = spec.layout
    state, rates, data = argument_shapes(spec)
    states = layout.shardings_of(state)
    lowered_init = jax.jit(spec.init, out_shardings=states).lower(*rates)
    lowered_predict = jax.jit(
        make_predict(spec.net, spec.preprocess, spec.tta),
        in_shardings=(states.params, states.model_state, layout.by_image),
        out_shardings=layout.everywhere,
    ).lower(state.params, state.model_state, _images(spec, spec.eval_batch_size))
    with ThreadPoolExecutor(1) as pool:  # XLA compiles these while JAX traces the training steps
        compiling_init = pool.submit(with_same_settings(lowered_init.compile), for_one_call())
        compiling_predict = pool.submit(with_same_settings(lowered_predict.compile), for_few_calls())
        options = at_level(spec.optimization_level, use_fusion_emitters=spec.use_fusion_emitters)
        arguments = (layout, state, *data, _integers(), _integers())
        loop = make_run_steps(spec.make_train_step(), axis_name=spec.axis_name)
        run_many = None
        if spec.runs_per_program == 1:
            steps, executable = STRATEGIES[spec.strategy](loop, *arguments, options=options)
            run_steps = make_timed(steps)
        else:
            run_many, executable = compile_stacked(
                spec.strategy, loop, spec.runs_per_program, *arguments, options=options
            )
            run_steps = make_timed_alone(run_many)
    compiled_init, compiled_predict = compiling_init.result(), compiling_predict.result()

    def predict(params: Params, model_state: State, images: Any, /) -> jax.Array:
        return compiled_predict(params, model_state, layout.put_batch(images))

    @pinned_settings()
    def recompute(params: Params, model_state: State, images: np.ndarray, /) -> State:
        if not model_state:
            return model_state
        add = jax.jit(spec.add_statistics, out_shardings=states.model_state, compiler_options=for_few_calls())
        size = spec.eval_batch_size
        rows = np.resize(np.arange(len(images)), (-(-len(images) // size), size))  # the last batch is filled
        for count, row in enumerate(rows, start=1):
            batch = layout.put_batch(images[row])
            model_state = add(model_state, params, model_state, batch, jnp.int32(count))
        return model_state

    factor = jit_for_one_call(spec.make_schedule())
    memory = executable.memory_analysis()
    return Program(
        compiled_init,
        run_steps,
        predict,
        jit_for_one_call(spec.trace),
        make_find(spec.net, make_loss(spec.loss), spec.preprocess),
        partial(make_feed, layout, window=spec.window),
        lambda step: float(factor(step)),
        num_train=spec.num_train,
        batch_size=spec.batch_size,
        eval_batch_size=spec.eval_batch_size,
        num_steps=spec.num_steps,
        run_many=run_many,
        compile_seconds=time.perf_counter() - began,
        temporary_bytes=None if memory is None else memory.temp_size_in_bytes,
        executable=executable,
        recompute=None if spec.swa_from is None else recompute,
        whole=layout.replicate if jax.process_count() > 1 else lambda tree: tree,
        largest=largest,
    )


Shapes = tuple[Any, ...]


def argument_shapes(spec: ProgramSpec) -> tuple[TrainState, Shapes, Shapes]:
    """Return the shapes of the state, of the arguments of `init`, and of the images, labels and order."""
    number = jax.ShapeDtypeStruct((), jnp.float32)
    rates = (jax.eval_shape(lambda: jax.random.key(0)), number, number)
    state = jax.eval_shape(spec.init, *rates)
    num_steps = spec.window or spec.num_train // spec.batch_size
    order = _integers(num_steps, spec.batch_size)
    if spec.window:  # the examples of a window come in batches
        return state, rates, (_images(spec, num_steps, spec.batch_size), order, None)
    return state, rates, (_images(spec, spec.num_train), _integers(spec.num_train), order)


def _images(spec: ProgramSpec, *shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((*shape, *spec.image_shape), jnp.uint8)


def _integers(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.int32)
