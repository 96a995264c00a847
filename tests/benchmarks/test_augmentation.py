from research.benchmarks.augmentation import time_augmentations
from research.data.augmentation import NEED_COLOR, OF_IMAGES


def test_every_augmentation_is_timed(monkeypatch):
    names = ("flip", "rotate", "zoom", "shear", "hue")
    for name in OF_IMAGES.keys() - set(names):
        monkeypatch.delitem(OF_IMAGES, name)
    times = time_augmentations((8, 8, 3), 2, 2)
    assert times.keys() == {*names, "flip rotate zoom shear"}
    assert all(time > 0 for time in times.values())
    assert not set(NEED_COLOR) & time_augmentations((8, 8, 1), 2, 2).keys()
