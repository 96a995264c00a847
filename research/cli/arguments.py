"""Plain arguments of the commands that read a run or a folder."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from research.config import ConfigError


class Arguments(argparse.ArgumentParser):
    """A parser whose errors are one sentence, as those of the commands with a configuration."""

    def __init__(self, doc: str | None) -> None:
        super().__init__(prog=Path(sys.argv[0]).name, description=doc, formatter_class=_Formatter)

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with the command line, and how to call the command."""
        usage = " ".join(self.format_usage().removeprefix("usage: ").split())
        raise ConfigError(f"{message}; call {usage}")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Prints the docstring of a command as it stands."""
