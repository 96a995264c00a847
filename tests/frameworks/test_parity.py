"""Every framework computes what JAX computes in float64, and the same bits twice."""

from dataclasses import replace

import numpy as np
import pytest

from research.frameworks.base import FRAMEWORKS, Framework, Task
from research.frameworks.measure import check_parity, set_threads
from research.frameworks.networks import parameter_shapes
from research.frameworks.numpy_adapter import NumPy
from research.frameworks.parity import compare_steps, draw_weights, first_batches, is_repeatable, make_order

KERAS = [name for name in FRAMEWORKS if name.startswith("keras")]


def installed(name: str) -> str:
    entry = FRAMEWORKS[name]
    if not entry.is_installed:
        pytest.skip(f"{name} is not installed; {entry.install}")
    return name


def load(name: str, task: Task) -> Framework:
    set_threads(FRAMEWORKS[installed(name)].packages, 1)
    return FRAMEWORKS[name].build(task)


@pytest.fixture(scope="module")
def data(digits):
    images, labels = digits.train
    return {"train_images": images.astype(np.float32) / 255, "train_labels": labels}


@pytest.fixture(scope="module")
def params(task):
    return draw_weights(parameter_shapes(task), 0)


@pytest.mark.parametrize("name", [name for name in FRAMEWORKS if name not in KERAS])
def test_parity(name, data, workplace, task):
    framework = load(name, task)
    spec = {"folder": str(workplace.folder), "shapes": parameter_shapes(task), "seed": 0, **workplace.common}
    outcome = check_parity(framework, data, spec)
    assert outcome["error"] is None, outcome
    assert outcome["repeatable"]


@pytest.mark.parametrize("name", KERAS)
def test_parity_of_keras_in_a_process_of_its_own(name, workplace, task):
    outcome = workplace.run("parity", installed(name), task)
    assert outcome["error"] is None, outcome
    assert outcome["repeatable"]


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        ("jax_lax", "momentum"),
        ("jax_im2col", "sgd"),
        ("flax_linen", "momentum"),
        ("flax_nnx", "sgd"),
        ("torch", "sgd"),
        ("torch", "momentum"),
        ("torch_channels_last", "sgd"),
    ],
)
def test_the_parameters_after_ten_steps_are_those_of_numpy(name, optimizer, data, params, task):
    ends = []
    for each in ("numpy", name):
        framework = load(each, replace(task, optimizer=optimizer))
        framework.load(params)
        for key, p in framework.parameters().items():
            np.testing.assert_array_equal(p, params[key])
        framework.train(data["train_images"], data["train_labels"], make_order(0, 1, 640, 64))
        ends.append(framework.parameters())
    for key, p in ends[0].items():
        np.testing.assert_allclose(ends[1][key], p, rtol=1e-3, atol=1e-6)


def test_a_framework_that_changes_between_runs_is_not_repeatable(data, params, task):
    class Changing(NumPy):
        def load(self, params):
            self.loads = getattr(self, "loads", 0) + 1
            super().load({key: p + np.float32(1e-6 * self.loads) for key, p in params.items()})

    framework = Changing(task)
    batches = first_batches(0, 640, 64)[0, :2]
    assert not is_repeatable(framework, params, data["train_images"], data["train_labels"], batches)


def test_only_our_own_jax_has_other_networks(task):
    with pytest.raises(ValueError, match="'mlp'"):
        FRAMEWORKS["numpy"].build(replace(task, model="mlp"))


def test_order_has_each_example_at_most_once_an_epoch():
    order = make_order(3, epochs=2, num_examples=100, batch_size=32)
    assert order.shape == (2, 3, 32)
    assert all(len(set(epoch.ravel().tolist())) == 96 for epoch in order)
    assert (order[0] != order[1]).any()
    np.testing.assert_array_equal(order, make_order(3, epochs=2, num_examples=100, batch_size=32))
    with pytest.raises(ValueError, match="10 examples are less than one batch of 32"):
        make_order(0, epochs=1, num_examples=10, batch_size=32)


def test_small_errors_pass_and_large_ones_do_not():
    b = {"a/kernel": np.ones(4), "a/bias": np.ones(1)}
    losses = np.array([1.0, 2.0, 3.0])
    assert compare_steps(b, losses + np.array([1e-4, 0, 1]), b, losses).error is None
    assert compare_steps(b, losses + 2e-3, b, losses).error
    off = compare_steps({**b, "a/bias": np.ones(1) + 1e-4}, losses, b, losses)
    assert off.worst_array == "a/bias"
    assert off.error
    assert compare_steps({**b, "a/bias": np.array([np.nan])}, losses, b, losses).error
    with pytest.raises(ValueError, match=r"\(1,\)"):
        compare_steps({"a/kernel": np.ones(4)}, losses, b, losses)
