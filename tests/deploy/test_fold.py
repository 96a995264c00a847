from functools import partial

import jax
import numpy as np
import pytest

from research.deploy.fold import fold_batch_norm
from research.layers import (
    Activation,
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseSeparableConv,
    Flatten,
    Residual,
    Sequential,
)
from research.models import MODELS

SHAPE = (8, 8, 3)

# a convolution without bias, one with, a dense layer, and a normalisation after an activation, which stays
OTHERS = Sequential(
    (
        ("separable", DepthwiseSeparableConv(4)),
        ("norm0", BatchNorm()),
        ("block", Residual(Sequential((("conv", Conv2D(4, padding_mode="reflect")), ("norm", BatchNorm()))))),
        ("act", Activation("relu")),
        ("norm1", BatchNorm()),
        ("flatten", Flatten()),
        ("dense", Dense(5, use_bias=False)),
        ("norm2", BatchNorm(epsilon=1e-3)),
    )
)


def randomised(tree):
    """Positive numbers in place of the zeros and ones of vectors, so that every parameter counts."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda a: np.float32(rng.uniform(0.5, 1.5, a.shape)) if a.ndim == 1 else a, tree)


@pytest.mark.parametrize(
    ("net", "kept"),
    [
        (MODELS["modern_cnn"](SHAPE, 10, widths=(4, 8), hidden=8), 0),
        (MODELS["simple_resnet"](SHAPE, 10, widths=(4, 8), blocks=1), 0),
        (OTHERS, 1),
    ],
    ids=["modern_cnn", "simple_resnet", "other layers"],
)
def test_a_folded_network_gives_the_same_outputs(net, kept):
    params, state = map(randomised, net.init(jax.random.key(0), (1, *SHAPE)))
    x = jax.random.normal(jax.random.key(1), (4, *SHAPE))
    expected = jax.jit(partial(net.apply, train=False))(params, state, x)[0]
    folded, folded_params, folded_state = fold_batch_norm(net, params, state)
    found = jax.jit(partial(folded.apply, train=False))(folded_params, folded_state, x)[0]
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    assert len(jax.tree.leaves(folded_state)) == 2 * kept  # a mean and a variance each
