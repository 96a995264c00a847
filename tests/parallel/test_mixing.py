"""Mixed batches are the same on every number of devices: partners come from the batch of all devices."""

import numpy as np
import pytest

from research.data import Preprocess
from research.models import MODELS
from research.parallel import Layout

from .conftest import relative_error

MIXED = Preprocess((0.3,), (0.3,), ("flip", "mixup"))


@pytest.fixture(scope="module")
def mixed(train):
    net = MODELS["tiny"]((8, 8, 1), 10)
    return net, train(net, "single", Layout.of(1), MIXED, num_steps=3, mixing=MIXED.mixing)


@pytest.mark.parametrize(
    ("strategy", "num_devices", "num_parts"),
    [
        ("jit", 2, 1),
        ("shard_map", 2, 2),
        pytest.param("shard_map", 8, 1, marks=pytest.mark.slow),
        pytest.param("pmap", 2, 1, marks=pytest.mark.slow),
        pytest.param("single", 1, 4, marks=pytest.mark.slow),
    ],
)
def test_partners_come_from_the_batch_of_all_devices(train, mixed, strategy, num_devices, num_parts):
    net, alone = mixed
    options = {"num_steps": 3, "mixing": MIXED.mixing, "num_parts": num_parts}
    trained = train(net, strategy, Layout.of(num_devices), MIXED, **options)
    assert relative_error(trained.state.params, alone.state.params) <= 1e-5
    assert trained.metrics.correct == alone.metrics.correct
    np.testing.assert_allclose(trained.metrics.loss, alone.metrics.loss, rtol=1e-5)
