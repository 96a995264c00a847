"""Progress bars, which are shown on a terminal only and disappear when the work is done."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")


def make_bar(console: Console, unit: str) -> Progress:
    """Return a bar that counts work and estimates the remaining time.

    Args:
        console: the console on which the bar is shown. If it is not a terminal, nothing is shown.
        unit: the word for what is counted, such as "steps".
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


def track(items: Iterable[T], description: str, unit: str, total: int | None = None) -> Iterator[T]:
    """Yield the items, and show on standard error how many have been taken.

    Args:
        items: the items.
        description: the text in front of the bar.
        unit: the word for what is counted.
        total: the number of items, if `items` has no length.

    Example:
        >>> list(track([1, 2], "counting", "numbers"))
        [1, 2]
    """
    with make_bar(Console(file=sys.stderr), unit) as bar:
        yield from bar.track(items, total=total, description=description)
