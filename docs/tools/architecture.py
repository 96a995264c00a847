"""Draws the folders of the package and their imports, as they are in the code.

Run ``python docs/tools/architecture.py OUT.svg``. A folder stands above every folder that it imports. Arrows
are left out where a longer way through other folders leads to the same folder, and so are those to
``utils``, which every folder may import.
"""

import ast
import io
import itertools
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Curve

PACKAGE = Path(__file__).resolve().parents[2] / "research"
FLOOR = "utils"
"""The folder that all others may import; it is drawn as a floor without arrows."""

COLOURS = {"cli": "#e8eaf6", "config": "#fff8e1", FLOOR: "#eceff1"}
BOX, STEP = (3.6, 1.05), (4.0, 1.6)
"""Size of a box, and the distances of boxes in a row and of rows."""

Graph = dict[str, set[str]]


def imports(package: Path = PACKAGE) -> Graph:
    """Return the folders (and ``config``) that each folder imports, read from the syntax trees."""
    graph: Graph = {}
    for path in sorted(package.rglob("*.py")):
        if path == package / "__init__.py":
            continue
        part = path.relative_to(package).parts[0].removesuffix(".py")
        found = graph.setdefault(part, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module == package.name:
                names = [f"{package.name}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            for name in names:
                top, _, rest = name.partition(".")
                if top == package.name and rest and rest.split(".")[0] != part:
                    found.add(rest.split(".")[0])
    return {name: others & graph.keys() for name, others in graph.items()}


def levels(graph: Graph) -> dict[str, int]:
    """Return the length of the longest way from each folder down to one that imports nothing.

    Raises:
        ValueError: folders import each other in a circle.
    """
    found: dict[str, int] = {}

    def level(name: str, above: tuple[str, ...] = ()) -> int:
        if name in above:
            raise ValueError(f"folders import each other in a circle: {' -> '.join((*above, name))}")
        if name not in found:
            found[name] = max((1 + level(other, (*above, name)) for other in graph[name]), default=0)
        return found[name]

    for name in graph:
        level(name)
    return found


def layers(package: Path = PACKAGE) -> list[list[str]]:
    """Return the folders row by row, the uppermost row first."""
    by_level = levels(imports(package))
    rows = itertools.groupby(
        sorted(by_level, key=lambda name: (-by_level[name], name)), key=by_level.__getitem__
    )
    return [list(row) for _, row in rows]


def reduce(graph: Graph) -> Graph:
    """Return the graph without each arrow that a longer way replaces."""

    def below(name: str) -> set[str]:
        return graph[name].union(*(below(other) for other in graph[name]))

    return {
        name: {other for other in others if not any(other in below(way) for way in others - {other})}
        for name, others in graph.items()
    }


def arrange(
    graph: Graph, level: Mapping[str, int]
) -> tuple[dict[str, float], dict[tuple[str, str], list[str]]]:
    """Return a horizontal position for every box, and for every arrow the points that it passes, row by row.

    A long arrow passes an invisible point in each row between its ends. Each point moves towards the mean of
    its neighbours in the rows above and below, and points of a row keep their distance.
    """
    ways: dict[tuple[str, str], list[str]] = {}
    neighbours: dict[str, set[str]] = {name: set() for name in graph}
    row_of = dict(level)
    for name, others in graph.items():
        for other in others:
            points = [f"{name}>{other}@{row}" for row in range(level[name] - 1, level[other], -1)]
            row_of |= {point: int(point.rpartition("@")[2]) for point in points}
            ways[name, other] = [name, *points, other]
            for first, second in itertools.pairwise(ways[name, other]):
                neighbours.setdefault(first, set()).add(second)
                neighbours.setdefault(second, set()).add(first)
    rows = [
        [name for name in sorted(row_of) if row_of[name] == row] for row in range(max(row_of.values()) + 1)
    ]
    at = {name: index - (len(row) - 1) / 2 for row in rows for index, name in enumerate(row)}
    width = {name: 0.5 if "@" in name else 1.0 for name in row_of}
    for _ in range(60):
        for row in (*rows, *reversed(rows)):
            wish = {n: sum(at[m] for m in neighbours[n]) / max(len(neighbours[n]), 1) for n in row}
            row.sort(key=wish.__getitem__)
            gaps = [0.0, *((width[a] + width[b]) / 2 for a, b in itertools.pairwise(row))]
            place = list(itertools.accumulate(gaps))
            shift = sum(wish[n] - p for n, p in zip(row, place, strict=True)) / len(row)
            at |= {n: p + shift for n, p in zip(row, place, strict=True)}
    return at, ways


def describe(name: str, package: Path = PACKAGE) -> str:
    """Return the first line of a folder's docstring."""
    path = package / name / "__init__.py"
    text = ast.get_docstring(ast.parse((path if path.exists() else package / f"{name}.py").read_text())) or ""
    return text.split("\n")[0].replace("`", "").rstrip(".")


def draw(package: Path = PACKAGE) -> str:
    """Return the picture as SVG."""
    graph = imports(package)
    floor = {name for name in graph if name == FLOOR}
    graph = {name: others - floor for name, others in graph.items() if name not in floor}
    level = levels(graph)
    at, ways = arrange(reduce(graph), level)
    spread, height = (max(at.values()) - min(at.values()) + 1) * STEP[0], (max(level.values()) + 2) * STEP[1]
    left = min(at.values()) * STEP[0] - STEP[0] / 2
    style = {"svg.hashsalt": "architecture", "font.family": "sans-serif", "svg.fonttype": "path"}
    with plt.rc_context(style):
        figure, axes = plt.subplots(figsize=(spread * 0.66, height * 0.66))
        axes.set(
            xlim=(left - 0.1, left + spread + 0.1),
            ylim=(-1.9, height - 2.5),
        )
        axes.axis("off")
        for (name, other), points in ways.items():
            rows = [level[name] - index for index in range(len(points))]
            _arrow(axes, [(at[p] * STEP[0], row * STEP[1]) for p, row in zip(points, rows, strict=True)])
            assert rows[-1] == level[other]
        for name in graph:
            _box(axes, name, describe(name, package), at[name] * STEP[0], level[name] * STEP[1], BOX[0])
        for name in floor:
            middle = left + spread / 2
            _box(axes, name, describe(name, package), middle, -STEP[1] * 0.75, spread, 120)
        out = io.StringIO()
        figure.savefig(out, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None})
        plt.close(figure)
    return out.getvalue()


def _box(axes, name: str, text: str, x: float, y: float, width: float, wrap: int = 34) -> None:
    corner, height = (x - width / 2, y - BOX[1] / 2), BOX[1]
    shape = "round,pad=0.02,rounding_size=0.1"
    colour = COLOURS.get(name, "#ffffff")
    axes.add_patch(FancyBboxPatch(corner, width, height, boxstyle=shape, fc=colour, ec="#3f51b5", zorder=2))
    lines = textwrap.wrap(text, wrap, max_lines=3, placeholder=" …")
    axes.text(x, y + 0.31, name, ha="center", va="center", weight="bold", size=11, color="#1a237e", zorder=3)
    axes.text(x, y - 0.16, "\n".join(lines), ha="center", va="center", size=6.5, color="#37474f", zorder=3)


def _arrow(axes, points: list[tuple[float, float]]) -> None:
    points = [
        (points[0][0], points[0][1] - BOX[1] / 2),
        *points[1:-1],
        (points[-1][0], points[-1][1] + BOX[1] / 2 + 0.04),
    ]
    corners, codes = [points[0]], [Curve.MOVETO]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        middle = (y0 + y1) / 2
        corners += [(x0, middle), (x1, middle), (x1, y1)]
        codes += [Curve.CURVE4] * 3
    style = "-|>,head_length=5,head_width=2.5"
    axes.add_patch(
        FancyArrowPatch(
            path=Curve(corners, codes),
            arrowstyle=style,
            color="#7986cb",
            lw=1.1,
            zorder=1,
            shrinkA=0,
            shrinkB=0,
        )
    )


LAYERS = layers()
"""The folders row by row, the uppermost row first."""

if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw(), encoding="utf-8")
