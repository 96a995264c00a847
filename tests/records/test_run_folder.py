import os
from pathlib import Path

import numpy as np
import pytest

from research import records
from research.records import RunResult, run_folder


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "a run with spaces, ä"
    records.start_run(folder, {"seed": 1, "model": {"name": "plain"}})
    records.append_metrics(folder, {"epoch": 1, "train_loss": 0.5})
    records.append_metrics(folder, {"epoch": 2, "train_loss": 0.25})
    return folder


def test_a_run_is_read_as_it_was_written(folder):
    records.write_arrays(folder, {"test_labels": np.arange(3, dtype=np.int32)})
    records.write_result(folder, RunResult("completed", test_accuracy=0.5))
    run = records.read_run(folder)
    assert run.config == {"seed": 1, "model": {"name": "plain"}}
    assert [line["train_loss"] for line in run.metrics] == [0.5, 0.25]
    assert run.status == "completed"
    assert run.outcome.test_accuracy == 0.5
    np.testing.assert_array_equal(run.arrays()["test_labels"], [0, 1, 2])


def test_a_run_without_result_is_missing_and_has_no_arrays(folder):
    run = records.read_run(folder)
    assert run.status == "missing"
    assert run.arrays() == {}


def test_a_line_that_was_cut_off_while_it_was_written_is_left_out(folder):
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "tr')
    assert [line["epoch"] for line in records.read_run(folder).metrics] == [1, 2]


def test_starting_again_clears_what_an_unfinished_run_left(folder):
    records.start_run(folder, {"seed": 2})
    assert records.read_run(folder).metrics == []
    assert records.read_run(folder).config == {"seed": 2}


def test_a_finished_run_is_never_touched(folder):
    records.write_result(folder, RunResult("completed"))
    with pytest.raises(FileExistsError, match="holds a finished run"):
        records.start_run(folder, {"seed": 2})
    assert records.read_run(folder).config["seed"] == 1


def test_find_runs_looks_below(folder):
    records.write_config(folder.parent / "b" / "c", {"seed": 3})
    assert [run.config["seed"] for run in records.find_runs(folder.parent)] == [1, 3]
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        records.find_runs(folder.parent / "none")


def test_no_result_is_written_to_a_folder_whose_run_was_removed(folder):
    (folder / "config.yaml").unlink()
    with pytest.raises(FileNotFoundError) as raised:
        records.write_result(folder, RunResult("completed"))
    assert raised.value.filename == str(folder / "config.yaml")
    assert not (folder / "result.json").exists()


def test_a_number_that_is_not_finite_is_not_written(folder):
    with pytest.raises(ValueError, match="not JSON compliant"):
        records.write_result(folder, RunResult("completed", test_accuracy=float("nan")))
    assert not (folder / "result.json").exists()


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    run_folder.write_atomically(path, b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        run_folder.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_names_the_metrics(folder):
    (folder / "metrics.jsonl").unlink()
    (folder / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as raised:
        records.append_metrics(folder, {"epoch": 3})
    assert raised.value.filename == str(folder / "metrics.jsonl")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("result.json", "{", "result.json is damaged"),
        ("result.json", "[]", "result.json is damaged: it holds no status"),
        (
            "result.json",
            '{"format": 99, "status": "failed"}',
            "format 99; this version reads format 3",
        ),
        ("config.yaml", "a: [", "config.yaml is damaged"),
        ("config.yaml", "text", "config.yaml is damaged: its first line is not the checksum"),
        ("metrics.jsonl", '{"epoch": 1}\n{"epo\n', "metrics.jsonl is damaged"),
    ],
)
def test_a_damaged_file_is_named(folder, name, content, message):
    (folder / name).write_text(content)
    with pytest.raises(records.RecordError, match=message):
        records.read_run(folder)


def test_a_cut_arrays_file_is_named(folder):
    records.write_arrays(folder, {"image": np.zeros((8, 8, 1), np.uint8)})
    path = folder / "arrays.npz"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(records.RecordError, match=r"arrays\.npz is damaged"):
        records.read_run(folder).arrays()


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is not a run: it holds no config\.yaml"):
        records.read_run(tmp_path)
