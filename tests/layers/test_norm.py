import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from research.layers import BatchNorm, GroupNorm, LayerNorm


@pytest.fixture
def x(draw):
    return 5 + 3 * draw((8, 4, 4, 2))


def test_running_statistics_move_from_zero_and_one_by_decay(x):
    layer = BatchNorm(decay=0.9)
    params, state = layer.init(jax.random.key(0), x.shape)
    assert state["mean"].tolist() == [0.0, 0.0]
    assert state["variance"].tolist() == [1.0, 1.0]
    batch = np.asarray(x, np.float64)
    mean, variance = np.zeros(2), np.ones(2)
    for _ in range(3):
        _, state = layer.apply(params, state, x, train=True)
        mean = 0.9 * mean + 0.1 * batch.mean((0, 1, 2))
        variance = 0.9 * variance + 0.1 * batch.var((0, 1, 2))
    np.testing.assert_allclose(state["mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(state["variance"], variance, rtol=1e-5)


def test_training_uses_the_batch_and_evaluation_the_running_statistics(x):
    layer = BatchNorm()
    params, state = layer.init(jax.random.key(0), x.shape)
    y, _ = layer.apply(params, state, x, train=True)
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1, 2)), 1, atol=1e-4)
    state = {"mean": jnp.array([5.0, 0.0]), "variance": jnp.array([9.0, 1.0])}
    params = {"scale": jnp.array([2.0, 1.0]), "bias": jnp.array([1.0, 0.0])}
    y, same = layer.apply(params, state, x, train=False)
    np.testing.assert_allclose(y[..., 0], 2 * (x[..., 0] - 5) / 3 + 1, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(y[..., 1], x[..., 1], rtol=1e-4)
    assert same is state


def test_axis_name_makes_the_statistics_of_a_split_batch_global(x):
    params, state = BatchNorm().init(jax.random.key(0), x.shape)
    y, new_state = BatchNorm().apply(params, state, x, train=True)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    batch, whole = PartitionSpec("data"), PartitionSpec()
    split = jax.shard_map(
        lambda x: BatchNorm(axis_name="data").apply(params, state, x, train=True),
        mesh=mesh,
        in_specs=batch,
        out_specs=(batch, whole),
    )
    y_split, state_split = split(x)
    np.testing.assert_allclose(y_split, y, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), state_split, new_state)


@pytest.mark.parametrize("layer", [LayerNorm(), GroupNorm(1)])
def test_layer_and_group_norm_treat_each_example_alone(layer, x, quick_jit):
    params, state = layer.init(jax.random.key(0), x.shape)
    y = quick_jit(lambda x: layer.apply(params, state, x, train=True)[0])(x)
    alone = quick_jit(lambda x: layer.apply(params, state, x, train=False)[0])(x[:1])
    np.testing.assert_allclose(y[:1], alone, atol=1e-6)
    np.testing.assert_allclose(y.mean((1, 2, 3)), 0, atol=1e-5)


def test_group_norm_needs_channels_that_divide():
    with pytest.raises(ValueError, match="x has 6 channels, not a multiple of num_groups=4"):
        GroupNorm(4).init(jax.random.key(0), (1, 4, 4, 6))
