"""Images before the network: datasets and where they come from, splits, and augmentation."""

from research.data.augmentation import AUGMENTATIONS, RECIPES
from research.data.classes import ChosenClasses
from research.data.dataset import DATASETS, DataError, Dataset, DatasetSpec, InputSpec, Split
from research.data.decode import RESIZINGS
from research.data.image_folder import FolderImages, name_of_path
from research.data.image_source import ImageSource, cache_folder
from research.data.inspection import Inspection, inspect_images
from research.data.loading import load_dataset
from research.data.npz_file import NpzImages
from research.data.preparation import prepare
from research.data.preprocess import Preprocess
from research.data.stored import Images, StoredImages, batches_in_order
from research.data.table import TableImages, default_data_dir
from research.data.tfds_folder import TfdsImages

__all__ = [
    "AUGMENTATIONS",
    "DATASETS",
    "RECIPES",
    "RESIZINGS",
    "ChosenClasses",
    "DataError",
    "Dataset",
    "DatasetSpec",
    "FolderImages",
    "ImageSource",
    "Images",
    "InputSpec",
    "Inspection",
    "NpzImages",
    "Preprocess",
    "Split",
    "StoredImages",
    "TableImages",
    "TfdsImages",
    "batches_in_order",
    "cache_folder",
    "default_data_dir",
    "inspect_images",
    "load_dataset",
    "name_of_path",
    "prepare",
]
