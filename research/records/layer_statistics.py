"""The file `statistics.jsonl` of a run, with statistics of each layer by epoch, and what is wrong in them.

A line is a dict with `epoch` (0 is the start), `step` and `layers`: a dict by the path of the layer that
`analysis.layer_statistics` describes.
"""

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from research.utils.files import write_atomically

STATISTICS_FILE = "statistics.jsonl"
Line = Mapping[str, Any]

VANISHING = 1e-2
"""A gradient vanishes if its root mean square is smaller than that of the last layer by this factor."""
EXPLODING = 100.0
"""A gradient explodes if its norm is larger than that of the weights by this factor."""
DEAD = 0.5
"""The share of dead units of an activation from which it is reported."""
RATIO = (1e-4, 1e-1)
"""The usual ratio of the norms of the update and of the weights of a layer."""


class LayerWarning(NamedTuple):
    """One kind of trouble, and a sentence that names the layers with it."""

    kind: str
    sentence: str


def write_statistics(folder: str | Path, lines: Iterable[Line]) -> None:
    """Write `statistics.jsonl` in place of an earlier one."""
    write_atomically(Path(folder) / STATISTICS_FILE, "".join(map(_text, lines)).encode())


def append_statistics(folder: str | Path, line: Line) -> None:
    """Append a line to `statistics.jsonl`."""
    with open(Path(folder) / STATISTICS_FILE, "a", encoding="utf-8") as file:
        file.write(_text(line))


def scalars(line: Line) -> dict[str, float]:
    """Return the numbers of a line by names such as `gradient/conv1`, for a program that plots them."""
    return {
        f"{name}/{path}": value
        for path, layer in line["layers"].items()
        for name, value in layer.items()
        if name not in ("size", "histograms")
    }


def update_ratios(line: Line) -> dict[str, float]:
    """Return the norm of the update of each layer, divided by that of the weights.

    A layer whose update is 0 is left out, because a schedule or the user has stopped its training.
    """
    return {
        path: layer["update"] / layer["weight"]
        for path, layer in line["layers"].items()
        if layer.get("update") and layer.get("weight")
    }


def rms_gradients(line: Line) -> dict[str, float]:
    """Return the root mean square of the gradient of each layer that has parameters, in their order."""
    return {
        path: layer["gradient"] / layer["size"] ** 0.5
        for path, layer in line["layers"].items()
        if "gradient" in layer
    }


def relative_gradients(line: Line) -> dict[str, float]:
    """Return `rms_gradients` relative to the last layer, where backpropagation starts."""
    rms = rms_gradients(line)
    reference = [*rms.values()][-1] if rms else 0.0
    return {path: value / reference for path, value in rms.items()} if reference else {}


def find_warnings(lines: Sequence[Line], *, ended: bool = True) -> list[LayerWarning]:
    """Return what is wrong with the layers of a run, at most one warning of each kind.

    An exploding gradient and a dead unit count at the last line, and a vanishing gradient and a large update
    at the median of the lines. A small update counts if it is small in all lines, since a schedule may make
    the last updates small, and only if the run has ended.

    Args:
        lines: the lines of `statistics.jsonl`.
        ended: whether the run has no further epoch.
    """
    if not lines:
        return []
    last, layers = lines[-1], lines[-1]["layers"]
    found: list[LayerWarning] = []

    def add(kind: str, values: Mapping[str, float], is_wrong: Callable[[float], bool], text: str) -> None:
        wrong = {path: value for path, value in values.items() if is_wrong(value)}
        if wrong:
            shown = ", ".join(f"{value:.2g} in {path}" for path, value in list(wrong.items())[:4])
            more = f" and {len(wrong) - 4} more layers" if len(wrong) > 4 else ""
            found.append(LayerWarning(kind, f"{text}: {shown}{more}"))

    now, so_far = f"after epoch {last['epoch']}, ", f"up to epoch {last['epoch']}, "
    relative = _over(map(relative_gradients, lines))
    text = so_far + "the gradient vanishes; its root mean square relative to that of the last layer"
    add("vanishing", _map(statistics.median, relative), lambda value: value < VANISHING, text)
    norms = {path: each["gradient"] / each["weight"] for path, each in layers.items() if each.get("weight")}
    text = now + "the gradient explodes; its norm relative to that of the weights"
    add("exploding", norms, lambda value: not value <= EXPLODING, text)
    dead = {path: each["dead"] for path, each in layers.items() if "dead" in each}
    add("dead units", dead, lambda value: value > DEAD, now + "many units are dead; their share")
    ratios = _over(map(update_ratios, lines))
    text = so_far + "the updates are large; their norm relative to that of the weights"
    add("large updates", _map(statistics.median, ratios), lambda value: value > RATIO[1], text)
    if ended:
        text = (
            so_far
            + "the updates were small in every epoch; their largest norm relative to that of the weights"
        )
        add("small updates", _map(max, ratios), lambda value: value < RATIO[0], text)
    return found


def _over(lines: Iterable[Mapping[str, float]]) -> dict[str, list[float]]:
    """Return the values of each layer over the lines."""
    values: dict[str, list[float]] = {}
    for line in lines:
        for path, value in line.items():
            values.setdefault(path, []).append(value)
    return values


def _map(function: Callable[[Any], float], values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {path: function(each) for path, each in values.items()}


def _text(line: Line) -> str:
    return json.dumps(line) + "\n"
