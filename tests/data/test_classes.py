import re

import numpy as np
import pytest

from research.config import Config, ConfigError
from research.data import ChosenClasses, DataError, FolderImages, TableImages, load_dataset


def test_the_images_and_names_of_the_chosen_classes(written, source, tmp_path):
    images = ChosenClasses(TableImages("mnist", written), (7, "2", 0))
    dataset = load_dataset(images, cache_dir=tmp_path)
    assert images.describe().class_names == dataset.class_names == ("7", "2", "0")
    assert images.describe().num_classes == dataset.num_classes == 3
    for position, label in enumerate((7, 2, 0)):
        ours = dataset.test.images[dataset.test.labels == position]
        np.testing.assert_array_equal(ours, source.test.images[source.test.labels == label])
    assert np.bincount(dataset.train.labels).tolist() == [18, 18, 18]
    others = load_dataset(ChosenClasses(TableImages("mnist", written), (1, 3)), cache_dir=tmp_path)
    assert others.checksum != dataset.checksum


def test_the_fractions_of_the_table_stay_those_of_the_table():
    chosen = load_dataset(ChosenClasses(TableImages("digits"), tuple(range(10))))
    whole = load_dataset("digits")
    assert chosen.checksum == whole.checksum
    np.testing.assert_array_equal(chosen.train.images, whole.train.images)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (
            (0, 10),
            "data.classes=[0,10] is not allowed, because digits has no class 10; give labels from 0 to 9",
        ),
        ((0, -1), "digits has no class -1"),
        (("0", "ten"), "has no class ten; give labels from 0 to 9, or names such as 0"),
        ((3, "3"), "give each class once"),
    ],
)
def test_wrong_classes(classes, message):
    with pytest.raises(DataError, match=re.escape(message)):
        ChosenClasses(TableImages("digits"), classes).describe()


def test_the_key_and_the_fingerprint():
    whole, some = (Config.from_dict({"data": {"classes": classes}}) for classes in (None, [0, "1", 4]))
    assert some.data.images.describe().num_classes == 3
    assert some.fingerprint() != whole.fingerprint()
    assert Config.from_dict(some.to_dict()) == some
    for classes in ([3], [3, 3]):
        with pytest.raises(ConfigError, match=r"data.classes=\[3.*give at least two classes, each once"):
            Config.from_dict({"data": {"classes": classes}})
    with pytest.raises(ConfigError, match=r"data.classes=\[0, 1.5\] is not allowed|data.classes=1.5 is not"):
        Config.from_dict({"data": {"classes": [0, 1.5]}})


def test_a_class_without_test_images(tmp_path):
    from PIL import Image

    for folder in ("train/a", "train/b", "train/c", "test/c"):
        (tmp_path / folder).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / folder / "1.png")
    images = ChosenClasses(FolderImages(tmp_path, (4, 4)), ("a", "b"))
    with pytest.raises(
        DataError, match=r"data.classes=\[a,b\] leaves no test image of .*; give other classes"
    ):
        images.read(tmp_path / "cache")
