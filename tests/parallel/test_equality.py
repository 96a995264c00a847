"""Every strategy on every number of devices gives what one device gives."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.data import Preprocess
from research.layers import Dropout, Flatten, Sequential
from research.models import MODELS
from research.parallel import Layout
from research.training.average import ema
from research.training.losses import focal
from research.utils.strict import Named

from .conftest import relative_error

EVERY = [(name, count) for name in ("jit", "shard_map", "pmap") for count in (1, 2, 4, 8)]


def some(few):
    return [pytest.param(*case, marks=[] if case in few else [pytest.mark.slow]) for case in EVERY]


NEAREST = Named("rotate", (("interpolation", "nearest"),))
PREPROCESS = Preprocess((0.3,), (0.3,), ("flip", "crop"))


@pytest.fixture(scope="module")
def plain(train):
    net = MODELS["plain"]((8, 8, 1), 10)  # of the widths for which auto takes Winograd's algorithm
    return net, train(net, "single", Layout.of(1), PREPROCESS)


@pytest.mark.parametrize(("strategy", "num_devices"), some({("jit", 8), ("shard_map", 2), ("pmap", 4)}))
def test_plain_in_float32(train, plain, strategy, num_devices):
    net, alone = plain
    trained = train(net, strategy, Layout.of(num_devices), PREPROCESS)
    assert relative_error(trained.state.params, alone.state.params) <= 1e-5
    assert trained.metrics.num_examples == alone.metrics.num_examples == 640
    assert trained.metrics.correct == alone.metrics.correct
    np.testing.assert_allclose(trained.metrics.loss, alone.metrics.loss, rtol=1e-5)


RESNET = MODELS["simple_resnet"]((8, 8, 1), 10, widths=(8, 16), blocks=1)


@pytest.fixture(scope="module")
def resnet(train):
    with jax.enable_x64(True):
        return train(RESNET, "single", Layout.of(1), PREPROCESS)


@pytest.mark.parametrize(("strategy", "num_devices"), some({("jit", 2)}))
def test_a_residual_network_in_float64(train, resnet, strategy, num_devices):
    with jax.enable_x64(True):
        trained = train(RESNET, strategy, Layout.of(num_devices), PREPROCESS)
    assert relative_error(trained.state.params, resnet.state.params) <= 1e-10
    # the running statistics are kept in float32
    assert relative_error(trained.state.model_state, resnet.state.model_state) <= 1e-6


@pytest.fixture(scope="module")
def resnet_step(train):
    return train(RESNET, "single", Layout.of(1), PREPROCESS, num_steps=1)


@pytest.mark.parametrize(("strategy", "num_devices"), some({("shard_map", 4)}))
def test_one_step_of_a_residual_network_in_float32(train, resnet_step, strategy, num_devices):
    trained = train(RESNET, strategy, Layout.of(num_devices), PREPROCESS, num_steps=1)
    assert relative_error(trained.state.params, resnet_step.state.params) <= 1e-5


@dataclass(frozen=True)
class Scale:
    """A network needs a parameter."""

    def init(self, key, in_shape):
        return {"scale": jnp.ones(())}, {}

    def apply(self, params, state, x, *, train, key=None):
        return params["scale"] * x, {}


def weigh(pixels, labels):
    """Whole numbers that sum without rounding: another mask or another crop gives another sum."""
    return pixels @ (jnp.arange(pixels.shape[-1]) % 7).astype(pixels.dtype)


@pytest.mark.parametrize(("strategy", "num_devices"), [("jit", 8), ("shard_map", 4), ("pmap", 2)])
def test_masks_and_augmentations_are_the_same_bits(train, strategy, num_devices):
    net = Sequential((("dropout", Dropout(0.5)), ("scale", Scale()), ("flatten", Flatten())))
    augment = Preprocess((0.0,), (1.0,), ("flip", "crop", NEAREST, "erase"))

    def whole_pixels(images, keys):
        return jnp.rint(255 * augment(images, keys=keys))

    def fingerprint(*layout, **options):
        trained = train(net, *layout, whole_pixels, num_steps=1, objective=weigh, **options)
        return trained.metrics.loss

    alone = fingerprint("single", Layout.of(1))
    assert fingerprint(strategy, Layout.of(num_devices)) == alone
    assert fingerprint("single", Layout.of(1), batch_size=31) != alone


@pytest.mark.parametrize(
    "strategy", ["jit", *(pytest.param(name, marks=pytest.mark.slow) for name in ("shard_map", "pmap"))]
)
def test_windows_give_the_same(train, plain, strategy):
    net, alone = plain
    trained = train(net, strategy, Layout.of(2), PREPROCESS, window=10)
    assert relative_error(trained.state.params, alone.state.params) <= 1e-5


def test_a_model_axis_gives_the_same(train, plain):
    net, alone = plain
    layout = Layout.of(data=4, model=2)
    trained = train(net, "jit", layout, PREPROCESS)
    assert relative_error(trained.state.params, alone.state.params) <= 1e-5
    kernels = {
        name: jax.tree.leaves(layout.shardings_of(alone.state).params[name])[1].spec
        for name in ("conv1", "conv2", "logits")
    }
    assert kernels["conv1"] == jax.sharding.PartitionSpec()  # 32 features are not worth it
    assert kernels["conv2"] == jax.sharding.PartitionSpec(None, None, None, "model")
    assert kernels["logits"] == jax.sharding.PartitionSpec(None, "model")


def test_local_batch_norm_is_another_thing(train, resnet_step):
    layout = Layout.of(4)
    local = train(RESNET, "shard_map", layout, PREPROCESS, num_steps=1, local_batch_norm=True)
    assert relative_error(local.state.params, resnet_step.state.params) > 1e-4
    # means of equal parts average to the mean of all; only the first norm sees the same inputs
    first = [s.model_state["norm1"]["mean"] for s in (local.state, resnet_step.state)]
    np.testing.assert_allclose(*first, rtol=1e-4, atol=1e-6)


REGULARIZED = MODELS["simple_resnet"](
    (8, 8, 1), 10, widths=(4,), blocks=1, norm="none", dropout=0.1, stochastic_depth=0.3
)
REGULARIZERS: dict[str, Any] = {"l1": 1e-4, "gradient_noise": 1e-4, "max_norm": 1.0, "clip_value": 0.5}


@pytest.fixture(scope="module")
def regularized(train):
    with jax.enable_x64(True):
        return train_regularized(train, "single", Layout.of(1))


def train_regularized(train, *where, **options):
    changes = REGULARIZERS | {"sam": 0.05}
    objective = partial(focal, class_weights=tuple(range(1, 11)))
    return train(
        REGULARIZED,
        *where,
        PREPROCESS,
        num_steps=3,
        objective=objective,
        arguments=changes,
        average_weight=ema(0.9),
        is_frozen=lambda path: path.startswith("block1/"),
        **options,
    )


@pytest.mark.parametrize(
    ("strategy", "num_devices", "num_parts"),
    [
        ("shard_map", 2, 2),
        pytest.param("jit", 2, 1, marks=pytest.mark.slow),  # it compiles for 10 s
        pytest.param("pmap", 4, 1, marks=pytest.mark.slow),
        pytest.param("single", 1, 4, marks=pytest.mark.slow),
    ],
)
def test_regularisation_averages_and_frozen_layers_are_the_same_on_every_strategy(
    train, regularized, strategy, num_devices, num_parts
):
    with jax.enable_x64(True):
        trained = train_regularized(train, strategy, Layout.of(num_devices), num_parts=num_parts)
    assert relative_error(trained.state.params, regularized.state.params) <= 1e-10
    assert relative_error(trained.state.average, regularized.state.average) <= 1e-6  # its weight is float32
    assert relative_error(trained.state.average[0], regularized.state.params) > 1e-4
