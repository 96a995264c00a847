"""The parser of the commands that read a run or a folder and take plain arguments."""

import argparse
import sys
from collections.abc import Collection
from pathlib import Path
from typing import NoReturn

from research.config import ConfigError
from research.utils.constraints import OneOf


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
