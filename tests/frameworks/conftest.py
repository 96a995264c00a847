from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from research.data import load_dataset
from research.frameworks.base import Task
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
    return Task(digits.image_shape, digits.num_classes, "adam", 1e-3)


@pytest.fixture(scope="session")
def workplace(digits, task, tmp_path_factory) -> Workplace:
    """A folder with the data, the initial weights and the reference in float64, for all tests."""
    folder: Path = tmp_path_factory.mktemp("workplace")
    common = {"epochs": 1, "batch_size": BATCH_SIZE}
    workplace = Workplace(folder, common, num_threads=1, on_progress=lambda line: None)
    workplace.share(digits)
    outcome = workplace.run("reference", "jax_lax", task)
    assert np.isfinite(outcome["losses"]).all(), outcome
    return workplace
