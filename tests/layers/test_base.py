import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.layers import (
    Activation,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPool,
    Residual,
    Sequential,
)
from research.layers.base import abstract_init, cast, fold_in_keys, out_shape

NET = Sequential(
    (
        ("conv", Conv2D(4)),
        ("block", Residual(Sequential((("conv", Conv2D(4)), ("norm", BatchNorm()))))),
        ("flatten", Flatten()),
        ("logits", Dense(3)),
    )
)


def test_names_must_be_unique():
    with pytest.raises(ValueError, match="must be unique, repeated: act, conv"):
        Sequential(tuple((name, Flatten()) for name in ("conv", "act", "conv", "act", "pool")))


def test_empty_serial_is_the_identity():
    x = jnp.ones((2, 3))
    y, state = Sequential(()).apply({}, {}, x, train=False)
    assert (y == x).all()
    assert Sequential(()).init(jax.random.key(0), (2, 3)) == (state, {}) == ({}, {})


def test_params_and_state_lie_under_the_names_and_only_where_there_are_any():
    params, state = abstract_init(NET, (2, 6, 6, 1))
    assert {name: sorted(value) for name, value in params.items()} == {
        "conv": ["bias", "kernel"],
        "block": ["body"],
        "logits": ["bias", "kernel"],
    }
    assert sorted(params["block"]["body"]) == ["conv", "norm"]
    assert {name: list(inner) for name, inner in state["block"]["body"].items()} == {
        "norm": ["mean", "variance"]
    }
    assert list(state) == ["block"]


def test_equal_layers_start_from_different_kernels():
    net = Sequential((("a", Dense(4)), ("b", Dense(4))))
    params, _ = net.init(jax.random.key(0), (1, 4))
    assert not jnp.allclose(params["a"]["kernel"], params["b"]["kernel"])


def test_trace_gives_every_output_in_order_and_the_result_of_apply(draw, fill, quick_jit):
    params, state = fill(NET, (2, 6, 6, 1))
    x = draw((2, 6, 6, 1))
    y, new_state, outputs = NET.trace(params, state, x, train=True)
    assert list(outputs) == [
        "conv",
        "block/body/conv",
        "block/body/norm",
        "block/body",
        "block",
        "flatten",
        "logits",
    ]
    assert (outputs["logits"] == y).all()
    assert (outputs["block"] == outputs["block/body"] + outputs["conv"]).all()
    again = quick_jit(lambda x: NET.apply(params, state, x, train=True))(x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), again, (y, new_state))


def test_layers_at_different_places_draw_different_masks():
    net = Sequential((("a", Dropout(0.5)), ("b", Dropout(0.5))))
    x, keys = jnp.ones((2, 50)), jax.random.split(jax.random.key(0), 2)
    _, _, outputs = net.trace({}, {}, x, train=True, key=keys)
    # one mask alone would keep half; two independent ones keep a quarter
    assert int((outputs["a"] != 0).sum()) > 1.5 * int((outputs["b"] != 0).sum())


def test_each_child_gets_the_keys_folded_with_its_index():
    keys = jax.random.split(jax.random.key(0), 2)
    x = jnp.ones((2, 50))
    net = Sequential((("act", Activation()), ("drop", Dropout(0.5))))
    y, _ = net.apply({}, {}, x, train=True, key=keys)
    expected, _ = Dropout(0.5).apply({}, {}, x, train=True, key=fold_in_keys(keys, 1))
    assert (y == expected).all()
    assert fold_in_keys(None, 1) is None


def test_error_of_a_layer_begins_with_its_name():
    net = Sequential((("conv", Conv2D(4)), ("block", Sequential((("pool", MaxPool(3)),)))))
    with pytest.raises(ValueError, match=r"^block: pool: window spans 3x3 pixels, .* has 2x2"):
        abstract_init(net, (1, 2, 2, 1))


def test_nothing_left_of_the_input_is_an_error():
    class Vanish:
        def init(self, key, in_shape):
            return {}, {}

        def apply(self, params, state, x, *, train, key=None):
            return x[:, :0], {}

    with pytest.raises(ValueError, match=r"leaves \[2, 0\] of x \[2, 3\]"):
        out_shape(Vanish(), {}, {}, (2, 3))


@pytest.mark.usefixtures("unchecked_shapes")
def test_integers_are_refused_since_a_kernel_would_become_zeros():
    with pytest.raises(TypeError, match="floating point, x has dtype uint8"):
        cast(jnp.ones(3), jnp.ones(3, jnp.uint8))
    with pytest.raises(TypeError, match="uint8"):
        Dense(2).apply(
            {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}, {}, jnp.ones((1, 3), jnp.uint8), train=False
        )
