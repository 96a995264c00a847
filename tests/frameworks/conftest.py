from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from research.data import load_dataset
from research.frameworks.process import Workplace

BATCH_SIZE = 64


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads that wait for each other busily take many times as long on processors that others use, too."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="session")
def task(digits):
    return {
        "image_shape": digits.image_shape,
        "num_classes": digits.num_classes,
        "optimizer": "adam",
        "learning_rate": 1e-3,
    }


@pytest.fixture(scope="session")
def workplace(digits, task, tmp_path_factory) -> Workplace:
    """A folder with the data, the initial weights and the reference in float64, for all tests."""
    folder: Path = tmp_path_factory.mktemp("workplace")
    workplace = Workplace(folder, {"epochs": 1, "batch_size": BATCH_SIZE, "seed": 0}, num_threads=1)
    workplace.share(digits)
    outcome = workplace.run("reference", "jax_lax", task, networks={"reference": task}, seeds=[0])
    assert np.isfinite(outcome["losses"]).all(), outcome
    return workplace
