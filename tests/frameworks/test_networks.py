"""Every named network computes the same in other frameworks, from the same parameters."""

import importlib
import importlib.util
import inspect
import os
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.frameworks.networks.names import flatten, flattened_images
from research.layers import (
    AveragePool,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    GroupNorm,
    MaxPool,
    Sequential,
)
from research.layers.base import abstract_init
from research.models import MODELS
from research.utils.nested import nested
from research.utils.xla import for_one_call

quick = partial(jax.jit, compiler_options=for_one_call())
IMAGE_SHAPE, NUM_CLASSES, BATCH = (10, 8, 3), 5, 4


def small(name):
    """A named network with few features and without dropout."""
    smaller = {"dropout_rate": 0.0, "algorithm": "lax", "blocks": 1}
    for key, parameter in inspect.signature(MODELS[name]).parameters.items():
        if key in ("widths", "hidden"):
            many = isinstance(parameter.default, tuple)
            smaller[key] = tuple(range(3, 3 + len(parameter.default[:2]))) if many else 6
    allowed = inspect.signature(MODELS[name]).parameters
    return MODELS[name](
        IMAGE_SHAPE, NUM_CLASSES, **{key: value for key, value in smaller.items() if key in allowed}
    )


NETS = {name: small(name) for name in MODELS}
NETS["plain, batch norm"] = MODELS["plain"](
    IMAGE_SHAPE, NUM_CLASSES, depth=2, widths=(3, 4), norm="batch", activation="gelu", padding="VALID"
)
NETS["strides, groups and dilation"] = Sequential(
    (
        ("conv1", Conv2D(4, (3, 5), (2, 1), padding=((1, 1), (2, 2)))),
        ("conv2", Conv2D(6, 3, dilation=2, groups=2, use_bias=False)),
        ("norm", BatchNorm(decay=0.8, epsilon=1e-3)),
        ("flatten", Flatten()),
        ("logits", Dense(NUM_CLASSES, use_bias=False)),
    )
)


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


class Problem:
    """Random parameters, statistics, images and weights of the logits, in float64, and what ours computes."""

    def __init__(self, net):
        self.net, rng = net, np.random.default_rng(0)
        params, state = abstract_init(net, (1, *IMAGE_SHAPE))
        self.params = {path: rng.normal(size=a.shape) for path, a in flatten_shapes(params).items()}
        self.state = {path: rng.uniform(0.5, 1.5, size=a.shape) for path, a in flatten_shapes(state).items()}
        self.arrays = self.params | self.state
        self.images = rng.normal(size=(BATCH, *IMAGE_SHAPE))
        self.weights = rng.normal(size=(BATCH, NUM_CLASSES))
        # without batch norm and dropout the two modes are the same program
        first = self._compute(True)
        self.steps = {True: first, False: self._compute(False) if state else first}

    def _compute(self, train):
        """Logits, gradients of the weighted sum of logits and new statistics."""

        @quick
        def run(params, state):
            def weighted(params):
                keys = jax.random.split(jax.random.key(0), BATCH)
                logits, new = self.net.apply(params, state, jnp.asarray(self.images), train=train, key=keys)
                return (logits * self.weights).sum(), (logits, new)

            return jax.grad(weighted, has_aux=True)(params)

        grads, (logits, new) = run(nested(self.params, "/"), nested(self.state, "/"))
        return np.asarray(logits), flatten(grads), flatten(new)


def flatten_shapes(tree):
    from research.layers.base import by_path

    return by_path(tree)


@cache
def make_problem(name):
    with jax.enable_x64(True):
        return Problem(NETS[name])


@pytest.fixture(params=NETS)
def problem(request):
    return make_problem(request.param)


MODES = pytest.mark.parametrize(
    ("name", "train"), [("reference", True), ("simple_resnet", True), ("simple_resnet", False)]
)
"""Two networks that have every kind of layer but dropout; only one of them has batch norm."""


def close(actual, expected, tolerance=1e-9):
    assert actual.keys() == expected.keys()
    scale = max((np.abs(array).max() for array in expected.values()), default=1.0)
    for path, array in expected.items():
        assert actual[path].dtype == np.float64
        np.testing.assert_allclose(
            actual[path], array, rtol=tolerance, atol=tolerance / 100 * scale, err_msg=path
        )


@pytest.mark.parametrize("train", [True, False])
def test_torch_computes_the_same(problem, train):
    torch = pytest.importorskip("torch")
    from research.frameworks.networks import pytorch

    network = pytorch.build(problem.net, IMAGE_SHAPE).double().train(train)
    pytorch.load(network, problem.arrays)
    for path, array in pytorch.read(network).items():
        np.testing.assert_array_equal(array, problem.arrays[path])
    logits = network(torch.from_numpy(problem.images.transpose(0, 3, 1, 2)))
    (logits * torch.from_numpy(problem.weights)).sum().backward()
    expected, grads, _ = problem.steps[train]
    close({"logits": logits.detach().numpy()}, {"logits": expected})
    close(pytorch.read_gradients(network), grads)


def test_torch_moves_the_running_averages_alike(problem):
    """The variance that PyTorch averages is unbiased, ours is not: they differ by n / (n - 1)."""
    torch = pytest.importorskip("torch")
    from research.frameworks.networks import pytorch

    network = pytorch.build(problem.net, IMAGE_SHAPE).double()
    pytorch.load(network, problem.arrays)
    network(torch.from_numpy(problem.images.transpose(0, 3, 1, 2)))
    found, expected = pytorch.read(network), problem.steps[True][2]
    means = [path for path in expected if path.endswith("/mean")]
    close({path: found[path] for path in means}, {path: expected[path] for path in means})


@MODES
def test_linen_computes_the_same(name, train):
    typical = make_problem(name)
    from research.frameworks.networks import flax_linen

    module = flax_linen.build(typical.net, IMAGE_SHAPE)
    variables = flax_linen.load(typical.arrays)
    close(flax_linen.read(variables), typical.arrays)

    @quick
    def run(variables, images):
        def weighted(params):
            rngs = {"dropout": jax.random.key(0)}
            logits, new = module.apply(
                variables | {"params": params}, images, train=train, rngs=rngs, mutable=["batch_stats"]
            )
            return (logits * typical.weights).sum(), (logits, new)

        return jax.grad(weighted, has_aux=True)(variables["params"])

    grads, (logits, new) = run(variables, typical.images)
    expected, expected_grads, expected_state = typical.steps[train]
    close({"logits": np.asarray(logits)}, {"logits": expected})
    close(flatten(grads), expected_grads)
    close(flax_linen.read({"params": {}} | (new if train else variables | {"params": {}})), expected_state)


@MODES
def test_nnx_computes_the_same(name, train):
    typical = make_problem(name)
    from flax import nnx

    from research.frameworks.networks import flax_nnx

    module = nnx.eval_shape(lambda: flax_nnx.Net(typical.net, IMAGE_SHAPE, nnx.Rngs(0)))
    flax_nnx.load(module, typical.arrays)
    close(flax_nnx.read(module), typical.arrays)
    module.train() if train else module.eval()

    graph, state = nnx.split(module)

    @quick
    def run(state, images):
        module = nnx.merge(graph, state)

        def weighted(module):
            logits = module(images)
            return (logits * typical.weights).sum(), logits

        grads, logits = nnx.grad(weighted, has_aux=True)(module)
        return grads, logits, nnx.state(module)

    grads, logits, state = run(state, typical.images)
    nnx.update(module, state)
    expected, expected_grads, expected_state = typical.steps[train]
    close({"logits": np.asarray(logits)}, {"logits": expected})
    close(flatten(nnx.to_pure_dict(grads)), expected_grads)
    close({path: flax_nnx.read(module)[path] for path in expected_state}, expected_state)


@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="keras is not installed")
@MODES
def test_keras_computes_the_same(name, train, monkeypatch):
    typical = make_problem(name)
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "jax"))
    from research.frameworks.networks import keras_layers

    assert keras_layers.keras.backend.backend() == "jax"
    config = keras_layers.keras.config
    config.set_floatx("float64")
    config.set_dtype_policy("float64")
    try:
        model = keras_layers.build(typical.net, IMAGE_SHAPE)
    finally:
        config.set_floatx("float32")
        config.set_dtype_policy("float32")
    keras_layers.load(model, typical.arrays)
    close(keras_layers.read(model), typical.arrays)
    trainable, others = (
        [v.value for v in each] for each in (model.trainable_variables, model.non_trainable_variables)
    )

    @quick
    def run(trainable, others, images):
        def weighted(trainable):
            logits, _ = model.stateless_call(trainable, others, images, training=train)
            return (logits * typical.weights).sum(), logits

        return jax.grad(weighted, has_aux=True)(trainable)

    grads, logits = run(trainable, others, typical.images)
    expected, expected_grads, _ = typical.steps[train]
    tolerance = 1e-3  # Keras normalises batches in float32
    close({"logits": np.asarray(logits)}, {"logits": expected}, tolerance)
    names = {id(variable): path for path, variable in keras_layers.variables(model).items()}
    found = {names[id(v)]: np.asarray(g) for v, g in zip(model.trainable_variables, grads, strict=True)}
    close(found, expected_grads, tolerance)


def test_a_dense_layer_reads_a_flattened_image_through_what_is_elementwise():
    from research.analysis.walk import walk

    net = MODELS["simple_cnn"]((16, 8, 3), 10, algorithm="lax")
    assert flattened_images(walk(net, (1, 16, 8, 3))) == {"dense1": (2, 1, 128)}
    pooled = Sequential((("average", GlobalAveragePool()), ("flatten", Flatten()), ("logits", Dense(2))))
    assert flattened_images(walk(pooled, (1, 4, 4, 3))) == {}
    twice = Sequential((("flatten", Flatten()), ("drop", Dropout(0.1)), ("a", Dense(3)), ("b", Dense(2))))
    assert flattened_images(walk(twice, (1, 4, 2, 3))) == {"a": (4, 2, 3)}


@pytest.mark.parametrize(
    "layer", [GroupNorm(3), Conv2D(4, strides=2, padding="SAME"), MaxPool(2, padding="SAME")]
)
def test_what_torch_does_not_have_is_named(layer):
    pytest.importorskip("torch")
    from research.frameworks.networks import pytorch

    with pytest.raises(NotImplementedError, match="no PyTorch module for"):
        pytorch.build(Sequential((("layer", layer),)), (8, 7, 6))


def test_torch_averages_without_the_padding():
    torch = pytest.importorskip("torch")
    from research.frameworks.networks import pytorch

    net = Sequential((("pool", AveragePool(3, 2, 1)), ("max", MaxPool(2, 1, 1))))
    x = np.random.default_rng(0).normal(size=(2, 7, 6, 3))
    ours, _ = net.apply({}, {}, jnp.asarray(x), train=False)
    theirs = pytorch.build(net, (7, 6, 3))(torch.from_numpy(x.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(theirs.numpy().transpose(0, 2, 3, 1), ours, rtol=1e-12)


@pytest.mark.parametrize("name", ["flax_linen", "keras_layers"])
def test_what_another_framework_does_not_have_is_named(name):
    if name == "keras_layers":
        pytest.importorskip("keras")
    module = importlib.import_module(f"research.frameworks.networks.{name}")
    with pytest.raises(NotImplementedError, match=r"no (Flax module|Keras layer) for GroupNorm"):
        module.build(Sequential((("layer", GroupNorm(3)),)), (8, 7, 6))
