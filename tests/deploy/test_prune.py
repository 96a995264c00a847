from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.deploy.prune import remove_channels
from research.models import MODELS
from research.training.pruning import make_masks
from research.training.state import masked

SHAPE = (8, 8, 3)


@pytest.mark.parametrize(
    ("name", "values", "features"),
    [
        ("plain", {"widths": (4, 8), "norm": "batch", "activation": "sigmoid"}, {"conv1": 1, "conv2": 2}),
        ("modern_cnn", {"widths": (4, 8), "hidden": 8}, {"conv1": 1, "conv4": 2, "dense1": 2}),
        ("simple_resnet", {"widths": (4, 8), "blocks": 1}, {"conv1": 4}),
    ],
)
def test_a_network_without_its_pruned_channels_gives_the_same_outputs(name, values, features):
    net = MODELS[name](SHAPE, 10, **values)
    rng = np.random.default_rng(0)
    params, state = jax.tree.map(
        lambda a: jnp.asarray(rng.uniform(0.5, 1.5, a.shape), a.dtype) if a.ndim == 1 else a,
        net.init(jax.random.key(0), (1, *SHAPE)),
    )
    params = masked(params, make_masks(net, "channel")(params, jnp.float32(0.75)))
    x = jax.random.normal(jax.random.key(1), (4, *SHAPE))
    expected = jax.jit(partial(net.apply, train=False))(params, state, x)[0]
    small, *trees = remove_channels(net, params, state)
    found = jax.jit(partial(small.apply, train=False))(*trees, x)[0]
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    layers = dict(small.layers)
    assert {layer: getattr(layers[layer], "features") for layer in features} == features  # noqa: B009
    sizes = [sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in (params, trees[0])]
    assert sizes[1] < 0.7 * sizes[0]


def test_a_network_that_uses_all_channels_is_returned_as_it_is():
    net = MODELS["tiny"](SHAPE, 10)
    params, state = net.init(jax.random.key(0), (1, *SHAPE))
    found = remove_channels(net, params, state)
    assert all(new is old for new, old in zip(found, (net, params, state), strict=True))
