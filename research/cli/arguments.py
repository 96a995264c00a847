"""The parser of the commands that read a run or a folder and take plain arguments."""

import argparse
import sys
import typing
from collections.abc import Collection
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from research.utils.constraints import OneOf
from research.utils.docstrings import read_arguments
from research.utils.strict import ConfigError, allowed_values

T = TypeVar("T")


class Arguments(argparse.ArgumentParser):
    """A parser that reports an error in one sentence.

    Args:
        doc: docstring of the module of the command, which `--help` prints.
    """

    def __init__(self, doc: str | None) -> None:
        formatter = argparse.RawDescriptionHelpFormatter  # it keeps the line breaks of the docstring
        super().__init__(prog=Path(sys.argv[0]).name, description=doc, formatter_class=formatter)

    def error(self, message: str) -> NoReturn:
        """Raise a `ConfigError` that says what is wrong and how to call the command."""
        usage = " ".join(self.format_usage().removeprefix("usage: ").split())
        raise ConfigError(f"{message}; call {usage}")


def check_choice(flag: str, value: str | None, names: Collection[str]) -> None:
    """Refuse the value of a flag if it is none of some names; `None` means that the flag was not given.

    Raises:
        ConfigError: the value is not one of the names, which the message lists.
    """
    if value is not None and value not in names:
        raise ConfigError(f"{flag}={value} is not allowed; give {OneOf(names)}")


def add_others(parser: Arguments) -> None:
    """Add the flag `--with`, which names further runs that form an ensemble with the run."""
    described = "folders of further runs, whose probabilities are averaged with those of the run"
    parser.add_argument("--with", nargs="+", default=[], type=Path, dest="others", help=described)


def add_flags(parser: Arguments, cls: type) -> None:
    """Add a flag for each field of a dataclass of numbers, such as `--max-images` for `max_images`."""
    meanings = read_arguments(cls)
    for field, (flag, hint) in _flags(cls).items():
        default, kind = getattr(cls, field), typing.get_args(hint)[0]
        parser.add_argument(flag, type=kind, default=default, help=f"{meanings[field]} Default {default:g}.")


def read_flags(cls: type[T], arguments: argparse.Namespace) -> T:
    """Return the dataclass with the values of its flags.

    Raises:
        ConfigError: a value is not allowed.
    """
    values = {}
    for field, (flag, hint) in _flags(cls).items():
        values[field] = getattr(arguments, field)
        if values[field] not in typing.get_args(hint)[1]:
            raise ConfigError(f"{flag}={values[field]:g} is not allowed; give {allowed_values(hint)}")
    return cls(**values)


def _flags(cls: type) -> dict[str, tuple[str, Any]]:
    """Return the flag and the annotation of each field of a dataclass."""
    hints = typing.get_type_hints(cls, include_extras=True)
    names = [field.name for field in fields(cast(Any, cls))]
    return {name: (f"--{name.replace('_', '-')}", hints[name]) for name in names}
