"""The networks of other frameworks have the shapes of ours, start from ours, and learn."""

import importlib.util

import jax
import numpy as np
import pytest

from research.benchmarks import other_frameworks
from research.models import MODELS

NETS = {
    "conv_pair": MODELS["conv_pair"]((8, 8, 1), 10, widths=(2, 3), hidden=(4,)),
    "modern_cnn": MODELS["modern_cnn"]((8, 8, 3), 10, widths=(2, 3), hidden=4),
    "simple_resnet": MODELS["simple_resnet"]((8, 8, 3), 10, widths=(2, 4), blocks=1),
}


def num_parameters(net, channels):
    params, _ = net.init(jax.random.key(0), (1, 8, 8, channels))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def channels_of(name):
    return 1 if name == "conv_pair" else 3


@pytest.mark.parametrize("name", NETS)
def test_torch_has_as_many_parameters(name):
    torch = pytest.importorskip("torch")
    from research.frameworks.networks import pytorch

    channels = channels_of(name)
    module = pytorch.build(NETS[name], (8, 8, channels))
    assert module(torch.ones(2, channels, 8, 8)).shape == (2, 10)
    assert sum(p.numel() for p in module.parameters()) == num_parameters(NETS[name], channels)


def test_torch_computes_where_jax_does(monkeypatch):
    torch = pytest.importorskip("torch")

    assert other_frameworks.torch_device() == "cpu"
    with pytest.raises(NotImplementedError, match="a CUDA graph needs a GPU"):
        other_frameworks.torch_eager(NETS["conv_pair"], (8, 8, 1), 4, cuda_graph=True)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(NotImplementedError, match="this PyTorch finds no GPU"):
        other_frameworks.torch_device()


@pytest.mark.parametrize("name", NETS)
def test_flax_has_as_many_parameters(name):
    from research.frameworks.networks import flax_linen

    x = jax.numpy.ones((2, 8, 8, channels_of(name)))
    module = flax_linen.build(NETS[name], x.shape[1:])
    variables = jax.eval_shape(
        lambda: module.init({"params": jax.random.key(0), "dropout": jax.random.key(1)}, x, train=True)
    )
    counted = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    assert counted == num_parameters(NETS[name], channels_of(name))


@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="keras is not installed")
@pytest.mark.parametrize("name", NETS)
def test_keras_has_as_many_parameters(name, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    from research.frameworks.networks import keras_layers

    model = keras_layers.build(NETS[name], (8, 8, channels_of(name)))
    assert model.output_shape == (None, 10)
    trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert trainable == num_parameters(NETS[name], channels_of(name))


@pytest.mark.parametrize("name", ["torch_eager", "flax_linen", "keras_jax"])
def test_every_framework_starts_from_our_parameters_and_trains(name, monkeypatch):
    """What is loaded is what `init` draws, and a step changes it."""
    package = {"torch_eager": "torch", "flax_linen": "flax", "keras_jax": "keras"}[name]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    module_name = {"torch_eager": "pytorch", "keras_jax": "keras_layers"}.get(name, name)
    networks = importlib.import_module(f"research.frameworks.networks.{module_name}")
    loaded = []
    load = networks.load

    def recording_load(*arguments):
        loaded.append(arguments[-1])
        return load(*arguments)

    monkeypatch.setattr(networks, "load", recording_load)
    train = getattr(other_frameworks, name)(NETS["conv_pair"], (8, 8, 1), 4)
    expected = other_frameworks.init_arrays(NETS["conv_pair"], (8, 8, 1))
    assert loaded[0].keys() == expected.keys()
    for path, array in expected.items():
        np.testing.assert_array_equal(loaded[0][path], array)
    train(2)
