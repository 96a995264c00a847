"""Folds, groups that stay together, and splits that follow the time."""

import re

import numpy as np
import pytest

from research.config import Config, ConfigError
from research.data import ChosenClasses, DataError, FolderImages, NpzImages, load_dataset
from research.data.columns import parse_times
from research.data.dataset import Split
from research.data.splits import Pool


def numbers(pool: Pool) -> set[int]:
    return {*np.asarray(pool.split.images).ravel().tolist()}


def brightness(split: Split) -> np.ndarray:
    """The first pixel of each image."""
    return np.asarray(split.images)[:, 0, 0, 0]


@pytest.fixture(scope="module")
def split():
    """Hundred examples of two classes, three to one, whose pixel is the number of the example."""
    labels = (np.random.default_rng(0).permutation(100) < 25).astype(np.int32)
    return Split(np.arange(100, dtype=np.uint8)[:, None, None, None], labels)


def test_folds_are_disjoint_stratified_and_cover_all_examples(split):
    folds = [Pool(split).fold(index, 5, seed=0) for index in range(5)]
    assert sorted(number for fold, _ in folds for number in numbers(fold)) == list(range(100))
    for fold, rest in folds:
        assert numbers(fold) | numbers(rest) == set(range(100))
        assert (len(fold), int(fold.split.labels.sum())) == (20, 5)
    assert numbers(Pool(split).fold(0, 5, seed=1)[0]) != numbers(folds[0][0])


def test_groups_stay_together_and_are_stratified(split):
    # a group holds images of one class, as the images of a patient with one diagnosis
    groups = np.where(split.labels == 1, split.images.ravel() % 8, 100 + split.images.ravel() % 24)
    pool = Pool(split, groups=groups)
    held_out, rest = pool.hold_out(0.2, seed=0)
    assert held_out.groups is not None
    assert rest.groups is not None
    assert not {*held_out.groups} & {*rest.groups}
    assert 15 <= len(held_out) <= 25
    assert 2 <= held_out.split.labels.sum() <= 9
    folds = [pool.fold(index, 4, seed=0)[0] for index in range(4)]
    assert sorted(number for fold in folds for number in numbers(fold)) == list(range(100))
    seen = [name for fold in folds for name in np.unique(np.asarray(fold.groups))]
    assert len(seen) == len(set(seen))
    with pytest.raises(ValueError, match="folds=30; allowed: fewer, because there are"):
        pool.fold(0, 30, seed=0)
    with pytest.raises(ValueError, match="groups: all 100 examples are of one group"):
        Pool(split, groups=np.zeros(100)).hold_out(0.2, seed=0)


def test_later_examples_are_tested(split):
    times = np.random.default_rng(1).permutation(100).astype(float)
    pool = Pool(split, times=times)
    test, rest = pool.hold_out(0.2, seed=0)
    validation, train = rest.hold_out(0.25, seed=5)
    parts = [np.sort(np.asarray(part.times)).tolist() for part in (train, validation, test)]
    assert parts == [list(range(60)), list(range(60, 80)), list(range(80, 100))]
    for index in range(4):
        fold, before = pool.fold(index, 4, seed=0)
        assert np.sort(np.asarray(before.times)).tolist() == list(range(20 * (index + 1)))
        assert np.sort(np.asarray(fold.times)).tolist() == list(range(20 * (index + 1), 20 * (index + 2)))


def test_a_dataset_by_folds(source, written, tmp_path):
    folds = [load_dataset("digits", folds=5, fold=index) for index in range(5)]
    assert {fold.checksum for fold in folds} == {folds[0].checksum} != {load_dataset("digits").checksum}
    images = {image.tobytes() for fold in folds for image in fold.test.images}
    assert sum(len(fold.test.labels) for fold in folds) == len(images) == 1797
    parts = [folds[0].train, folds[0].validation, folds[0].test]
    assert [len(part.labels) for part in parts] == [1294, 144, 359]
    one = load_dataset("mnist", data_dir=written, cache_dir=tmp_path, folds=4, fold=3)
    assert len(one.test.labels) == 50  # a quarter of the training images, and none of the test images
    assert not {x.tobytes() for x in one.test.images} & {x.tobytes() for x in source.test.images}


@pytest.fixture
def table(tmp_path):
    """A CSV file of 24 images of two classes by eight patients, one image a day."""
    from PIL import Image

    rows = ["path,label,patient,day"]
    for index in range(24):
        Image.new("L", (4, 4), 10 * index).save(tmp_path / f"{index}.png")
        rows.append(f"{index}.png,{'ab'[index // 3 % 2]},p{index // 3},2026-01-{index + 1:02}")
    path = tmp_path / "table.csv"
    path.write_text("\n".join(rows))
    return path


def test_columns_of_a_csv_file(table, tmp_path):
    def load(**columns):
        return load_dataset(FolderImages(table, (4, 4), channels=1, **columns), cache_dir=tmp_path / "cache")

    grouped, timed = load(groups="patient"), load(time="day")
    patients = [{*(split.images[:, 0, 0, 0] // 30).tolist()} for split in (grouped.train, grouped.test)]
    assert not patients[0] & patients[1]
    assert brightness(timed.test).min() > brightness(timed.validation).max() > 0
    assert brightness(timed.validation).min() > brightness(timed.train).max()
    contents = [FolderImages(table, (4, 4), time=each).content(tmp_path / "cache") for each in (None, "day")]
    assert contents[0] != contents[1]
    chosen = load_dataset(
        ChosenClasses(FolderImages(table, (4, 4), time="day"), ("b", "a")), cache_dir=tmp_path / "cache"
    )
    assert brightness(chosen.test).min() > brightness(chosen.train).max()


def test_wrong_columns(table, tmp_path):
    def read(path=table, **columns):
        return FolderImages(path, (4, 4), **columns).read(tmp_path / "cache")

    for columns, message in (
        (
            {"groups": "doctor"},
            "needs the columns path, label and doctor, and its first line is path,label,patient,day",
        ),
        (
            {"time": "patient"},
            "data.time=patient is not allowed, because the column holds 'p0'; give numbers",
        ),
        ({"path": tmp_path, "groups": "patient"}, "the column patient needs a CSV file, and data.path="),
    ):
        with pytest.raises(DataError, match=re.escape(message)):
            read(**columns)
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], "0.png,a,,2026-01-01", *lines[2:]]))
    with pytest.raises(DataError, match="has no patient in line 2; add it"):
        read(groups="patient")
    splits = [f"{line},{'test' if index == 24 else 'train'}" for index, line in enumerate(lines[1:], 1)]
    table.write_text("\n".join([lines[0] + ",split", *splits]))
    with pytest.raises(DataError, match="images of p7 in the splits train and test; put each group into one"):
        read(groups="patient")


def test_arrays_of_an_npz_file(tmp_path):
    path = tmp_path / "x.npz"
    x, y = np.arange(20 * 4, dtype=np.uint8).reshape(20, 2, 2), np.arange(20) % 2
    np.savez(
        path, x=x, y=y, eye=np.arange(20) // 4, when=np.arange("2026-01-01", "2026-01-21", dtype="M8[D]")
    )
    timed = load_dataset(NpzImages(path, time="when"))
    assert brightness(timed.test).min() > brightness(timed.train).max()
    grouped = load_dataset(NpzImages(path, groups="eye"))
    assert not {*brightness(grouped.test) // 16} & {*brightness(grouped.train) // 16}
    with pytest.raises(DataError, match="it has no array nose"):
        NpzImages(path, groups="nose").describe()


def test_times():
    values = ["1970-01-01T01:00:00", "1970-01-01T02:00:00+01:00", "2.5"]
    assert parse_times(values, "taken").tolist() == [3600, 3600, 2.5]
    for wrong in ("", "soon", "nan"):
        with pytest.raises(DataError, match=f"because the column holds '{wrong}'"):
            parse_times([wrong], "taken")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"fold": 1}, "data.fold=1 is not allowed; give 0, or give data.folds too"),
        ({"folds": 5, "fold": 5}, "data.fold=5 is not allowed; give 0 to 4"),
        ({"folds": 1}, "data.folds=1 is not allowed; give a whole number, at least 2"),
        (
            {"groups": "patient"},
            "data.groups=patient is not allowed with data.source=table; give data=folder or",
        ),
        (
            {"source": "npz", "path": "x.npz", "groups": "a", "time": "b"},
            "data.groups and data.time are not allowed together",
        ),
    ],
)
def test_wrong_keys(data, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        Config.from_dict({"data": data, "training": {"epochs": 1, "batch_size": 1}})


def test_trials_are_refused_with_folds():
    study = {"name": "x", "question": "", "axis": "", "arm": "a", "arms": ["a"], "reference": "a"}
    tuning = {"seeds": [1000], "learning_rate": [1.0]}
    with pytest.raises(ConfigError, match=r"study.tuning is not allowed with data.folds"):
        Config.from_dict({"data": {"folds": 2}, "study": study | {"tuning": tuning}})
