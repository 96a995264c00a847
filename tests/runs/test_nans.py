"""A run that diverges says at which step, and in ``debug.nans`` in which layer, the first bad value was."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.config import Config
from research.data import AUGMENTATIONS
from research.ops.activation import ACTIVATIONS
from research.records import read_run
from research.runs.program import forget_programs
from research.runs.run import run
from research.training.nans import all_finite


def config(nans=True, learning_rate=0.01, augmentations=(), **training) -> Config:
    """Three epochs of four steps of a network conv1-pool1-conv2-pool2-logits."""
    return Config.from_dict(
        {
            "model": {"name": "tiny"},
            "optimizer": {"name": "sgd", "learning_rate": learning_rate},
            "schedule": {"name": "constant"},
            "data": {"train_limit": 140, "augmentations": list(augmentations)},
            "training": {"epochs": 3, "batch_size": 32, "xla_optimization_level": 0} | training,
            "debug": {"nans": nans},
        }
    )


@pytest.fixture
def fresh():
    """Programs compiled from what a test puts into a table are forgotten."""
    forget_programs()
    yield
    forget_programs()


@pytest.mark.parametrize("options", [{}, {"scan_steps": 1}, {"scan_steps": 3}, {"window": 2}], ids=str)
@pytest.mark.parametrize("nans", [False, True])
def test_the_step_does_not_depend_on_where_calls_end(nans, options, tmp_path):
    result = run(config(nans, learning_rate=1e30, **options), tmp_path)
    said = "the loss is not finite at step 2"
    assert result.status == "diverged"
    assert result.error == (f"{said}; first in the output of conv2 at step 2" if nans else said)
    assert read_run(tmp_path).outcome.error == result.error


def test_a_gradient_is_named_though_the_loss_was_finite(fresh, monkeypatch, tmp_path):
    # sqrt has no finite slope at 0, where a ReLU is half of the time
    monkeypatch.setitem(ACTIVATIONS, "relu", lambda x: jnp.sqrt(jnp.maximum(x, 0)))
    result = run(config(), tmp_path)
    assert result.status == "diverged"
    assert result.error == "the loss is not finite at step 2; first in the gradient of conv2/bias at step 1"


def test_parameters_that_are_not_finite_are_seen_at_the_end_of_an_epoch(fresh, monkeypatch, tmp_path):
    monkeypatch.setitem(ACTIVATIONS, "relu", lambda x: jnp.sqrt(jnp.maximum(x, 0)))
    result = run(config(batch_size=128), tmp_path)
    assert result.error == (
        "the parameters are not finite after step 1; first in the gradient of conv2/bias at step 1"
    )


def test_a_bad_image_is_named(fresh, monkeypatch, tmp_path):
    monkeypatch.setitem(AUGMENTATIONS, "flip", lambda: lambda key, image: image / jnp.float32(0))
    result = run(config(augmentations=["flip"]), tmp_path)
    assert result.error == "the loss is not finite at step 1; first in the images at step 1"


@pytest.mark.parametrize(
    ("learning_rate", "error"),
    [
        (
            3e38,
            "the parameters are not finite after step 1; first in the new value of logits/kernel at step 1",
        ),
        (1e30, "the validation loss is not finite after step 1; first in the output of conv2 at validation"),
    ],
)
def test_what_overflows_at_the_end_of_an_epoch_is_named(learning_rate, error, tmp_path):
    result = run(config(learning_rate=learning_rate, batch_size=128), tmp_path)
    assert (result.status, result.error) == ("diverged", error)


def test_looking_for_it_changes_no_bit(tmp_path):
    for name in ("with", "without"):
        result = run(config(name == "with"), tmp_path / name)
        assert result.status == "completed"
        assert result.error is None
    arrays = [read_run(tmp_path / name).arrays() for name in ("with", "without")]
    jax.tree.map(np.testing.assert_array_equal, *arrays)
    assert config(True).fingerprint() == config(False).fingerprint()
    assert dataclasses.replace(config(True), seed=1).fingerprint() != config().fingerprint()


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_all_finite(bad):
    tree = {"kernel": jnp.ones((2, 2)), "count": jnp.arange(3)}
    assert all_finite(tree)
    assert all_finite({})
    assert not all_finite(tree | {"bias": jnp.array([0, bad])})
    assert not all_finite(jax.tree.map(lambda x: x * bad, tree))
