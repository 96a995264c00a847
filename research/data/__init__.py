"""Images before the network: datasets and where they come from, splits, and augmentation."""

from research.data.augmentation import AUGMENTATIONS, Preprocess
from research.data.dataset import DATASETS, DataError, Dataset, DatasetSpec, Split
from research.data.loading import default_data_dir, load_dataset, locate
from research.data.preparation import prepare

__all__ = [
    "AUGMENTATIONS",
    "DATASETS",
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
