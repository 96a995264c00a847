import struct

import pytest

from research.config import Config, ConfigError
from research.records import read_run
from research.runs import build
from research.runs.build import check
from research.runs.callbacks import Callback
from research.runs.run import run

QUICK = {"model": {"name": "tiny"}, "data": {"train_limit": 200}, "training": {"epochs": 2}}


def read_points(folder):
    """``{tag: [(step, value)]}`` of the one event file below a folder, read as the format is defined."""
    events = pytest.importorskip("tensorboardX.proto.event_pb2")
    (path,) = folder.rglob("events.*")
    content, points, place = path.read_bytes(), {}, 0
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)  # then its checksum, the event, its checksum
        event = events.Event.FromString(content[place + 12 : place + 12 + length])
        for value in event.summary.value:
            points.setdefault(value.tag, []).append((event.step, value.simple_value))
        place += 16 + length
    return points


def read_scalars(folder):
    """``{tag: {step: value}}`` of the one event file below a folder."""
    return {tag: dict(points) for tag, points in read_points(folder).items()}


def test_every_epoch_is_written_as_it_is_recorded(tmp_path):
    pytest.importorskip("tensorboardX", reason="the extra tensorboard is not installed")
    run(Config.from_dict(QUICK | {"logging": "tensorboard"}), tmp_path / "run")
    scalars = read_scalars(tmp_path / "run" / "tensorboard")
    assert {"loss/train", "loss/validation", "accuracy/train", "accuracy/validation"} < set(scalars)
    for line in read_run(tmp_path / "run").metrics:
        assert scalars["loss/train"][line["step"]] == pytest.approx(line["train_loss"])
        assert scalars["accuracy/validation"][line["step"]] == pytest.approx(line["validation_accuracy"])


class Killed(Callback):
    """Ends a run with an exception after an epoch, which no checkpoint holds."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch(self, metrics):
        if metrics.epoch == self.epoch:
            raise KeyboardInterrupt


def test_a_run_that_was_killed_has_one_point_an_epoch(tmp_path):
    pytest.importorskip("tensorboardX", reason="the extra tensorboard is not installed")
    training = {"epochs": 4, "scan_steps": 2, "checkpoint_every": 8}  # 6 steps an epoch
    config = Config.from_dict(QUICK | {"logging": "tensorboard", "training": training})
    folder = tmp_path / "run"
    for epoch in (1, 3):  # before the first checkpoint, and an epoch after one
        with pytest.raises(KeyboardInterrupt):
            run(config, folder, [Killed(epoch)], resume=True)
    (folder / "tensorboard" / "notes.txt").write_text("of the user")
    run(config, folder, resume=True)
    points = read_points(folder / "tensorboard")
    lines = read_run(folder).metrics
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    for tag in ("loss/train", "accuracy/validation", "seconds"):
        assert [step for step, _ in points[tag]] == [line["step"] for line in lines]
    assert [value for _, value in points["loss/train"]] == pytest.approx(
        [line["train_loss"] for line in lines]
    )
    assert (folder / "tensorboard" / "notes.txt").read_text() == "of the user"


def test_statistics_of_the_layers_are_points_and_histograms(tmp_path):
    pytest.importorskip("tensorboardX", reason="the extra tensorboard is not installed")
    logging = {"to": "tensorboard", "statistics": True}
    run(Config.from_dict(QUICK | {"logging": logging}), tmp_path / "run")
    lines = read_run(tmp_path / "run").lines("statistics.jsonl")
    points = read_points(tmp_path / "run")
    assert points["weight/conv1"] == [
        (line["step"], pytest.approx(line["layers"]["conv1"]["weight"])) for line in lines
    ]
    for tag in ("activations/pool1", "gradients/conv1", "weights/logits"):
        assert [step for step, _ in points[tag]] == [line["step"] for line in lines]
    found = lines[0]["layers"]["conv1"]["histograms"]["weights"]
    assert sum(found["counts"]) == lines[0]["layers"]["conv1"]["size"]


def test_only_on_request_and_the_run_is_the_same(tmp_path):
    run(Config.from_dict(QUICK), tmp_path / "run")
    assert not (tmp_path / "run" / "tensorboard").exists()
    logged = Config.from_dict(QUICK | {"logging": "tensorboard"})
    assert logged.fingerprint() == Config.from_dict(QUICK).fingerprint()


@pytest.mark.parametrize(
    ("to", "extra"), [("tensorboard", "tensorboard"), ("mlflow", "tracking"), ("all", "t")]
)
def test_without_the_package_one_sentence_says_how_to_get_it(to, extra, monkeypatch):
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=rf"logging={to} needs .*: pip install 'cnn-research\[{extra}"):
        check(Config.from_dict({"logging": to}))
