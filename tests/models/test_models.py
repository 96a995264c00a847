"""What holds for every model."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.analysis import count_parameters
from research.layers.base import abstract_init
from research.models import MODELS
from research.training.optimizers.muon import HEAD

DIGITS, MNIST, CIFAR = (8, 8, 1), (28, 28, 1), (32, 32, 3)


@pytest.mark.parametrize(
    ("name", "image_shape", "arguments", "expected"),
    [
        ("plain", MNIST, {"depth": 1}, 16_010),
        ("plain", MNIST, {"depth": 2}, 50_186),
        ("plain", MNIST, {"depth": 3}, 87_114),
        ("plain", MNIST, {"depth": 4}, 124_042),
        ("plain", MNIST, {"depth": 2, "norm": "batch"}, 50_186 + 32 + 64),
        (
            "plain",
            MNIST,
            {"depth": 3, "widths": (16, 32, 64), "padding": "VALID", "norm": "batch"},
            29_178,
        ),
        ("tiny", MNIST, {}, 5_258),
        ("reference", MNIST, {}, 105_866),
        ("mlp", MNIST, {}, 101_770),
        ("mlp_wide", MNIST, {}, 776_510),
        ("conv_pair", MNIST, {}, 421_642),
        ("classic", CIFAR, {}, 545_098),
        ("simple_cnn", CIFAR, {}, 620_362),
        ("modern_cnn", CIFAR, {}, 1_283_914),
        ("simple_resnet", CIFAR, {}, 2_777_674),
    ],
)
def test_number_of_parameters(name, image_shape, arguments, expected):
    net = MODELS[name](image_shape, 10, **arguments)
    params, _ = abstract_init(net, (1, *image_shape))
    assert count_parameters(params) == expected


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("image_shape", "num_classes"),
    [
        (DIGITS, 10),
        pytest.param(MNIST, 10, marks=pytest.mark.slow),  # test_number_of_parameters takes this shape too
        (CIFAR, 100),
        ((1, 1, 1), 2),
    ],
)
def test_every_model_runs_on_every_dataset(name, image_shape, num_classes):
    # nothing VALID fits a single pixel
    if name == "tiny" and image_shape == (1, 1, 1):
        with pytest.raises(ValueError, match="conv1: window spans 3x3 pixels, the padded image has 1x1"):
            MODELS[name](image_shape, num_classes)
        return
    net = MODELS[name](image_shape, num_classes)
    params, state = abstract_init(net, (5, *image_shape))
    x = jax.ShapeDtypeStruct((5, *image_shape), jnp.float32)

    def train(params, state, x):
        return net.apply(params, state, x, train=True, key=jax.random.split(jax.random.key(0), 5))

    logits, new_state = jax.eval_shape(train, params, state, x)
    assert logits.shape == (5, num_classes)
    assert new_state == state


@pytest.mark.parametrize("name", MODELS)
def test_every_model_takes_the_common_names_and_is_a_value(name):
    model = MODELS[name]
    arguments = {"activation": "tanh", "initializer": "glorot_uniform", "algorithm": "lax"}
    net = model(DIGITS, 10, **arguments)
    again = model(DIGITS, 10, **arguments)
    assert net == again != model(DIGITS, 10)
    assert hash(net) == hash(again)
    assert net.layers[-1][0] == HEAD  # Muon leaves this layer to Adam
    with pytest.raises(ValueError, match="unknown activation 'magic'"):
        model(DIGITS, 10, activation="magic")
    with pytest.raises(ValueError, match="unknown initializer 'magic'"):
        model(DIGITS, 10, initializer="magic")
    defaults = {p.name: p.default for p in inspect.signature(model).parameters.values()}
    assert {key: defaults[key] for key in arguments} == {
        "activation": "relu",
        "initializer": "he_normal",
        "algorithm": "auto",
    }


@pytest.mark.parametrize("name", sorted(MODELS.keys() - {"mlp", "mlp_wide"}))
def test_algorithm_reaches_every_convolution(name):
    net = MODELS[name](DIGITS, 10, algorithm="lax")
    assert str(net).count("Conv2D(") == str(net).count("algorithm='lax'") > 0


@pytest.mark.slow
def test_jit_gives_what_eager_gives():
    """A jaxlib that miscompiles must fail here."""
    image_shape = (14, 14, 1)
    net = MODELS["plain"](image_shape, 10, depth=2, norm="batch")
    rng = np.random.default_rng(0)

    def fill(leaf):
        scale = np.sqrt(2 / max(1, np.prod(leaf.shape[:-1])))
        return jnp.asarray(rng.normal(scale=scale, size=leaf.shape).astype(np.float32))

    params, state = abstract_init(net, (8, *image_shape))
    params = jax.tree.map(fill, params)
    state = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), state)
    x = jnp.asarray(rng.normal(size=(8, *image_shape)).astype(np.float32))
    weights = jnp.asarray(rng.normal(size=(8, 10)).astype(np.float32))

    def run(params):
        def loss(params):
            logits, new_state = net.apply(params, state, x, train=True)
            return (logits * weights).sum(), (logits, new_state)

        return jax.grad(loss, has_aux=True)(params)

    with jax.disable_jit():
        eager = run(params)
    for a, b in zip(jax.tree.leaves(jax.jit(run)(params)), jax.tree.leaves(eager), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * float(jnp.abs(b).max()) + 1e-5)
