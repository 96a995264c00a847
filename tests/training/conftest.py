"""A small network and real digits for the tests of training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.data import Preprocess, load_dataset
from research.layers import Activation, Conv2D, Dense, Dropout, Flatten, MaxPool, Sequential


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    return load_dataset("digits", cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def preprocess(digits):
    return Preprocess(digits.mean, digits.std, ())


@pytest.fixture(scope="session")
def net():
    return Sequential(
        (
            ("conv", Conv2D(4, algorithm="im2col")),
            ("act", Activation("relu")),
            ("pool", MaxPool(2)),
            ("flatten", Flatten()),
            ("dropout", Dropout(0.2)),
            ("logits", Dense(10)),
        )
    )


@pytest.fixture
def assert_same():
    """Two trees are equal to the bit."""

    def check(a, b):
        a, b = (
            jax.tree.map(
                lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x,
                tree,
            )
            for tree in (a, b)
        )
        jax.tree.map(np.testing.assert_array_equal, a, b)

    return check
