"""Accumulation, rematerialisation and mixed precision: what they change, and what they must not."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.config import Config, ConfigError
from research.data import Preprocess
from research.layers.remat import Remat
from research.models import MODELS
from research.parallel import Layout
from research.runs.spec import ProgramSpec, program_spec

from .conftest import draw, relative_error

PREPROCESS = Preprocess((0.3,), (0.3,), ("flip", "crop"))
DROPPING = MODELS["modern_cnn"]((8, 8, 1), 10)
PLAIN = MODELS["plain"]((8, 8, 1), 10, widths=(8, 8, 8, 8))
RESNET = MODELS["simple_resnet"]((8, 8, 1), 10, widths=(8, 16), blocks=1)


@pytest.mark.parametrize(("strategy", "num_devices"), [("single", 1), ("jit", 2), ("shard_map", 2)])
def test_an_accumulated_gradient_is_that_of_the_whole_batch(train, strategy, num_devices):
    whole = train(PLAIN, "single", Layout.of(1), PREPROCESS)
    parts = train(PLAIN, strategy, Layout.of(num_devices), PREPROCESS, num_parts=4)
    assert relative_error(parts.state.params, whole.state.params) <= 1e-5
    assert parts.metrics.num_examples == whole.metrics.num_examples
    assert parts.metrics.correct == whole.metrics.correct


@pytest.mark.slow
def test_batch_norm_sees_a_part(train):
    whole = train(RESNET, "single", Layout.of(1), PREPROCESS, num_steps=1)
    parts = train(RESNET, "single", Layout.of(1), PREPROCESS, num_steps=1, num_parts=4)
    assert relative_error(parts.state.params, whole.state.params) > 1e-4
    # but the parts are the same however the batch is split
    split = train(RESNET, "shard_map", Layout.of(2), PREPROCESS, num_steps=1, num_parts=4)
    assert relative_error(split.state.params, parts.state.params) <= 1e-5


def gradient(net, params, state, x, key):
    def loss(params):
        y, new_state = net.apply(params, state, x, train=True, key=key)
        return jnp.square(y).mean(), new_state

    return jax.grad(loss, has_aux=True)(params)


def test_rematerialisation_changes_no_gradient():
    net = MODELS["plain"]((8, 8, 1), 10, widths=(8, 8, 8, 8), norm="batch")
    params, state = draw(net, jnp.float32)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 8, 8, 1)), jnp.float32)
    keys = jax.random.split(jax.random.key(0), 4)
    kept = jax.jit(gradient, static_argnums=0)(net, params, state, x, keys)
    again = jax.jit(gradient, static_argnums=0)(Remat(net), params, state, x, keys)
    assert relative_error(again[0], kept[0]) <= 1e-5
    assert relative_error(again[1], kept[1]) <= 1e-6


def test_rematerialisation_draws_the_same_masks():
    x = jnp.ones((2, 8, 8, 1))
    params, state = draw(DROPPING, jnp.float32)
    keys = jax.random.split(jax.random.key(0), 2)
    (y, _), (again, _) = (
        jax.jit(partial(net.apply, train=True))(params, state, x, key=keys)
        for net in (DROPPING, Remat(DROPPING))
    )
    np.testing.assert_allclose(y, again, atol=1e-5)
    assert len(Remat(DROPPING).blocks()) > 1
    assert [(name, layer) for block in Remat(DROPPING).blocks() for _, name, layer in block] == [
        *DROPPING.layers
    ]


def spec(digits, **training) -> ProgramSpec:
    values = {
        "model": {"name": "simple_resnet", "widths": [8, 16]},
        "training": {"epochs": 1, "batch_size": 64} | training,
    }
    return program_spec(Config.from_dict(values), digits)


@pytest.mark.slow
def test_bf16_is_close_and_keeps_what_must_be_precise(train):
    preprocess = Preprocess((0.3,), (0.3,), dtype="bfloat16")
    precise = train(RESNET, "single", Layout.of(1), Preprocess((0.3,), (0.3,)), num_steps=1)
    rough = train(RESNET, "single", Layout.of(1), preprocess, num_steps=1, cast_images=False)
    assert {leaf.dtype for leaf in jax.tree.leaves(rough.state.params)} == {jnp.dtype("float32")}
    assert {leaf.dtype for leaf in jax.tree.leaves(rough.state.model_state)} == {jnp.dtype("float32")}
    assert rough.metrics.loss.dtype == jnp.float32
    assert 0 < abs(rough.metrics.loss - precise.metrics.loss) < 0.02 * precise.metrics.loss
    difference = relative_error(rough.state.model_state, precise.state.model_state)
    assert 0 < difference < 0.02


def test_a_batch_that_does_not_divide_into_parts_is_refused(digits):
    with pytest.raises(
        ConfigError, match=r"training\.batch_size=64 is not allowed over 3 parts; .* 63 or 66"
    ):
        spec(digits, accumulate=3)
