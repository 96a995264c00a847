import pytest

from research import records


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "a run with spaces, ä"
    records.start_run(folder, {"seed": 1, "model": {"name": "plain"}})
    records.append_metrics(folder, {"epoch": 1, "train_loss": 0.5})
    records.append_metrics(folder, {"epoch": 2, "train_loss": 0.25})
    return folder
