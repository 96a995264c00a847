"""Groups of parameters, layer-wise decay, and Muon's choice of kernels."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from research.layers.base import by_path
from research.training.optimizers import Group, group_params, make_optimizer, set_rates
from research.training.optimizers.groups import matches
from research.training.schedules import constant
from research.training.state import TrainState, eval_params

PARAMS = {
    "conv1": {"kernel": jnp.full((1, 1, 1, 2), 2.0), "bias": jnp.zeros(2)},
    "norm1": {"scale": jnp.ones(2)},
    "block1": {"conv1": {"kernel": jnp.full((1, 1, 2, 2), 2.0)}},
    "logits": {"kernel": jnp.full((2, 2), 2.0), "bias": jnp.zeros(2)},
}
LAYERS = ("conv1", "norm1", "act1", "block1", "logits")
GRADS = jax.tree.map(jnp.ones_like, PARAMS)


def updates_of(**arguments: Any) -> dict[str, Any]:
    """The first number of each update of the first step, by the names of the parameters."""
    arguments = {"learning_rate": 1.0} | arguments
    optimizer = make_optimizer("sgd", constant(1), LAYERS, **arguments)
    updates, _ = optimizer.update(GRADS, optimizer.init(PARAMS), PARAMS)
    return {path: leaf.ravel()[0] for path, leaf in by_path(updates).items()}


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("*/bias", "conv1/bias", True),
        ("*/bias", "block1/conv1/bias", True),
        ("*/bias", "conv1/kernel", False),
        ("conv1", "conv1/kernel", True),
        ("conv1", "block1/conv1/kernel", False),
        ("conv*", "conv12/kernel", True),
        ("block1/conv1/*", "block1/conv1/kernel", True),
        ("!logits", "conv1/kernel", True),
        ("!logits", "logits/kernel", False),
        ("!*/bias", "conv1/kernel", True),
        ("CONV1", "conv1/kernel", False),
    ],
)
def test_patterns(pattern, path, expected):
    assert matches(pattern, path) == expected


def test_the_first_group_that_matches_gives_the_factors_of_both_rates():
    groups = (
        Group("*/bias", learning_rate=2.0),
        Group("logits", weight_decay=0.0),
        Group("block1", None, 0.0),
    )
    updates = updates_of(weight_decay=0.5, groups=groups)
    assert updates == {
        "block1/conv1/kernel": 0.0,
        "conv1/bias": -2.0,
        "conv1/kernel": -2.0,
        "logits/bias": -2.0,
        "logits/kernel": -1.0,
        "norm1/scale": -1.0,
    }


def test_a_group_may_have_an_optimizer_with_rates_of_its_own():
    groups = (Group("logits", "adam", 0.25), Group("conv1", "lion"))
    updates = updates_of(groups=groups, learning_rate=3.0)
    np.testing.assert_allclose(updates["logits/kernel"], -0.25, rtol=1e-5)
    np.testing.assert_allclose(updates["conv1/kernel"], -0.0003 * (1 + 0.1 * 2), rtol=1e-5)
    assert updates["norm1/scale"] == -3.0


def test_the_norm_that_is_clipped_is_that_of_all_groups():
    groups = (Group("logits"), Group("block1"))
    norm = np.sqrt(sum(leaf.size for leaf in jax.tree.leaves(PARAMS)))
    clipped = updates_of(groups=groups, clip_norm=1.0)
    np.testing.assert_allclose(list(clipped.values()), -1 / norm, rtol=1e-5)


def test_layer_decay_multiplies_the_rate_of_a_layer_for_each_layer_with_a_kernel_after_it():
    updates = updates_of(layer_decay=0.5, groups=(Group("*/bias", learning_rate=3.0),))
    assert updates == {
        "block1/conv1/kernel": -0.5,
        "conv1/bias": -0.75,
        "conv1/kernel": -0.25,
        "logits/bias": -3.0,
        "logits/kernel": -1.0,
        "norm1/scale": -0.25,
    }
    with pytest.raises(ValueError, match=r"layer_decay=0\.5 needs the place of the layer block1 in layers"):
        make_optimizer("sgd", constant(1), ("conv1", "logits"), layer_decay=0.5).init(PARAMS)


def test_a_group_that_takes_no_parameter_is_refused_with_the_names_that_there_are():
    with pytest.raises(
        ValueError, match=r"match=conv2 is not allowed: it takes no parameter of block1/conv1"
    ):
        group_params(PARAMS, (Group("conv2"),))


def test_the_rate_stays_data_in_groups():
    optimizer = make_optimizer("sgd", constant(1), groups=(Group("logits", learning_rate=2.0),))
    rates = {"learning_rate": jnp.float32(0.5), "weight_decay": jnp.float32(0)}
    updates = by_path(optimizer.update(GRADS, set_rates(optimizer.init(PARAMS), **rates), PARAMS)[0])
    assert updates["logits/bias"][0] == -1.0
    assert updates["conv1/bias"][0] == -0.5


def test_parameters_of_other_groups_are_evaluated_as_they_are():
    groups = (Group("logits", "schedule_free_adamw", 1.0),)
    optimizer = make_optimizer("sgd", constant(1), groups=groups, learning_rate=1.0)
    params: Any = PARAMS
    state = optimizer.init(params)
    for _ in range(2):
        updates, state = optimizer.update(GRADS, state, params)
        params = optax.apply_updates(params, updates)
    used: Any = eval_params(TrainState(jnp.int32(0), params, {}, state, jax.random.key(0)))[0]
    np.testing.assert_array_equal(used["conv1"]["bias"], params["conv1"]["bias"])
    np.testing.assert_allclose(used["logits"]["bias"], -1.5, rtol=1e-5)  # the mean of -1 and -2
    np.testing.assert_allclose(params["logits"]["bias"], 0.1 * -2 + 0.9 * -1.5, rtol=1e-5)


def test_the_singular_values_of_muons_updates_are_near_one():
    shapes = {"conv1": (3, 3, 3, 8), "conv2": (3, 3, 8, 16), "dense1": (16, 64), "logits": (64, 10)}
    keys = jax.random.split(jax.random.key(0), len(shapes))
    grads = {
        layer: {"kernel": jax.random.normal(key, shape), "bias": jnp.ones(shape[-1])}
        for key, (layer, shape) in zip(keys, shapes.items(), strict=True)
    }
    optimizer = make_optimizer("muon", constant(1), learning_rate=1.0, weight_decay=0.0)
    updates = by_path(jax.jit(optimizer.update)(grads, optimizer.init(grads), grads)[0])
    for path, update in updates.items():
        if path.endswith("bias") or path.startswith("logits"):
            np.testing.assert_allclose(abs(update), 0.15, rtol=1e-3)  # the first step of Adam
            continue
        matrix = update.reshape(-1, update.shape[-1])
        rows, columns = matrix.shape
        values = np.linalg.svd(matrix, compute_uv=False) / max(1, columns / rows) ** 0.5
        assert values.min() > 0.5
        assert values.max() < 1.3
