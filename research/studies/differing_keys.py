"""The keys of the configuration whose values differ between runs."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from research.records import NOT_IN_THE_RESULT, Run
from research.utils.nested import is_below

# Two runs that differ only in these keys are the same experiment.
IGNORED_SECTIONS = (
    "study",
    "seed",
    "data.fold",
    "init_from.run",
    "loss.teacher",
    "data.path",
    *NOT_IN_THE_RESULT,
)


def differing_keys(runs: Iterable[Run]) -> list[str]:
    """Return the dotted keys whose values differ between runs, without seeds and paths.

    Keys such as `model.name` come first.
    """
    configs = [run.settings for run in runs]
    keys = dict.fromkeys(key for config in configs for key in config)
    differing = [
        key
        for key in keys
        if key != "init_from"  # a text in the runs of earlier versions
        and not is_below(key, IGNORED_SECTIONS)
        and _differ([config.get(key) for config in configs])
    ]
    return sorted(differing, key=lambda key: not key.endswith("name"))


def describe_settings(run: Run, keys: Iterable[str]) -> str:
    """Return the values of some dotted keys of a run as text, such as `model.depth=2, seed=1`."""
    config = run.settings
    return ", ".join(f"{key}={_as_text(config[key])}" for key in keys if key in config)


def _differ(values: Sequence[Any]) -> bool:
    """Return whether two of some values differ as texts; numbers of different types differ."""
    first = values[0]
    if isinstance(first, str | int | float | None) and all(
        type(value) is type(first) and value == first for value in values
    ):
        return False
    return len({_as_text(value) for value in values}) > 1


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
