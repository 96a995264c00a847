"""Images before the network: datasets and where they come from, splits, and augmentation."""

from research.data.augmentation import AUGMENTATIONS, RECIPES
from research.data.dataset import DATASETS, DataError, Dataset, DatasetSpec, Split
from research.data.loading import default_data_dir, load_dataset, locate
from research.data.preparation import prepare
from research.data.preprocess import Preprocess

__all__ = [
    "AUGMENTATIONS",
    "DATASETS",
    "RECIPES",
    "DataError",
    "Dataset",
    "DatasetSpec",
    "Preprocess",
    "Split",
    "default_data_dir",
    "load_dataset",
    "locate",
    "prepare",
]
