"""From a configuration to layers, optimizer, data and compiled programs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from research.config import Config, ConfigError, Named
from research.data import DATASETS, DataError, Dataset, Preprocess, load_dataset, locate
from research.layers import Params, Serial, State
from research.models import MODELS
from research.training.epoch import make_run_steps
from research.training.evaluate import make_predict
from research.training.fit import Program
from research.training.objective import make_cross_entropy
from research.training.optimizers import make_optimizer, set_rates
from research.training.schedules import SCHEDULES
from research.training.state import TrainState, init_state
from research.training.step import TrainStep, make_train_step


def build_network(model: Named, image_shape: tuple[int, int, int], num_classes: int) -> Serial:
    """The network of a configuration for images ``(H, W, C)``.

    Raises:
        ConfigError: the model does not fit the images.
    """
    try:
        return MODELS[model.name](image_shape, num_classes, **model.arguments)
    except ValueError as error:
        raise ConfigError(f"model={model.name}: {error}") from error


def build_data(config: Config) -> Dataset:
    """The three splits of a configuration.

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


def check(config: Config) -> None:
    """Find out what is wrong before anything runs; loads no data.

    Raises:
        ConfigError: the network does not fit the dataset's images.
        DataError: the dataset is not there.
    """
    locate(config.data.name, config.data.dir)
    dataset = DATASETS[config.data.name]
    build_network(config.model, dataset.image_shape, dataset.num_classes)


@dataclass(frozen=True)
class ProgramSpec:
    """All that a compiled program depends on; seed, data, learning rate and weight decay are not in it."""

    net: Serial
    optimizer: Named
    schedule: Named
    num_steps: int
    label_smoothing: float
    preprocess: Preprocess
    image_shape: tuple[int, int, int]
    num_train: int
    batch_size: int
    eval_batch_size: int
    window: int | None

    def make_schedule(self) -> Callable[[Any], Any]:
        """Factor of the learning rate by step."""
        return SCHEDULES[self.schedule.name](self.num_steps, **self.schedule.arguments)

    def make_optimizer(self) -> optax.GradientTransformation:
        """The optimizer, its learning rate and weight decay still to be set."""
        return make_optimizer(self.optimizer.name, self.make_schedule(), **self.optimizer.arguments)

    def make_train_step(self) -> TrainStep:
        """The training step."""
        objective = make_cross_entropy(self.label_smoothing)
        return make_train_step(self.net, self.make_optimizer(), objective, self.preprocess)


class CompiledProgram(NamedTuple):
    """A program and what it cost."""

    program: Program
    trace: Callable[..., dict[str, jax.Array]]  # (params, model_state, images) -> activations by layer
    learning_rate_factor: Callable[[int], float]  # by step
    compile_seconds: float
    temporary_bytes: int | None  # of the training steps; None where the backend does not say


def program_spec(config: Config, dataset: Dataset) -> ProgramSpec:
    """What the program of a configuration depends on.

    Raises:
        ConfigError: the training split is smaller than one batch.
    """
    training = config.training
    num_train = len(dataset.train.labels)
    if training.batch_size > num_train:
        raise ConfigError(
            f"training.batch_size={training.batch_size} is not allowed; "
            f"give at most the {num_train} training examples"
        )
    data_only = ("learning_rate", "weight_decay")
    arguments = tuple(item for item in config.optimizer.items if item[0] not in data_only)
    return ProgramSpec(
        net=build_network(config.model, dataset.image_shape, dataset.num_classes),
        optimizer=Named(config.optimizer.name, arguments),
        schedule=config.schedule,
        num_steps=training.epochs * (num_train // training.batch_size),
        label_smoothing=training.label_smoothing,
        preprocess=Preprocess(dataset.mean, dataset.std, config.data.augmentations),
        image_shape=dataset.image_shape,
        num_train=num_train,
        batch_size=training.batch_size,
        eval_batch_size=training.eval_batch_size,
        window=training.window,
    )


@lru_cache(maxsize=16)
def compile_program(spec: ProgramSpec) -> CompiledProgram:
    """Compile the functions of a run, once for all runs with this specification."""
    schedule, optimizer = spec.make_schedule(), spec.make_optimizer()

    def init(key: jax.Array, learning_rate: jax.Array, weight_decay: jax.Array) -> TrainState:
        state = init_state(spec.net, optimizer, key, (1, *spec.image_shape))
        rates = {"learning_rate": learning_rate, "weight_decay": weight_decay}
        return state._replace(opt_state=set_rates(state.opt_state, **rates))

    run_steps = jax.jit(make_run_steps(spec.make_train_step()), donate_argnums=0)
    predict = jax.jit(make_predict(spec.net, spec.preprocess))

    def trace(params: Params, model_state: State, images: jax.Array) -> dict[str, jax.Array]:
        return spec.net.trace(params, model_state, spec.preprocess(images), train=False)[2]

    def images(count: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((count, *spec.image_shape), jnp.uint8)

    def integers(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, jnp.int32)

    began = time.perf_counter()
    number = jax.ShapeDtypeStruct((), jnp.float32)
    # XLA on the CPU takes a second for each jax.random.normal, four times as long as at level 1
    quick: Any = {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None
    lowered_init = jax.jit(init).lower(jax.eval_shape(lambda: jax.random.key(0)), number, number)
    compiled_init, state = lowered_init.compile(quick), lowered_init.out_info
    steps = spec.window or spec.num_train // spec.batch_size
    num_resident = spec.window * spec.batch_size if spec.window else spec.num_train
    compiled_steps = run_steps.lower(
        state,
        images(num_resident),
        integers(num_resident),
        integers(steps, spec.batch_size),
        integers(),
        integers(),
    ).compile()
    compiled_predict = predict.lower(state.params, state.model_state, images(spec.eval_batch_size)).compile()
    memory = compiled_steps.memory_analysis()
    return CompiledProgram(
        Program(compiled_init, compiled_steps, compiled_predict),
        jax.jit(trace),
        lambda step: float(schedule(step)),
        time.perf_counter() - began,
        None if memory is None else memory.temp_size_in_bytes,
    )
