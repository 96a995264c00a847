"""Augmentations: random changes of the training images, each with a name and keyword arguments.

An entry of `AUGMENTATIONS` is a function of its keyword arguments, which returns the augmentation. One of
`OF_IMAGES` is a function `(key, image)` of a typed key and one image `[H, W, C]`. The others concern a whole
batch: `AlternatingFlip` and `Mixing`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from research.data.augmentation.alternating import alternating_flip
from research.data.augmentation.automatic import rand_augment, trivial_augment
from research.data.augmentation.base import Augmentation
from research.data.augmentation.geometry import (
    affine,
    crop,
    flip,
    flip_vertical,
    perspective,
    resized_crop,
    rotate,
    shear,
    shift,
    zoom,
)
from research.data.augmentation.local import blur, cutout, elastic, erase, noise
from research.data.augmentation.mixing import cutmix, mixup
from research.data.augmentation.photometric import (
    autocontrast,
    brightness,
    color_jitter,
    contrast,
    grayscale,
    hue,
    posterize,
    saturation,
    solarize,
)

OF_IMAGES: dict[str, Callable[..., Augmentation]] = {
    "flip": flip,
    "flip_vertical": flip_vertical,
    "crop": crop,
    "shift": shift,
    "rotate": rotate,
    "zoom": zoom,
    "resized_crop": resized_crop,
    "shear": shear,
    "affine": affine,
    "perspective": perspective,
    "elastic": elastic,
    "brightness": brightness,
    "contrast": contrast,
    "saturation": saturation,
    "hue": hue,
    "color_jitter": color_jitter,
    "grayscale": grayscale,
    "solarize": solarize,
    "posterize": posterize,
    "autocontrast": autocontrast,
    "noise": noise,
    "blur": blur,
    "cutout": cutout,
    "erase": erase,
    "rand_augment": rand_augment,
    "trivial_augment": trivial_augment,
}
"""The augmentations of single images, by name."""

AUGMENTATIONS: dict[str, Callable[..., Any]] = OF_IMAGES | {
    "alternating_flip": alternating_flip,
    "mixup": mixup,
    "cutmix": cutmix,
}
"""All augmentations, by the name that a configuration gives."""

NEED_COLOR = ("saturation", "hue", "color_jitter", "grayscale")
"""The augmentations that need images of three channels."""

RECIPES: dict[str, tuple[str | Mapping[str, Any], ...]] = {
    "none": (),
    "standard": ("flip", "crop"),
    "strong": ("flip", "crop", "rand_augment", "cutout", "mixup"),
    "mnist": ({"name": "affine", "degrees": 10.0, "shear_degrees": 5.0},),
}
"""Lists of augmentations by the name that `augmentation=NAME` gives. No digit is mirrored by `mnist`."""
