"""Every key of the configuration with its default and its meaning, read from signatures and docstrings.

`--help`, the nodes of Hydra and the reference page of the documentation all come from here.
"""

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

from research.config import CHOICES, DATA_CHOICES, LOGGERS, RECOMMENDED, Config
from research.data import AUGMENTATIONS, RECIPES
from research.utils.constraints import OneOf
from research.utils.docstrings import read_arguments
from research.utils.nested import is_below
from research.utils.strict import Functions, allowed_values, to_plain


class Row(NamedTuple):
    """One key of a configuration.

    Args:
        key: dotted name.
        default: default as a plain value.
        meaning: one sentence from the docstring.
        allowed: the values that are allowed, in words.
    """

    key: str
    default: Any
    meaning: str
    allowed: str


FORMATS = ("table", "json")
"""The ways in which a command can print its result."""


@dataclass(frozen=True)
class FormatKeys:
    """The key of a command that prints a table.

    Args:
        format: how the result is printed.
    """

    format: Annotated[str, OneOf(FORMATS)] = "table"


@dataclass(frozen=True)
class Command:
    """A command that composes a configuration, and the keys that it reads.

    Args:
        config_name: name of its file in conf, without `.yaml`.
        doc: docstring of its module, which `--help` prints.
        own: dataclasses of the keys that it adds to those of `Config`.
        config_keys: dotted keys of `Config` that it reads; a section stands for all of its keys, and a
            name of `CHOICES` for that group of choices.
        renamed: keys of its own that were renamed: the new name by the old name.
    """

    config_name: str
    doc: str | None
    own: Sequence[type] = ()
    config_keys: Sequence[str] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def groups(self) -> list[str]:
        """Groups of choices that the command has."""
        return [group for group in CHOICES if group in self.config_keys]

    @property
    def presets(self) -> dict[str, dict[str, Any]]:
        """The values of other keys for each name, by the groups of such names that the command has."""
        found: dict[str, dict[str, Any]] = {}
        if {"data", "optimizer"} <= set(self.groups):  # it trains
            lists = {name: [*map(_as_value, recipe)] for name, recipe in RECIPES.items()}
            found["augmentation"] = {name: {"data": {"augmentations": each}} for name, each in lists.items()}
        if "logging" in self.config_keys:
            found["logging"] = {name: {"logging": {"to": name}} for name in LOGGERS}
        return found

    def rows(self) -> list[Row]:
        """Return the rows of all keys except those of the choices."""
        common = [row for row in rows(Config) if is_below(row.key, self.config_keys)]
        return common + [row for cls in self.own for row in rows(cls)]


def _as_value(augmentation: str | Mapping[str, Any]) -> Any:
    return augmentation if isinstance(augmentation, str) else dict(augmentation)


def rows(cls: Any, prefix: str = "") -> list[Row]:
    """Return a row for each key of a dataclass, without those of the choices in `CHOICES`.

    Args:
        cls: a dataclass whose docstring has a section `Args`.
        prefix: text that each key begins with, such as `training.`.

    Example:
        >>> from research.config import SweepConfig
        >>> rows(SweepConfig, "sweep.")[0].meaning
        'run the runs that failed before again'
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    meanings, found = read_arguments(cls), list[Row]()
    for item in dataclasses.fields(cls):
        key, hint = prefix + item.name, hints[item.name]
        if cls is Config and item.name in CHOICES:
            continue
        if dataclasses.is_dataclass(hint):
            found += rows(hint, f"{key}.")
        else:
            default = None if item.default is dataclasses.MISSING else to_plain(item.default)
            null = ", or null" if item.default is RECOMMENDED and "null" not in allowed_values(hint) else ""
            found.append(_row(key, default, meanings, allowed_values(hint) + null))
    return found


def choice_rows(group: str) -> dict[str, list[Row]]:
    """Return the rows of each choice of a group, by the name of the choice.

    Args:
        group: a name of `CHOICES`, such as `model`.

    Example:
        >>> [row.key for row in choice_rows("schedule")["cosine"]]
        ['schedule.final']
    """
    hint = typing.get_type_hints(Config, include_extras=True)[group]
    if group == "data":
        return dict.fromkeys(DATA_CHOICES, rows(hint, "data."))
    if not dataclasses.is_dataclass(hint):
        table = _constraint(hint, Functions)
        return {name: _function_rows(table, name, f"{group}.") for name in table.functions}
    names = _constraint(typing.get_type_hints(hint, include_extras=True)["name"], OneOf).names
    own = [row for row in rows(hint, f"{group}.") if row.key != f"{group}.name"]
    return dict.fromkeys(names, own)


def augmentation_rows() -> dict[str, list[Row]]:
    """Return the rows of the keyword arguments of each augmentation, by the name of the augmentation.

    Example:
        >>> [row.key for row in augmentation_rows()["flip"]]
        ['probability']
    """
    table = Functions(AUGMENTATIONS)
    return {name: _function_rows(table, name, "") for name in AUGMENTATIONS}


def _row(key: str, default: Any, meanings: Mapping[str, str], allowed: str) -> Row:
    return Row(key, default, meanings.get(key.rpartition(".")[2], "").removesuffix("."), allowed)


def _function_rows(table: Functions, name: str, prefix: str) -> list[Row]:
    meanings = read_arguments(table.common) | read_arguments(table.functions[name])
    return [
        _row(prefix + key, to_plain(default), meanings, allowed_values(hint))
        for key, (hint, default) in table.parameters(name).items()
    ]


def _constraint(hint: Any, kind: type) -> Any:
    assert typing.get_origin(hint) is Annotated
    constraint = typing.get_args(hint)[1]
    assert isinstance(constraint, kind)
    return constraint
