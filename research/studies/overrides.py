"""Overrides of a configuration, as on the command line, in a flat dict with dotted keys."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from research.config import CHOICES, NAME_KEYS, Config, ConfigError, default_choices, with_recipe
from research.training.optimizers import ONLY_SCHEDULE
from research.utils.nested import dotted_keys, nested

NOT_AN_OVERRIDE = {
    "seed": "the seeds are given when the study runs",
    "study": "the study writes that section itself",
}


def as_overrides(key: str, values: Any) -> dict[str, Any]:
    """Return overrides as a flat dict with dotted keys, in which ``model: tiny`` is ``model.name: tiny``.

    Args:
        key: the name of the overrides in an error, such as ``base``.
        values: a mapping with nested dicts, dotted keys, or both; None means no overrides.

    Raises:
        ConfigError: the values are no mapping, a key is given twice, or a key is not one of a configuration.

    Example:
        >>> as_overrides("base", {"model": "tiny", "training": {"epochs": 2}, "data.train_limit": 100})
        {'model.name': 'tiny', 'training.epochs': 2, 'data.train_limit': 100}
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise ConfigError(f"{key}={values} is not allowed; give a mapping from keys to values")
    overrides = {}
    allowed = [field.name for field in dataclasses.fields(Config) if field.name not in NOT_AN_OVERRIDE]
    try:
        flat = dotted_keys(with_recipe(values))
    except ValueError as error:
        raise ConfigError(f"{key}.{error}") from error
    for dotted, value in flat.items():
        section = dotted.partition(".")[0]
        if section in NOT_AN_OVERRIDE:
            raise ConfigError(f"{key}.{dotted} is not allowed: {NOT_AN_OVERRIDE[section]}")
        if section not in allowed:
            raise ConfigError(f"there is no key {key}.{dotted}; allowed: {', '.join(allowed)}")
        full = NAME_KEYS.get(dotted, dotted)
        if full in overrides:
            raise ConfigError(f"{key}.{full} is given twice; give it once")
        overrides[full] = value
    return overrides


def overlay(
    values: dict[str, Any], overrides: Mapping[str, Any], explicit: Collection[str]
) -> dict[str, Any]:
    """Return flat values with some overrides on top.

    If an override chooses another name for a section, such as another model, the values of that section are
    those of the former choice. They are dropped, unless they are in ``explicit``. The schedule is
    dropped in the same way if the override chooses an optimizer that takes one schedule only.

    Args:
        values: flat values.
        overrides: flat overrides.
        explicit: the keys of ``values`` that the user gave.

    Example:
        >>> overlay({"model.name": "plain", "model.depth": 2}, {"model.name": "tiny"}, explicit=())
        {'model.name': 'tiny'}
        >>> overlay({"schedule.name": "cosine"}, {"optimizer.name": "schedule_free_adamw"}, explicit=())
        {'optimizer.name': 'schedule_free_adamw'}
    """
    changed = {
        section
        for section in CHOICES
        if (name := f"{section}.name") in overrides and overrides[name] != values.get(name)
    }
    if "optimizer" in changed and overrides["optimizer.name"] in ONLY_SCHEDULE:
        changed.add("schedule")
    kept = {
        key: value for key, value in values.items() if key.partition(".")[0] not in changed or key in explicit
    }
    return kept | dict(overrides)


def make_config(values: Mapping[str, Any], plan: Mapping[str, Any] | None) -> Config:
    """Return the configuration of flat values and a section ``study``.

    Raises:
        ConfigError: a key is unknown, or a value is not allowed.
    """
    choices = default_choices(values.get("optimizer.name"))
    names = {f"{section}.name": name for section, name in choices.items()}
    try:
        sections = nested(names | dict(values))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return Config.from_dict(sections | {"study": None if plan is None else dict(plan)})


def default_name(axis: str, value: Any) -> str:
    """Return the name of the arm that has a value of an axis.

    Raises:
        ConfigError: the value is a list or a mapping, which has no short name.

    Example:
        >>> default_name("model.activation", "relu"), default_name("model.depth", 2)
        ('relu', 'depth 2')
    """
    if isinstance(value, str):
        return value
    if value is not None and not isinstance(value, bool | int | float):
        raise ConfigError(
            f"arms={value} is not allowed in a list of arms; give a mapping from the name of each arm to its "
            "overrides"
        )
    words = {True: "true", False: "false", None: "null"}
    text = words[value] if value is None or isinstance(value, bool) else str(value)
    return f"{axis.rpartition('.')[2]} {text}"


def refuse_unknown(key: str, values: Any, allowed: Collection[str]) -> None:
    """Check that ``values`` is a mapping whose keys are all allowed.

    Raises:
        ConfigError: ``values`` is no mapping, or a key is not allowed; the message lists the allowed keys.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"{key or 'a study'}={values} is not allowed; give a mapping with {', '.join(allowed)}"
        )
    for name in values:
        if name not in allowed:
            dotted = f"{key}.{name}" if key else name
            raise ConfigError(f"there is no key {dotted}; allowed: {', '.join(allowed)}")
