"""Parameters that a training step does not train."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.layers import BatchNorm, Dense, Flatten, Sequential
from research.layers.base import abstract_init, by_path
from research.layers.rewrite import with_frozen_statistics
from research.models import MODELS
from research.training.average import ema
from research.training.freeze import Freeze, check_freeze, join_params, split_params
from research.training.losses import cross_entropy
from research.training.optimizers import make_optimizer
from research.training.schedules import constant
from research.training.state import Batch, eval_params, init_state
from research.training.step import make_train_step

NET = Sequential(
    (("flatten", Flatten()), ("dense1", Dense(8)), ("norm1", BatchNorm()), ("logits", Dense(10)))
)


def first_layers(path):
    return not path.startswith("logits/")


def make(optimizer, **options):
    state = init_state(NET, optimizer, jax.random.key(0), (1, 8, 8, 1), averaged="average_weight" in options)
    scale = lambda images, keys=None: images / 255  # noqa: E731
    return make_train_step(NET, optimizer, cross_entropy, scale, **options), state


def batch(count):
    images = jax.random.randint(jax.random.key(1), (count, 8, 8, 1), 0, 256, jnp.uint8)
    return Batch(images, jnp.arange(count, dtype=jnp.int32) % 10)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("adamw", {"weight_decay": 0.1, "l1": 0.1, "clip_norm": 1.0, "gradient_noise": 0.1, "max_norm": 0.1}),
        ("schedule_free_adamw", {}),
        ("momentum", {"lookahead": 2, "layer_decay": 0.5, "sam": 0.05}),
    ],
)
def test_frozen_parameters_and_their_moments_keep_their_bits(name, arguments):
    layers = [name for name, _ in NET.layers]
    optimizer = make_optimizer(name, constant(1), layers, learning_rate=0.1, **arguments)
    step, before = make(optimizer, is_frozen=first_layers, average_weight=ema(0.7))
    step, after = jax.jit(step), before
    for _ in range(3):
        after, _ = step(after, batch(16))
    for tree in (
        lambda state: state.params,
        lambda state: state.average[0],
        lambda state: eval_params(state)[0],
    ):
        old, new = by_path(tree(before)), by_path(tree(after))
        for path in old:
            assert np.array_equal(old[path], new[path]) == first_layers(path), path
    moments = [
        (before, after)
        for (path, before), after in zip(
            jax.tree_util.tree_leaves_with_path(before.opt_state),
            jax.tree.leaves(after.opt_state),
            strict=True,
        )
        if "dense1" in jax.tree_util.keystr(path)
    ]
    assert moments
    assert all(np.array_equal(old, new) for old, new in moments)


def num_products(function, *arguments):
    return str(jax.make_jaxpr(function)(*arguments)).count("dot_general[")


def test_no_gradient_of_frozen_parameters_is_computed():
    """The gradient of the trained kernel is one product beside those of the outputs."""
    optimizer = make_optimizer("sgd", constant(1))
    frozen, state = make(optimizer, is_frozen=first_layers)
    whole, _ = make(optimizer)
    images = jnp.zeros((4, 8, 8, 1))
    forward = num_products(lambda: NET.apply(state.params, state.model_state, images, train=True))
    assert num_products(frozen, state, batch(4)) == forward + 1
    assert num_products(whole, state, batch(4)) >= forward + 3


def test_the_trained_parameters_change_as_if_the_gradients_of_the_others_were_zero():
    optimizer = make_optimizer("sgd", constant(1), learning_rate=1.0)
    frozen, state = make(optimizer, is_frozen=first_layers)
    whole, _ = make(optimizer)
    one, other = (jax.jit(step)(state, batch(16))[0].params["logits"] for step in (frozen, whole))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), one, other)


def test_split_parameters_join_again():
    params, _ = NET.init(jax.random.key(0), (1, 8, 8, 1))
    trained, frozen = split_params(params, first_layers)
    assert set(by_path(trained)) == {"logits/kernel", "logits/bias"}
    jax.tree.map(np.testing.assert_array_equal, join_params(trained, frozen), params)


@pytest.mark.parametrize("model", ["modern_cnn", "simple_resnet"])
def test_frozen_statistics_are_found_at_the_paths_of_the_state(model):
    net = MODELS[model]((16, 16, 3), 10)
    asked = []
    with_frozen_statistics(net, lambda path: bool(asked.append(path)))
    _, state = abstract_init(net, (1, 16, 16, 3))
    assert sorted(asked) == sorted(path for path in by_path(state) if path.endswith("/mean"))
    assert asked


def test_frozen_statistics_are_used_and_kept():
    net = with_frozen_statistics(NET, first_layers)
    params, state = NET.init(jax.random.key(0), (1, 8, 8, 1))
    x = jax.random.normal(jax.random.key(2), (4, 8, 8, 1))
    y, after = net.apply(params, state, x, train=True)
    np.testing.assert_array_equal(y, NET.apply(params, state, x, train=False)[0])
    jax.tree.map(np.testing.assert_array_equal, state, after)


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        ([Freeze("conv9")], "match=conv9 is not allowed: it takes no parameter of dense1/bias"),
        ([Freeze("*", from_epoch=3)], "every parameter is frozen in epoch 3"),
        ([Freeze("!logits"), Freeze("logits", until_epoch=2)], "every parameter is frozen in epoch 1"),
    ],
)
def test_a_pattern_that_freezes_none_or_all_is_refused(freeze, message):
    with pytest.raises(ValueError, match=message):
        check_freeze(freeze, abstract_init(NET, (1, 8, 8, 1))[0], 4)
