import jax
import jax.numpy as jnp
import pytest

from research.layers import Activation, BatchNorm, Conv2D, Dropout, Residual, Sequential
from research.layers.base import abstract_init, fold_in_keys


def test_identity_shortcut_adds_the_input():
    y, state = Residual(Activation("relu")).apply({}, {}, jnp.array([[-1.0, 2.0]]), train=False)
    assert y.tolist() == [[-1.0, 4.0]]
    assert state == {}


def test_params_and_state_of_both_branches(draw, fill):
    layer = Residual(
        Sequential((("conv", Conv2D(4)), ("norm", BatchNorm()))),
        Sequential((("conv", Conv2D(4, 1)), ("norm", BatchNorm()))),
    )
    params, state = fill(layer, (2, 5, 5, 3))
    assert sorted(params) == sorted(state) == ["body", "shortcut"]
    x = draw((2, 5, 5, 3))
    y, new_state, outputs = layer.trace(params, state, x, train=True)
    assert jnp.allclose(y, outputs["body"] + outputs["shortcut"])
    assert {"body/conv", "body/norm", "shortcut/conv", "shortcut/norm"} < set(outputs)
    assert not jnp.allclose(new_state["shortcut"]["norm"]["mean"], state["shortcut"]["norm"]["mean"])


def test_branches_draw_from_different_keys():
    x, keys = jnp.ones((2, 50)), jax.random.split(jax.random.key(0), 2)
    y, _ = Residual(Dropout(0.5), Dropout(0.5)).apply({}, {}, x, train=True, key=keys)
    body, shortcut = (
        Dropout(0.5).apply({}, {}, x, train=True, key=fold_in_keys(keys, i))[0] for i in range(2)
    )
    assert (y == body + shortcut).all()
    assert not (body == shortcut).all()


@pytest.mark.parametrize(
    ("layer", "shortcut"),
    [
        (Residual(Conv2D(4)), [1, 6, 6, 3]),
        (Residual(Conv2D(4), Conv2D(4, strides=2)), [1, 3, 3, 4]),
        (Residual(Conv2D(4), Conv2D(1)), [1, 6, 6, 1]),  # shapes that would broadcast
    ],
    ids=["identity", "projection", "broadcast"],
)
def test_branches_of_different_shapes(layer, shortcut):
    message = f"body gives shape [1, 6, 6, 4], shortcut {shortcut} for x [1, 6, 6, 3]"
    with pytest.raises(ValueError) as error:
        abstract_init(layer, (1, 6, 6, 3))
    assert message in str(error.value)
