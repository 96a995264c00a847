"""Folders and CSV files of a user's images, made with tiny pictures."""

import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from research.data import DataError, FolderImages, load_dataset
from research.data.image_folder import fits
from research.data.listing import list_images


def write(path: Path, value=0, size=(6, 4), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode != "RGB" else (value, value, value)).save(path, **options)
    return path


@pytest.fixture
def photos(tmp_path) -> Path:
    """Ten images each of the classes cat, dog and é; the grey level of an image says which it is."""
    for label, name in enumerate(("cat", "dog", "é")):
        for index in range(10):
            write(tmp_path / "photos" / name / f"{index}.png", 80 * label + index)
    return tmp_path / "photos"


@pytest.fixture
def load(tmp_path):
    def load(path, size=(4, 6), **options):
        return load_dataset(FolderImages(path, size, **options), cache_dir=tmp_path / "cache")

    return load


def levels(split):
    return split.images[:, 0, 0, 0].tolist()


def test_a_folder_for_each_class(photos, load):
    before = {path: path.stat().st_mtime_ns for path in (photos, *photos.rglob("*"))}
    dataset = load(photos)
    assert dataset.name == "photos"
    assert dataset.class_names == ("cat", "dog", "é")
    assert dataset.image_shape == (4, 6, 3)
    splits = (dataset.train, dataset.validation, dataset.test)
    assert [np.bincount(split.labels).tolist() for split in splits] == [[7] * 3, [1] * 3, [2] * 3]
    assert sorted(level for split in splits for level in levels(split)) == sorted(
        80 * c + i for c in range(3) for i in range(10)
    )
    assert all(level // 80 == label for level, label in zip(levels(splits[0]), splits[0].labels, strict=True))
    again = load(photos)
    assert levels(again.test) == levels(dataset.test)
    assert again.checksum == dataset.checksum
    assert {path: path.stat().st_mtime_ns for path in (photos, *photos.rglob("*"))} == before


def test_an_image_is_decoded_once(photos, load, monkeypatch):
    first = load(photos)
    monkeypatch.setattr("research.data.image_folder.decode_image", lambda *_: pytest.fail("decoded again"))
    assert load(photos).checksum == first.checksum
    moved = photos.with_name("moved")
    photos.rename(moved)
    assert load(moved).checksum == first.checksum


def test_the_content_of_images_counts_and_their_path_does_not(photos, tmp_path):
    cache, images = tmp_path / "cache", FolderImages(photos, (4, 6))
    content = images.content(cache)
    copy = tmp_path / "copy"
    shutil.copytree(photos, copy)
    assert FolderImages(copy, (4, 6)).content(cache) == content
    write(copy / "cat" / "0.png", 255)
    assert FolderImages(copy, (4, 6)).content(cache) != content
    (photos / "dog").rename(photos / "wolf")
    assert images.content(cache) != content


def test_folders_for_the_splits(photos, load, tmp_path):
    root = tmp_path / "split"
    shutil.copytree(photos, root / "train")
    write(root / "val" / "cat" / "a.png", 250)
    write(root / "test" / "dog" / "b.png", 251)
    dataset = load(root)
    assert (len(dataset.train.labels), levels(dataset.validation), levels(dataset.test)) == (30, [250], [251])
    assert dataset.test.labels.tolist() == [1]
    shutil.rmtree(root / "val")
    assert [len(s.labels) for s in (load(root).train, load(root).validation)] == [27, 3]
    write(root / "test" / "cow" / "c.png")
    with pytest.raises(
        DataError, match=r"has test images of the class cow, such as .*c\.png, and no training"
    ):
        load(root)


def test_a_class_may_be_called_train(load, tmp_path):
    for name in ("train", "bus"):
        for index in range(4):
            write(tmp_path / "vehicles" / name / f"{index}.png", index)
    assert load(tmp_path / "vehicles").class_names == ("bus", "train")


def test_classes_that_are_numbers_are_in_their_order(load, tmp_path):
    for name in ("10", "9", "1"):
        for index in range(2):
            write(tmp_path / "numbers" / name / f"{index}.png", index)
    assert load(tmp_path / "numbers").class_names == ("1", "9", "10")


def test_a_csv_file(photos, load, tmp_path):
    rows = ["path,label,split,remark"]
    rows += [f"photos/cat/{index}.png,a,train," for index in range(8)]
    rows += ['photos/dog/0.png,"b, c",train,"x"', f"{photos}/dog/1.png,a,val,", "photos/dog/2.png,a,test,"]
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(rows), encoding="utf-8-sig")
    dataset = load(path)
    assert dataset.name == "labels"
    assert dataset.class_names == ("a", "b, c")
    assert dataset.train.labels.tolist() == [0] * 8 + [1]
    assert (levels(dataset.validation), levels(dataset.test)) == ([81], [82])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "needs the columns path and label, and it is empty"),
        (b"a.png,cat\n", "needs the columns path and label, and its first line is a.png,cat"),
        (b"path,label\na.png,cat\nb.png\n", "has no label in line 3"),
        (b"path,label,split\na.png,cat,dev\n", "has the split 'dev' in line 2; give one of train, val,"),
        (b"path,label\n\xff,cat\n", "cannot be read as CSV in UTF-8"),
        (b"path,label\nnone.png,cat\n", "has no images"),
    ],
)
def test_a_wrong_csv_file(tmp_path, content, message):
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        list_images(path)


def test_hidden_files_links_and_nested_folders(photos, load):
    expected = load(photos).checksum
    for name in (".DS_Store", "Thumbs.db", "cat/desktop.ini", "dog/.hidden.png", "dog/._0.png"):
        (photos / name).write_bytes(b"x")
    write(photos / "__MACOSX" / "cat" / "0.png")
    outside = photos.with_name("outside.png")
    (photos / "cat" / "9.png").rename(outside)
    (photos / "cat" / "9.png").symlink_to(outside)
    (photos / "dog" / "loop").symlink_to(photos / "dog", target_is_directory=True)
    assert load(photos).checksum == expected
    (photos / "dog" / "more").mkdir()
    (photos / "dog" / "9.png").rename(photos / "dog" / "more" / "9.png")
    assert load(photos).checksum == expected


def test_files_that_cannot_be_used_are_named_and_left_out_on_request(photos, load):
    expected = load(photos)
    (photos / "read me.txt").write_text("hello")
    (photos / "cat" / "notes.txt").write_text("hello")
    (photos / "cat" / "gone.png").symlink_to(photos / "nowhere.png")
    (photos / "empty").mkdir()
    with pytest.raises(DataError) as error:
        load(photos)
    for part in (
        "has 4 files that cannot be used: ",
        "read me.txt (it lies in no folder of a class)",
        "cat/notes.txt (its name ends in none of .jpg",
        "cat/gone.png (a broken link)",
        "empty (a folder without images)",
        "or give data.skip_damaged=true to leave it out",
    ):
        assert part in str(error.value)
    dataset = load(photos, skip_damaged=True)
    assert (dataset.num_left_out, dataset.checksum) == (4, expected.checksum)
    content = (photos / "dog" / "3.png").read_bytes()
    (photos / "dog" / "x.png").write_bytes(content[: len(content) // 2])
    (photos / "dog" / "y.jpg").write_bytes(b"")
    for name in ("cat/notes.txt", "cat/gone.png", "read me.txt"):
        (photos / name).unlink()
    (photos / "empty").rmdir()
    with pytest.raises(DataError, match=r"2 files .* dog/x\.png \(it cannot be decoded.* dog/y\.jpg \("):
        load(photos)
    for _ in range(2):  # decoded, and from the cache
        images = FolderImages(photos, (4, 6), skip_damaged=True)
        source, _ = images.read(photos.with_name("cache"))
        assert list(source.left_out) == ["dog/x.png", "dog/y.jpg"]
        assert len(images.names(source)["train"]) == 30
    (photos / "é" / "0.png").write_bytes(b"")
    for index in range(1, 10):
        (photos / "é" / f"{index}.png").unlink()
    with pytest.raises(DataError, match="has no undamaged training image of the class é; add one"):
        load(photos, skip_damaged=True)


def test_an_error_names_ten_files_at_most(photos, load):
    for index in range(13):
        (photos / f"{index:02d}.txt").write_text("")
    with pytest.raises(DataError, match=r"has 13 files .*09\.txt \([^)]*\), and 3 more; "):
        load(photos)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist; give a folder with a folder for each class, or a CSV file"),
        (lambda path: path.write_text("x"), "is no folder and no CSV file"),
        (lambda path: path.mkdir(), "has no images; give a folder with at least two folders"),
        (lambda path: write(path / "cat" / "0.png"), "has the one class cat; give"),
    ],
)
def test_a_path_without_two_classes(tmp_path, make, message):
    make(tmp_path / "photos")
    with pytest.raises(DataError, match=f"data.path={tmp_path / 'photos'} {message}"):
        list_images(tmp_path / "photos")


def test_one_image_in_a_class_is_trained_on(photos, load):
    write(photos / "one" / "0.png", 255)
    dataset = load(photos)
    assert (dataset.class_names[2], np.count_nonzero(dataset.train.labels == 2)) == ("one", 1)


def test_thousands_of_classes(tmp_path):
    path = write(tmp_path / "image.png")
    for index in range(2000):
        (tmp_path / "many" / f"class {index}").mkdir(parents=True)
        os.link(path, tmp_path / "many" / f"class {index}" / "0.png")
    listing = list_images(tmp_path / "many")
    assert (len(listing.class_names), len(listing.files["train"])) == (2000, 2000)


def test_one_class_has_one_name_however_its_accents_are_written(photos, tmp_path):
    (photos / "é").rename(photos / unicodedata.normalize("NFD", "é"))
    assert list_images(photos).class_names == ("cat", "dog", "é")


@pytest.mark.parametrize(
    ("count", "batch_size"), [(3, 1), (30, 2), (90, 4), (92, 8), (731, 32), (10_000, 64)]
)
def test_the_recommended_batch_gives_eight_steps_an_epoch(count, batch_size):
    from research.data.dataset import recommend

    spec = recommend((4, 6, 3), ("a", "b"), {"train": count})
    assert spec.batch_size == batch_size
    assert count < 12 or 0.7 * count // batch_size >= 8


def test_images_that_do_not_fit_into_memory_stay_on_disk_unless_memory_is_asked_for():
    large, small = (10**9, (4000, 4000, 3)), (10, (4, 4, 3))
    assert [fits(*small, asked) for asked in (None, True, False)] == [True, True, False]
    assert not fits(*large, None)
    with pytest.raises(DataError, match=r"1,000,000,000 images with .*4000, 4000\] take .* GB"):
        fits(*large, True)
