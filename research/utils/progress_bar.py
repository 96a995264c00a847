"""Bars for long work: on a terminal they come and go, elsewhere there is nothing."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")


def make_bar(console: Console, unit: str) -> Progress:
    """A bar that counts ``unit`` and estimates the time that remains; hidden where there is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


def track(items: Iterable[T], description: str, unit: str, total: int | None = None) -> Iterator[T]:
    """The items, with a bar on standard error while they are gone through.

    Example:
        >>> list(track([1, 2], "counting", "numbers"))
        [1, 2]
    """
    with make_bar(Console(file=sys.stderr), unit) as bar:
        yield from bar.track(items, total=total, description=description)
