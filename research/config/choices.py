"""What `Config.from_dict` puts in for a value that is not given or that is a name alone."""

from collections.abc import Mapping
from typing import Any

from research.config.data import DataConfig, data_choice
from research.data import RECIPES
from research.training.losses import CROSS_ENTROPY
from research.training.optimizers import ONLY_SCHEDULE
from research.utils.constraints import OneOf
from research.utils.strict import ConfigError, construct

DEFAULT_CHOICES = {"model": "plain", "optimizer": "adam", "schedule": "cosine", "loss": CROSS_ENTROPY.name}
CHOICES = (*DEFAULT_CHOICES, "data", "parallel")
"""Sections of `Config` that a function or a dataset of this name stands behind."""
NAME_KEYS = {section: f"{section}.name" for section in CHOICES}
NAME_KEYS |= {"logging": "logging.to", "init_from": "init_from.run"}
"""Sections of `Config` whose value may be a text alone, and the key that the text is the value of."""

RECOMMENDATIONS = ("epochs", "batch_size")
"""Keys of `training` for which a dataset recommends a value."""


def default_choices(optimizer: Any) -> dict[str, Any]:
    """Return the names of the choices that are not given, for the name of an optimizer or `None`.

    Example:
        >>> default_choices("schedule_free_adamw")["schedule"], default_choices(None)["schedule"]
        ('constant', 'cosine')
    """
    schedule = ONLY_SCHEDULE.get(optimizer) if isinstance(optimizer, str) else None
    return DEFAULT_CHOICES | ({"schedule": schedule} if schedule else {})


def with_recommendations(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration in which the dataset's epochs and batch size replace missing ones.

    Args:
        values: a plain dict with the keys `data` and `training`, both optional.

    Raises:
        ConfigError: a value of `data` is wrong.
        DataError: a value is missing, and so are the user's images on which it depends.

    Example:
        >>> with_recommendations({"data": {"name": "mnist"}, "training": {"batch_size": None}})
        {'data': {'name': 'mnist'}, 'training': {'epochs': 3, 'batch_size': 64}}
    """
    data, training = values.get("data", {}), values.get("training", {})
    if not isinstance(data, Mapping) or not isinstance(training, Mapping):
        return dict(values)  # `construct` refuses it
    data = {key: value for key, value in data.items() if value is not None or key != "name"}
    given = {key: value for key, value in training.items() if value is not None or key not in RECOMMENDATIONS}
    # Without the images of a finished run, its configuration can still be read.
    if missing := [key for key in RECOMMENDATIONS if key not in given]:
        spec = construct(DataConfig, data, "data").images.describe()
        given |= {key: getattr(spec, key) for key in missing}
    return {**values, "data": data, "training": given}


def with_recipe(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration in which a named list of augmentations is replaced by the list.

    Args:
        values: a plain dict that may have the key `augmentation`.

    Raises:
        ConfigError: there is no such list, or `data.augmentations` is given too.

    Example:
        >>> with_recipe({"augmentation": "standard"})
        {'data': {'augmentations': ['flip', 'crop']}}
    """
    values = dict(values)
    if "augmentation" not in values:
        return values
    name, data = values.pop("augmentation"), values.get("data", {})
    if name not in list(RECIPES):
        raise ConfigError(f"augmentation={name} is not allowed; give {OneOf(RECIPES)}")
    if isinstance(data, str):
        data = data_choice(data)
    if not isinstance(data, Mapping):
        return values  # `construct` refuses it
    if data.get("augmentations"):
        raise ConfigError(
            f"augmentation={name} is not allowed beside data.augmentations; give one of the two keys"
        )
    return {**values, "data": {**data, "augmentations": list(RECIPES[name])}}
