from dataclasses import dataclass

import jax
import jax.numpy as jnp
import pytest

from research.analysis import check_gradients
from research.layers import Activation, Conv2D, Dense, Dropout, Flatten, Residual, Sequential
from research.layers.base import ParameterFree
from research.models import MODELS


@jax.custom_vjp
def scaled(x, scale):
    return x * scale


def take_back(saved, dy):
    x, scale = saved
    return dy * scale * 1.001, jnp.sum(dy * x)  # the first is 0.1 % too large


scaled.defvjp(lambda x, scale: (x * scale, (x, scale)), take_back)


@dataclass(frozen=True)
class Scaled:
    def init(self, key, in_shape):
        return {"scale": jnp.float32(3.0)}, {}

    def apply(self, params, state, x, *, train, key=None):
        return scaled(x, params["scale"].astype(x.dtype)), {}


@dataclass(frozen=True)
class Root(ParameterFree):
    def apply(self, params, state, x, *, train, key=None):
        return jnp.sqrt(x), {}


def test_the_layer_and_the_array_with_a_wrong_gradient_are_named():
    net = Sequential(
        (
            ("conv", Conv2D(4)),
            ("act", Activation("relu")),
            ("block", Residual(Scaled())),
            ("drop", Dropout(0.5)),
            ("flatten", Flatten()),
            ("logits", Dense(3)),
        )
    )
    errors = {(each.path, each.array): each for each in check_gradients(net, (2, 5, 5, 2))}
    assert [which for which, each in errors.items() if not each.agrees] == [("block/body", "input")]
    wrong = errors["block/body", "input"].error
    assert 1e-5 < wrong < 1e-2  # |0.001 <g, u>| / |g|, where <g, u> / |g| is about normal
    assert max(each.error for each in errors.values() if each.agrees) < 1e-6
    assert [array for path, array in errors if path == "conv"] == ["bias", "kernel", "input"]
    assert [array for path, array in errors if path == "block"] == ["first input", "second input"]


def test_a_gradient_that_is_not_a_number_disagrees():
    (error,) = check_gradients(Root(), (2, 5))
    assert not error.agrees


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_gradients_of_every_model_agree(name):
    errors = check_gradients(MODELS[name]((16, 16, 3), 10), (2, 16, 16, 3))
    assert [each for each in errors if not each.agrees] == []
