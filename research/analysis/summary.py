"""A table of a network with one row per layer."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from research.analysis.macs import macs
from research.analysis.parameters import count_parameters
from research.analysis.receptive_field import receptive_fields
from research.analysis.walk import walk
from research.layers import Layer, Shape
from research.models.assemble import SkippedPool
from research.ops.padding import Pair

BYTES_PER_NUMBER = 4  # float32
HEADINGS = ["layer", "kind", "output", "parameters", "MACs", "activation bytes", "receptive field", "stride"]
_SUMMED = ("parameters", "macs", "activation_bytes")


@dataclass(frozen=True)
class LayerSummary:
    """One row of the table.

    Args:
        path: the path of the layer, such as `block1/body/conv1`.
        layer: the kind of layer.
        output_shape: the shape of the output for one example, `(H, W, C)` or `(D,)`.
        parameters: the number of parameters.
        macs: the number of multiply-accumulates per image.
        activation_bytes: the size of the output in bytes per image, in float32 and without fusion of layers.
        receptive_field: the height and width of the receptive field in pixels, or `None` if the input of the
            network is not an image.
        stride: the distance in pixels between the receptive fields of neighbouring outputs, or `None` if the
            output is not an image.
    """

    path: str
    layer: str
    output_shape: Shape
    parameters: int
    macs: int
    activation_bytes: int
    receptive_field: Pair | None
    stride: Pair | None


def summarize(net: Layer, in_shape: Shape) -> list[LayerSummary]:
    """Return a row for every layer of a network, in the order in which the layers run.

    The layers inside a `Sequential` or `Residual` have rows of their own. The row of a `Residual` stands for
    its sum.

    Args:
        net: the network.
        in_shape: the shape of the input, `[N, H, W, C]` or `[N, D]`. `N` is not used.

    Raises:
        ValueError: a layer does not fit its input.
        TypeError: the MACs or the receptive field of a kind of layer are not known.

    Example:
        >>> from research.models import MODELS
        >>> rows = summarize(MODELS["plain"]((28, 28, 1), 10, depth=1), (1, 28, 28, 1))
        >>> print(format_summary(rows))
        layer    kind          output  parameters     MACs  activation bytes  receptive field  stride
        conv1    Conv2D      28x28x32         320  225,792           100,352              3x3     1x1
        act1     Activation  28x28x32           0        0           100,352              3x3     1x1
        pool1    MaxPool     14x14x32           0        0            25,088              4x4     2x2
        pool2    MaxPool       7x7x32           0        0             6,272              6x6     4x4
        flatten  Flatten         1568           0        0             6,272            30x30       -
        logits   Dense             10      15,690   15,680                40            30x30       -
        total                              16,010  241,472           238,376
    """
    nodes = walk(net, in_shape)
    fields = receptive_fields(net, in_shape) if len(in_shape) == 4 else {}
    rows = []
    for node in nodes:
        left_out = isinstance(node.layer, SkippedPool)
        field = fields.get(node.path)
        rows.append(
            LayerSummary(
                path=node.path,
                layer=_kind(node.layer),
                output_shape=node.out_shape[1:],
                parameters=count_parameters(node.params),
                macs=macs(node.layer, node.in_shape, node.out_shape),
                activation_bytes=0 if left_out else prod(node.out_shape[1:]) * BYTES_PER_NUMBER,
                receptive_field=field.size if field else None,
                stride=field.stride if field and len(node.out_shape) == 4 else None,
            )
        )
    return rows


def as_dict(rows: Sequence[LayerSummary]) -> dict[str, Any]:
    """Return the rows as a dict that can be written as JSON.

    Args:
        rows: the rows, as `summarize` returns them.

    Returns:
        A dict with the entries `layers`, a list with a dict for each row, and `total`, the sums of
        `parameters`, `macs` and `activation_bytes`.
    """
    total = {name: sum(getattr(row, name) for row in rows) for name in _SUMMED}
    return {"layers": [asdict(row) for row in rows], "total": total}


def format_summary(rows: Sequence[LayerSummary]) -> str:
    """Return the rows and their sums as a table of plain text, as in the example of `summarize`."""
    total = as_dict(rows)["total"]
    table = [HEADINGS]
    for row in rows:
        numbers = [f"{getattr(row, name):,}" for name in _SUMMED]
        output, field, stride = (_times(size) for size in (row.output_shape, row.receptive_field, row.stride))
        table.append([row.path, row.layer, output, *numbers, field, stride])
    table.append(["total", "", "", *(f"{total[name]:,}" for name in _SUMMED), "", ""])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for cells in table:
        left = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
        lines.append("  ".join(left + right).rstrip())
    return "\n".join(lines)


def _kind(layer: Layer) -> str:
    """Return the name of the kind of layer, in parentheses for a pool that is skipped."""
    if isinstance(layer, SkippedPool):
        return f"({type(layer.layer).__name__} left out)"
    return type(layer).__name__


def _times(numbers: Shape | None) -> str:
    """Return the numbers as `28x28x1`, or a dash if there are none."""
    return "-" if numbers is None else "x".join(map(str, numbers))
