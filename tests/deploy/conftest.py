"""One small trained run with batch normalisation, which all tests of this folder share."""

import pytest

from research.config import Config
from research.runs.run import run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deploy") / "run"
    values = {
        "model": {"name": "plain", "depth": 1, "widths": [4], "norm": "batch"},
        "data": {"train_limit": 64},
        "training": {"epochs": 1, "batch_size": 32, "tta": "flip"},
    }
    assert run(Config.from_dict(values), folder).status == "completed"
    return folder
