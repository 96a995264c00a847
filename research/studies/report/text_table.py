"""A table of texts, and the texts of numbers in its cells."""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from research.studies.statistics import Summary

NOTHING = "—"
"""The text of a cell without a value."""


@dataclass(frozen=True, repr=False)
class Table:
    """Headers and rows of text; a notebook shows it as HTML, ``print`` as aligned text.

    Args:
        headers: names of the columns.
        rows: the cells; every row has as many as there are headers.
        caption: a text below the table that explains it; a report writes its own notes instead.
        records: a dict of numbers by name for each row; empty if the table has only texts.
    """

    headers: tuple[str, ...]
    rows: list[tuple[str, ...]]
    caption: str = ""
    records: Sequence[Mapping[str, Any]] = ()

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return a dict per row: its numbers by name if the table has them, else its texts by header."""
        if self.records:
            return [dict(record) for record in self.records]
        return [dict(zip(self.headers, row, strict=True)) for row in self.rows]

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        """Return the table as HTML, with every text escaped, for a notebook."""
        lines = [("th", self.headers), *(("td", row) for row in self.rows)]
        rows = (
            "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells).join(("<tr>", "</tr>"))
            for tag, cells in lines
        )
        caption = f'<p style="max-width: 50em">{html.escape(self.caption)}</p>' if self.caption else ""
        return f"<table>{''.join(rows)}</table>{caption}"

    def __bool__(self) -> bool:
        return bool(self.rows)

    def without_empty_columns(self) -> "Table":
        """Return the table without the columns whose cells are all empty."""
        kept = [i for i in range(len(self.headers)) if any(row[i] != NOTHING for row in self.rows)]
        return Table(tuple(self.headers[i] for i in kept), [tuple(row[i] for i in kept) for row in self.rows])

    def __str__(self) -> str:
        """Return aligned plain text, with the first column to the left and the others to the right."""
        lines = [self.headers, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.headers))]
        lines.insert(1, tuple("-" * width for width in widths))
        text = "\n".join(_align(line, widths) for line in lines)
        return f"{text}\n\n{self.caption}" if self.caption else text


MOST_ROWS = 100
"""Number of rows of a table that a report shows; a CSV file beside it has all rows of a longer one."""


class Part(NamedTuple):
    """A table with its heading, and a note that explains the table.

    If the table is cut, `file` is the CSV file with all of its `num_rows` rows, relative to the report.
    """

    heading: str
    note: str
    table: Table
    file: Path | None = None
    num_rows: int = 0

    def cut(self, file: Path) -> "Part":
        """Return the part with the first rows of its table, all rows of which are in a file."""
        table = Table(self.table.headers, self.table.rows[:MOST_ROWS])
        return Part(self.heading, self.note, table, file, len(self.table.rows))


def _align(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join([first.strip().ljust(widths[0]), *others])


def counts_in_words(counts: Mapping[str, int]) -> str:
    """Return how many there are of each kind, such as of runs by their status.

    Example:
        >>> counts_in_words({"completed": 7, "failed": 1})
        '7 completed, 1 failed'
    """
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def percent(value: float) -> str:
    """Return a share in [0, 1] as percent with two decimals; a dash for NaN.

    Example:
        >>> percent(0.98765)
        '98.77'
    """
    return NOTHING if math.isnan(value) else f"{100 * value:.2f}"


def percent_interval(low: float, high: float) -> str:
    """Return two bounds as percent; a dash for NaN."""
    return NOTHING if math.isnan(low) else f"[{percent(low)}, {percent(high)}]"


def percent_spread(summary: Summary) -> str:
    """Return the mean as percent, with its standard deviation if it has one."""
    spread = "" if math.isnan(summary.deviation) else f" ± {percent(summary.deviation)}"
    return percent(summary.mean) + spread


def points(difference: Summary) -> str:
    """Return a mean difference in percentage points, with its interval if it has one."""
    if math.isnan(difference.mean):
        return NOTHING
    bounds = points_interval(difference)
    return f"{100 * difference.mean:+.2f}" + ("" if bounds == NOTHING else f" {bounds}")


def points_interval(difference: Summary) -> str:
    """Return the interval of a difference in percentage points; a dash for NaN."""
    if math.isnan(difference.low):
        return NOTHING
    return f"[{100 * difference.low:+.2f}, {100 * difference.high:+.2f}]"
