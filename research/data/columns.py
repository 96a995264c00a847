"""Further columns of a user's data: the times of the examples as numbers."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from research.data.dataset import DataError


def parse_times(values: Sequence[object], column: str) -> np.ndarray:
    """Return times as numbers, `[N]`, float64. A date becomes its seconds since 1970.

    Args:
        values: numbers, or dates and times in ISO 8601, such as `2026-01-31` or `2026-01-31T12:00:00`. A time
            without a time zone is taken as UTC.
        column: the name of the column, which errors name.

    Raises:
        DataError: a value is neither a number nor a date.

    Example:
        >>> parse_times(["1970-01-02", "3"], "taken").tolist()
        [86400.0, 3.0]
    """
    return np.array([_parse_time(str(value), column) for value in values], np.float64)


def _parse_time(text: str, column: str) -> float:
    try:
        number = float(text)
    except ValueError:
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            number = np.nan
        else:
            number = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    if not np.isfinite(number):
        raise DataError(
            f"data.time={column} is not allowed, because the column holds {text!r}; give numbers, or dates "
            "such as 2026-01-31"
        )
    return number
