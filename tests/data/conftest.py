"""A small dataset in the format of MNIST, made once: as arrays and as a TFDS folder."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from research.data.dataset import DATASETS, Split
from research.data.folder import write_folder
from research.data.source import Source
from tests.data.server import Server

MNIST = DATASETS["mnist"]


def make_split(count: int, shape: tuple[int, ...], num_classes: int, seed: int) -> Split:
    images = np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)
    return Split(images, (np.arange(count) % num_classes).astype(np.int32))


@pytest.fixture(scope="session")
def source() -> Source:
    train, test = make_split(200, (28, 28, 1), 10, seed=0), make_split(50, (28, 28, 1), 10, seed=1)
    pixels = np.asarray(train.images)
    pixels[0], pixels[1] = 0, 255
    assert MNIST.class_names is not None
    return Source(train, test, MNIST.class_names)


@pytest.fixture(scope="session")
def written(source, tmp_path_factory) -> Path:
    data_dir = tmp_path_factory.mktemp("written")
    write_folder("mnist", MNIST, source, data_dir, lambda what, done, total: None)
    return data_dir


@pytest.fixture
def data_dir(written, tmp_path) -> Path:
    """A copy of the folder of datasets, to be damaged at will."""
    return Path(shutil.copytree(written, tmp_path / "data"))


@pytest.fixture
def server():
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()
