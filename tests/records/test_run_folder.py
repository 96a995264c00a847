import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from research import records
from research.records import RunResult, run_folder
from research.records.lock import hold
from research.records.status import read_status
from research.utils.files import seal


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
        ("metrics.jsonl", "[1]\n", "metrics.jsonl is damaged: a line is not a mapping"),
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


def files(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder below a folder, with its bytes."""
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in paths}


@pytest.mark.parametrize(
    "foreign",
    [
        {".hydra/config.yaml": "seed: 0\n", ".hydra/hydra.yaml": "hydra: {}\n"},
        {"config.yaml": "a: ["},  # of whatever program, and no YAML
        {"config.yaml": ""},
        {"config.yaml/readme": "a folder"},
        {"other/config.yaml": "trainer: {}\n", "other/checkpoints/epoch=1-step=20.ckpt": "weights"},
        {"result.json": '{"accuracy": 1}', "metrics.jsonl": "{}\n"},
        {"metrics.jsonl": "{}\n", "checkpoints/last": ""},
    ],
)
def test_files_of_other_programs_are_passed_over(folder, foreign):
    for name, content in foreign.items():
        path = folder.parent / "sweep" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert [run.path for run in records.find_runs(folder.parent)] == [folder]
    assert [run.path for run in read_status(folder.parent)] == [folder]


@pytest.mark.parametrize("trace", ["result.json", "metrics.jsonl", "checkpoints", "checksum line"])
def test_a_damaged_run_of_ours_is_reported_by_name(tmp_path, trace):
    records.write_config(tmp_path / "run", {"seed": 1})
    path = tmp_path / "run" / "config.yaml"
    content = path.read_text()
    if trace == "checksum line":
        path.write_text(content[:-2])
    else:
        path.write_text(content[2:])
        (tmp_path / "run" / trace).mkdir() if trace == "checkpoints" else (tmp_path / "run" / trace).touch()
    with pytest.raises(records.RecordError, match=f"{path} is damaged|result.json is damaged"):
        records.find_runs(tmp_path)
    assert [run.status for run in read_status(tmp_path)] == ["damaged"]


@pytest.mark.parametrize("name", ["config.yaml", "metrics.jsonl", "result.json"])
def test_a_folder_in_place_of_a_file_is_reported_by_name(folder, name):
    records.write_result(folder, RunResult("completed"))
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(records.RecordError, match=f"{name} cannot be read: Is a directory"):
        records.find_runs(folder.parent)
    assert [run.status for run in read_status(folder.parent)] == ["damaged"]


def test_a_run_that_lost_all_but_its_checkpoints_is_reported_by_name(tmp_path):
    manifest = tmp_path / "run" / "checkpoints" / "step-000000001" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(seal({"format": 1}))
    with pytest.raises(records.RecordError, match=r"config\.yaml is missing"):
        records.find_runs(tmp_path)


def test_a_run_whose_configuration_is_gone_is_reported_by_name(folder):
    records.write_result(folder, RunResult("completed"))
    (folder / "config.yaml").unlink()
    with pytest.raises(records.RecordError, match=r"config\.yaml is missing"):
        records.find_runs(folder.parent)


def test_a_key_that_stands_twice_in_a_configuration_is_named(folder):
    text = "seed: 1\nmodel:\n  depth: 1\n  depth: 2\n"
    line = f"{run_folder.CHECKSUM_LINE}{hashlib.sha256(text.encode()).hexdigest()}\n"
    (folder / "config.yaml").write_text(line + text)
    with pytest.raises(records.RecordError, match=r"config\.yaml is damaged: the key depth stands twice"):
        records.read_config(folder)


def end(folder: Path, name: str) -> None:
    """Make the folder that of a finished run, of which one file is damaged or of another version."""
    records.write_arrays(folder, {"image": np.zeros((8, 8, 1), np.uint8)})
    records.write_result(folder, RunResult("completed"))
    path = folder / name
    if name == "format 2":
        path = folder / "result.json"
        path.write_text(path.read_text().replace('"format": 3', '"format": 2'))
    elif name == "no configuration":
        (folder / "config.yaml").unlink()
    else:
        path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(
    "damaged", ["result.json", "config.yaml", "metrics.jsonl", "format 2", "no configuration"]
)
def test_a_finished_run_that_cannot_be_read_is_not_run_again(folder, damaged, resume):
    end(folder, damaged)
    before = files(folder)
    with pytest.raises(records.OccupiedError, match="; choose another folder") as raised:
        records.start_run(folder, {"seed": 2}, resume=resume)
    assert str(folder) in str(raised.value)
    assert files(folder) == before


@pytest.mark.parametrize("name", run_folder.FILES)
def test_files_of_another_program_are_not_replaced(tmp_path, name):
    (tmp_path / name).write_text("{}")
    for resume in (False, True):
        with pytest.raises(records.OccupiedError, match="; choose another folder"):
            records.start_run(tmp_path, {"seed": 2}, resume=resume)
    assert files(tmp_path) == {name: b"{}"}


def test_an_unfinished_run_with_a_damaged_file_goes_on(folder):
    for name in ("config.yaml", "metrics.jsonl", "result.json"):
        records.write_result(folder, RunResult("preempted"))
        (folder / name).write_text("damaged")
        with pytest.raises(records.OccupiedError, match=f"{name} is damaged"):
            records.check_folder(folder)
        records.start_run(folder, {"seed": 2}, [{"epoch": 1}], resume=True)
        run = records.read_run(folder)
        assert (run.config, run.metrics, run.result) == ({"seed": 2}, [{"epoch": 1}], None)


@pytest.mark.parametrize("name", ["config.yaml", "metrics.jsonl"])
def test_on_a_full_disk_a_run_that_starts_changes_nothing(folder, monkeypatch, name):
    records.write_arrays(folder, {"image": np.zeros(1)})
    records.write_result(folder, RunResult("preempted"))
    before, write = files(folder), os.fsync

    def fail(descriptor):
        if f".{name}." in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(28, "No space left on device")
        write(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left") as raised:
        records.start_run(folder, {"seed": 2})
    assert raised.value.filename == str(folder / name)
    assert files(folder) == before


@pytest.mark.parametrize("begins", [False, True])
def test_a_plan_is_kept_only_if_the_run_begins(tmp_path, begins):
    def fail():
        with records.planned(tmp_path, {"seed": 1}):
            assert records.read_run(tmp_path).status == "missing"
            if begins:
                records.start_run(tmp_path, {"seed": 1})
            raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        fail()
    assert set(files(tmp_path)) == ({"config.yaml", "metrics.jsonl"} if begins else set())


def test_a_run_without_arrays_is_whole(folder):
    records.write_arrays(folder, {"image": np.zeros(1)})
    records.write_result(folder, RunResult("completed"))
    (folder / "arrays.npz").unlink()
    run = records.read_run(folder)
    assert (run.status, run.arrays(), run.has_arrays) == ("completed", {}, False)


def test_a_lock_leaves_no_folder_that_it_made(tmp_path):
    (tmp_path / "a").mkdir()
    with hold(tmp_path / "a" / "b" / "c") as beat:
        beat(1, 2)
    assert files(tmp_path) == {"a": None}
    with hold(tmp_path / "a" / "b" / "c"):
        records.write_config(tmp_path / "a" / "b" / "c", {"seed": 1})
    assert records.read_run(tmp_path / "a" / "b" / "c").status == "missing"
