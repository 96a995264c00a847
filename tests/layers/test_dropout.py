import jax
import jax.numpy as jnp
import pytest

from research.layers import (
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    Residual,
    Sequential,
    SpatialDropout,
    StochasticDepth,
)

BOTH = pytest.mark.parametrize("kind", [Dropout, SpatialDropout, StochasticDepth])
NET = Sequential((("drop1", SpatialDropout(0.3)), ("block", Residual(Sequential((("drop", Dropout(0.5)),))))))


def test_masks_do_not_depend_on_how_the_batch_is_split(quick_jit):
    x = jnp.ones((6, 4, 4, 8))
    keys = jax.random.split(jax.random.key(0), 6)

    @quick_jit
    def apply(x, keys):
        return NET.apply({}, {}, x, train=True, key=keys)[0]

    def run(part: slice):
        return apply(x[part], keys[part])

    whole = run(slice(None))
    assert (run(slice(0, 3)) == whole[:3]).all()
    assert (run(slice(3, 6)) == whole[3:]).all()
    assert not (whole[0] == whole[1]).all()


@BOTH
def test_identity_when_not_training_and_needs_no_key(kind):
    x = jnp.ones((2, 4, 4, 8))
    assert (kind(0.5).apply({}, {}, x, train=False)[0] == x).all()


@BOTH
def test_training_without_keys(kind):
    with pytest.raises(ValueError, match=rf"{kind.__name__}\(rate=0.5\) with train=True needs key"):
        kind(0.5).apply({}, {}, jnp.ones((2, 4, 4, 8)), train=True)
    with pytest.raises(ValueError, match="needs key"):
        Sequential((("drop", kind(0.5)),)).apply({}, {}, jnp.ones((2, 4, 4, 8)), train=True)


def test_layers_that_draw_nothing_need_no_keys(fill):
    net = Sequential((("dense", Dense(2)), ("norm", BatchNorm())))
    params, state = fill(net, (2, 3))
    net.apply(params, state, jnp.ones((2, 3)), train=True)


@BOTH
@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_rate_out_of_range(kind, rate):
    with pytest.raises(ValueError, match=r"rate must be in \[0, 1\), got"):
        kind(rate)


def test_spatial_dropout_keeps_or_drops_channels_whole(quick_jit):
    keys = jax.random.split(jax.random.key(0), 4)
    apply = quick_jit(lambda x: SpatialDropout(0.5).apply({}, {}, x, train=True, key=keys)[0])
    y = apply(jnp.ones((4, 3, 3, 16)))
    assert (y == y[:, :1, :1]).all()
    assert set(jnp.unique(y).tolist()) == {0.0, 2.0}


def test_stochastic_depth_keeps_or_drops_the_body_of_each_example_whole(quick_jit):
    keys = jax.random.split(jax.random.key(0), 400)
    block = Residual(Sequential((("act", Activation("relu")), ("depth", StochasticDepth(0.25)))))
    x = jnp.ones((400, 2, 2, 3))
    y = quick_jit(lambda x: block.apply({}, {}, x, train=True, key=keys)[0])(x)
    assert (y == y[:, :1, :1, :1]).all()
    dropped = y[:, 0, 0, 0] == 1
    assert jnp.allclose(y[~dropped], 1 + 1 / 0.75)
    assert abs(dropped.mean() - 0.25) < 0.08
    assert (block.apply({}, {}, x, train=False)[0] == 2).all()
