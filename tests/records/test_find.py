import os
from pathlib import Path

import pytest

from research import records
from research.records.status import read_status


def test_find_runs_looks_below(folder):
    records.write_config(folder.parent / "b" / "c", {"seed": 3})
    assert [run.config["seed"] for run in records.find_runs(folder.parent)] == [1, 3]
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        records.find_runs(folder.parent / "none")


def test_links_are_followed_and_each_run_counts_once(folder, tmp_path):
    links = tmp_path / "links"
    links.mkdir()
    (links / "first").symlink_to(folder)
    (links / "second").symlink_to(folder, target_is_directory=True)
    (links / "up").symlink_to(tmp_path)  # a cycle
    (links / "self").symlink_to(links)
    (links / "nowhere").symlink_to(tmp_path / "nowhere")
    (tmp_path / "copy").mkdir()
    for path in folder.iterdir():  # as cp -rs does
        (tmp_path / "copy" / path.name).symlink_to(path)
    assert len(records.find_runs(links)) == len(records.find_runs(tmp_path)) == 1
    assert [run.path for run in records.find_runs(links / "second")] == [links / "second"]
    assert len(records.find_runs(links, folder, folder.parent)) == 1
    assert len(read_status(links)) == 1


def test_runs_of_several_folders_are_found_once_each(folder):
    other = folder.parent / "b"
    records.write_config(other / "c", {"seed": 3})
    assert [run.config["seed"] for run in records.find_runs(other, folder, folder.parent)] == [1, 3]


def test_a_folder_that_cannot_be_read_causes_a_warning(folder, monkeypatch):
    (folder.parent / "closed").mkdir()
    scan = os.scandir

    def refuse(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.warns(RuntimeWarning, match="closed cannot be read: Permission denied"):
        assert len(records.find_runs(folder.parent)) == 1
