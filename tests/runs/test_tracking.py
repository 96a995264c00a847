"""``logging=mlflow`` with a real local store, which the client of MLflow reads back."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlparse

import pytest

from research.config import Config, ConfigError
from research.records import read_run
from research.records.tracking import TRACKING_FILE, attach_report, connect, read_tracking
from research.runs.callbacks import Callback
from research.runs.run import run

pytest.importorskip("mlflow", reason="the extra tracking is not installed")

from mlflow.entities import Metric, Param
from mlflow.utils.proto_json_utils import message_to_json

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


class Server(BaseHTTPRequestHandler):
    """A server of the requests that a run makes, which a local store answers."""

    client: Any = None
    asked: ClassVar[list[str]] = []

    def do_GET(self):
        self.answer({key: value for key, (value,) in parse_qs(urlparse(self.path).query).items()})

    def do_POST(self):
        self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def answer(self, given):
        name = urlparse(self.path).path.partition("/mlflow/")[2]
        self.asked.append(name)
        content = json.dumps(getattr(self, name.replace("/", "_").replace("-", "_"))(given)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format, *args):
        pass

    def experiments_get_by_name(self, given):
        found = self.client.get_experiment_by_name(given["experiment_name"])
        return {"experiment": json.loads(message_to_json(found.to_proto()))}

    def runs_create(self, given):
        run = self.client.create_run(given["experiment_id"], run_name=given["run_name"])
        return {"run": json.loads(message_to_json(run.to_proto()))}

    def runs_get(self, given):
        return {"run": json.loads(message_to_json(self.client.get_run(given["run_id"]).to_proto()))}

    def runs_log_batch(self, given):
        metrics = [
            Metric(each["key"], each["value"], each["timestamp"], each["step"])
            for each in given.get("metrics", ())
        ]
        params = [Param(each["key"], each["value"]) for each in given.get("params", ())]
        self.client.log_batch(given["run_id"], metrics=metrics, params=params)
        return {}

    def runs_log_metric(self, given):
        self.client.log_metric(given["run_id"], given["key"], given["value"], step=given["step"])
        return {}

    def runs_update(self, given):
        self.client.set_terminated(given["run_id"], given["status"])
        return {"run_info": json.loads(message_to_json(self.client.get_run(given["run_id"]).info.to_proto()))}


def test_the_address_of_a_server_is_used_as_it_is_given(store, tmp_path, monkeypatch):
    monkeypatch.setattr(Server, "client", connect(store))
    Server.client.create_experiment("mine")
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
        run(Config.from_dict(QUICK | {"logging": "mlflow"}), tmp_path / "run")
        server.shutdown()
    tracked = read_tracking(tmp_path / "run")
    assert tracked is not None
    assert tracked[0] == uri
    history = Server.client.get_metric_history(tracked[1], "accuracy/validation")
    assert [each.step for each in history] == [4, 8, 12]
    assert Server.client.get_run(tracked[1]).info.status == "FINISHED"
    assert {each.path for each in Server.client.list_artifacts(tracked[1])} > {"config.yaml", "result.json"}


def test_a_value_of_the_user_is_kept(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "false")
    with pytest.raises(Exception, match="MLFLOW_ALLOW_FILE_STORE"):
        connect(store).search_experiments()
