import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.layers import INITIALIZERS, Conv2D, Dense

FAN_IN, FAN_OUT = 5 * 5 * 8, 5 * 5 * 32
VARIANCES = {
    "he_normal": 2 / FAN_IN,
    "he_uniform": 2 / FAN_IN,
    "he_normal_fan_out": 2 / FAN_OUT,
    "he_uniform_fan_out": 2 / FAN_OUT,
    "glorot_normal": 2 / (FAN_IN + FAN_OUT),
    "glorot_uniform": 2 / (FAN_IN + FAN_OUT),
    "glorot_normal_fan_in": 1 / FAN_IN,
    "glorot_uniform_fan_in": 1 / FAN_IN,
    "glorot_normal_fan_out": 1 / FAN_OUT,
    "glorot_uniform_fan_out": 1 / FAN_OUT,
}


@pytest.fixture(scope="module")
def kernels():
    """One compilation for all."""
    shape = (5, 5, 8, 32)
    return jax.jit(lambda key: {name: f(key, shape, jnp.float32) for name, f in INITIALIZERS.items()})(
        jax.random.key(0)
    )


@pytest.mark.parametrize("name", INITIALIZERS)
def test_variance_and_shape_of_the_distribution(name, kernels):
    kernel = np.asarray(kernels[name])
    deviation = VARIANCES[name] ** 0.5
    # 6,400 draws: the relative error of the deviation is about 0.9 %
    assert kernel.std() == pytest.approx(deviation, rel=0.04)
    assert abs(kernel.mean()) < 4 * deviation / 80
    largest = np.abs(kernel).max() / deviation
    expected = 3**0.5 if "uniform" in name else 2 / 0.8796  # two deviations, and the rescaling
    assert largest == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("layer", "in_shape"),
    [
        (Conv2D(4, initializer="glorot_uniform_fan_out"), (1, 8, 8, 3)),
        (Dense(4, initializer="glorot_uniform_fan_out"), (1, 6)),
    ],
    ids=["conv", "dense"],
)
def test_layers_use_the_named_one_and_zero_biases(layer, in_shape):
    params, _ = layer.init(jax.random.key(0), in_shape)
    expected = INITIALIZERS["glorot_uniform_fan_out"](jax.random.key(0), params["kernel"].shape, jnp.float32)
    assert (params["kernel"] == expected).all()
    assert (params["bias"] == 0).all()
