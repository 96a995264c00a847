"""``logging=mlflow`` with a real local store, which the client of MLflow reads back."""

import pytest

from research.config import Config, ConfigError
from research.records import read_run
from research.records.tracking import TRACKING_FILE, attach_report, connect, read_tracking
from research.runs.callbacks import Callback
from research.runs.run import run

pytest.importorskip("mlflow", reason="the extra tracking is not installed")

QUICK = {
    "model": {"name": "tiny"},
    "data": {"train_limit": 64},
    "training": {"epochs": 3, "batch_size": 16, "checkpoint_every": 6},
    "schedule": "constant",
    "logging": {"to": "mlflow", "statistics": True},
}


class Killed(Callback):
    """Ends a run with an exception at the end of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch(self, metrics):
        if metrics.epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The address of an empty local store."""
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    return (tmp_path / "store").as_uri()


def test_a_run_that_was_killed_has_parameters_one_point_an_epoch_and_its_files(store, tmp_path):
    config, folder = Config.from_dict(QUICK), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(config, folder, [Killed(2)])  # after the checkpoint of step 6, in epoch 2
    first = read_tracking(folder)
    run(config, folder, resume=True)
    assert read_tracking(folder) == first
    assert first is not None
    uri, run_id = first
    assert uri == store
    (folder / "report.html").write_text("<p>")
    attach_report([folder, tmp_path], folder / "report.html")
    client, record = connect(uri), read_run(folder)
    found = client.get_run(run_id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == config.run_name()
    assert found.data.params["model.name"] == "tiny"
    assert found.data.params["training.batch_size"] == "16"
    history = client.get_metric_history(run_id, "loss/train")
    assert [(each.step, each.value) for each in history] == [
        (line["step"], line["train_loss"]) for line in record.metrics
    ]
    for key in ("weight/conv1", "zeros/act1"):
        assert [each.step for each in client.get_metric_history(run_id, key)] == [0, 4, 8, 12]
    (tested,) = client.get_metric_history(run_id, "accuracy/test")
    assert (tested.step, tested.value) == (12, record.outcome.test_accuracy)
    names = {each.path for each in client.list_artifacts(run_id)}
    assert names == {"config.yaml", "metrics.jsonl", "statistics.jsonl", "result.json", "report.html"}
    (experiment,) = [each for each in client.search_experiments() if each.name == "cnn-research"]
    assert found.info.experiment_id == experiment.experiment_id


def test_a_store_that_cannot_be_used_is_one_sentence_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ConfigError, match=r"MLFLOW_TRACKING_URI=http://127\.0\.0\.1:9 cannot be used \("):
        run(Config.from_dict(QUICK), tmp_path / "run")
    assert not (tmp_path / "run" / "config.yaml").exists()
    assert not (tmp_path / "run" / TRACKING_FILE).exists()


def test_a_value_of_the_user_is_kept(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "false")
    with pytest.raises(Exception, match="MLFLOW_ALLOW_FILE_STORE"):
        connect(store).search_experiments()
