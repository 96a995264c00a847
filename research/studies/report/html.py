"""A report as one HTML file that contains its images, style and script, so that it needs no network."""

import base64
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2

from research.studies.figures.style import COLOURS
from research.studies.findings import FOUND
from research.studies.report.section import Section
from research.studies.report.text_table import MOST_ROWS, percent
from research.studies.results import Arm

TEMPLATE = "report.html.jinja"


class Strip(NamedTuple):
    """The seeds and the interval of an arm, as positions in [0, 100] on a scale that all arms share."""

    colour: str
    dots: list[float]
    mean: float
    interval: tuple[float, float] | None
    words: str


def to_html(sections: Sequence[Section], folder: Path) -> str:
    """Return the report as HTML; every text is escaped.

    Args:
        sections: the sections of the report.
        folder: folder of the figures.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["embedded"] = lambda path: _data_url(folder / path)
    environment.filters["unbroken"] = unbroken
    environment.globals["strips"] = strips
    return environment.get_template(TEMPLATE).render(sections=sections, found=FOUND)


def unbroken(text: str) -> str:
    r"""Return text with no-break spaces inside intervals and before percent signs.

    Example:
        >>> unbroken("95 % of [1.0, 2.0]")
        '95\xa0% of [1.0,\xa02.0]'
    """
    return re.sub(r" (?=%)|(?<=\d,) (?=[-+]?[\d.]+\])", "\N{NO-BREAK SPACE}", text)


def strips(arms: Sequence[Arm]) -> list[Strip | None]:
    """Return a strip for each arm, to be drawn beside its row; ``None`` without a completed run."""
    bounds = [
        value for arm in arms for value in (*arm.accuracies.values(), arm.summary.low, arm.summary.high)
    ]
    bounds = [value for value in bounds if not math.isnan(value)]
    if not bounds:
        return [None] * len(arms)
    low, high = min(bounds), max(bounds)

    def place(value: float) -> float:
        return round(4 + 92 * (value - low) / (high - low), 2) if high > low else 50.0

    return [
        Strip(
            COLOURS[index % len(COLOURS)].replace("#000000", "currentColor"),
            [place(value) for value in arm.accuracies.values()],
            place(arm.summary.mean),
            None if math.isnan(arm.summary.low) else (place(arm.summary.low), place(arm.summary.high)),
            f"each seed from {percent(low)} % to {percent(high)} %: "
            + ", ".join(percent(value) for value in list(arm.accuracies.values())[:MOST_ROWS])
            + (", ..." if len(arm.accuracies) > MOST_ROWS else ""),
        )
        if arm.accuracies
        else None
        for index, arm in enumerate(arms)
    ]


def _data_url(path: Path) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode()}"
