"""One way to read a table of names."""

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def lookup(table: Mapping[str, T], name: str, what: str) -> T:
    """Return ``table[name]``.

    Args:
        table: valid names and what they stand for.
        name: the name asked for.
        what: the kind of thing, for the error ("activation").

    Raises:
        ValueError: the name is not in the table; the message lists the valid names.

    Example:
        >>> lookup({"one": 1, "two": 2}, "one", "number")
        1
    """
    if name not in table:
        raise ValueError(f"unknown {what} {name!r}; allowed: {', '.join(sorted(table))}")
    return table[name]
