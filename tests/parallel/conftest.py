"""Train a network for some steps by a strategy, on some of the eight CPU devices of the tests."""

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.data import load_dataset
from research.layers.base import abstract_init
from research.layers.rewrite import with_axis_name, without_chunks
from research.parallel import DATA_AXIS, EXPLICIT_COLLECTIVES, STRATEGIES, Layout, make_feed
from research.parallel.hlo import Collective, collectives
from research.training.epoch import epoch_order, make_run_steps
from research.training.losses import cross_entropy
from research.training.optimizers import make_optimizer
from research.training.schedules import constant
from research.training.state import TrainState
from research.training.step import make_train_step


def draw(net, dtype):
    """Parameters and state without a compilation per kernel."""
    params, model_state = abstract_init(net, (1, 8, 8, 1))
    random = np.random.default_rng(0)

    def leaf(path, shaped):
        name, shape = path[-1].key, shaped.shape
        if name == "kernel":
            return jnp.asarray(random.normal(0, np.prod(shape[:-1]) ** -0.5, shape), dtype)
        return jnp.full(shape, name in ("scale", "variance"), dtype)

    params = jax.tree_util.tree_map_with_path(leaf, params)
    dtype = jnp.float32
    return params, jax.tree_util.tree_map_with_path(leaf, model_state)


# level 0 rounds differently for each strategy, level 1 does not; fusion emitters double the time of compiling
OPTIMIZED: dict[str, Any] = {"xla_backend_optimization_level": 1}
if os.environ.get("CNN_TESTS_OPTIMIZE"):
    OPTIMIZED["xla_backend_optimization_level"] = 3
elif jax.__version_info__ < (0, 11):
    OPTIMIZED["xla_cpu_use_fusion_emitters"] = False


class Trained(NamedTuple):
    state: Any
    metrics: Any
    collectives: list[Collective]


@pytest.fixture(scope="session")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="session")
def train(digits):
    """Train ``net`` for ``num_steps``; float64 where JAX has it switched on."""

    def train(
        net,
        strategy: str,
        layout: Layout,
        preprocess,
        *,
        num_steps: int = 20,
        batch_size: int = 32,
        window: int | None = None,
        objective=None,
        local_batch_norm: bool = False,
        cast_images: bool = True,
        arguments: Mapping[str, Any] = MappingProxyType({}),
        **step_options,
    ) -> Trained:
        dtype = jnp.float64 if jax.config.read("jax_enable_x64") else jnp.float32
        optimizer = make_optimizer("adam", constant(1), learning_rate=1e-3, **arguments)
        params, model_state = draw(net, dtype)
        state = TrainState(jnp.int32(0), params, model_state, optimizer.init(params), jax.random.key(0))
        if step_options.get("average_weight"):
            state = state._replace(average=jax.tree.map(jnp.copy, (params, model_state)))
        net = without_chunks(net) if strategy == "jit" else net
        axis_name = DATA_AXIS if strategy in EXPLICIT_COLLECTIVES else None
        step = make_train_step(
            with_axis_name(net, None if local_batch_norm else axis_name),
            optimizer,
            objective or cross_entropy,
            (lambda images, keys=None: preprocess(images, keys=keys).astype(dtype))
            if cast_images
            else preprocess,
            axis_name=axis_name,
            **step_options,
        )
        run_steps = make_run_steps(step, axis_name=axis_name)
        order = epoch_order(jax.random.key(1), 1, len(digits.train.labels), batch_size)[:num_steps]
        feed = make_feed(layout, digits.train.images, digits.train.labels, window)
        compiled, executable, all_metrics = None, None, []
        state = jax.device_put(state, layout.shardings_of(state))
        for examples, start, stop in feed([order], 0):
            bounds = (jnp.int32(start), jnp.int32(stop))
            if compiled is None:
                compiled, executable = STRATEGIES[strategy](
                    run_steps,
                    layout,
                    *jax.eval_shape(lambda *a: a, state, *examples, *bounds),
                    options=OPTIMIZED,
                )
            state, metrics = compiled(state, *examples, *bounds)
            all_metrics.append(jax.device_get(metrics._replace(loss=metrics.loss.sum())))
        assert executable is not None
        metrics = jax.tree.map(lambda *parts: sum(parts), *all_metrics)
        return Trained(jax.device_get(state), metrics, collectives(executable.as_text() or ""))

    return train


def relative_error(a: Any, b: Any) -> float:
    """The largest ``‖a - b‖ / ‖b‖`` of the arrays of two trees."""
    errors = jax.tree.map(lambda a, b: np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30), a, b)
    return max(jax.tree.leaves(errors))
