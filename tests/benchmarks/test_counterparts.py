"""The networks of other frameworks have the shapes of ours, and learn."""

import importlib.util

import jax
import numpy as np
import pytest

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
    from research.benchmarks.counterparts import torch_eager

    module, channels = torch_eager.build(NETS[name]), channels_of(name)
    assert module(torch.ones(2, channels, 8, 8)).shape == (2, 10)
    assert sum(p.numel() for p in module.parameters()) == num_parameters(NETS[name], channels)


def test_torch_computes_where_jax_does(monkeypatch):
    torch = pytest.importorskip("torch")
    from research.benchmarks.counterparts import torch_eager

    assert torch_eager.device().type == "cpu"
    with pytest.raises(NotImplementedError, match="a CUDA graph needs a GPU"):
        torch_eager.make_train(NETS["conv_pair"], (8, 8, 1), 4, cuda_graph=True)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(NotImplementedError, match="this PyTorch finds no GPU"):
        torch_eager.device()


@pytest.mark.parametrize("name", NETS)
def test_flax_has_as_many_parameters(name):
    from research.benchmarks.counterparts import flax_linen

    module, x = flax_linen.Net(NETS[name]), jax.numpy.ones((2, 8, 8, channels_of(name)))
    variables = jax.eval_shape(
        lambda: module.init({"params": jax.random.key(0), "dropout": jax.random.key(1)}, x)
    )
    counted = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    assert counted == num_parameters(NETS[name], channels_of(name))


@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="keras is not installed")
@pytest.mark.parametrize("name", NETS)
def test_keras_has_as_many_parameters(name):
    from research.benchmarks.counterparts import keras_jax

    images = keras_jax.keras.Input((8, 8, channels_of(name)))
    model = keras_jax.keras.Model(images, keras_jax.apply(NETS[name], images))
    assert model.output_shape == (None, 10)
    trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert trainable == num_parameters(NETS[name], channels_of(name))
