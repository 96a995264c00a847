"""Imports point one way: ops <- layers <- models <- {analysis, frameworks, build} <- run."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "research"

# what each part of the package may import of the package, besides itself
FOUNDATION = {"lookup", "constraints", "bars", "files", "npz", "cpus", "compiler"}
LAYERS = FOUNDATION | {"ops", "layers"}
TRAINING = FOUNDATION | {"layers", "data", "training"}
BUILD = LAYERS | {"models", "data", "training", "parallel", "config"}
ALLOWED = {
    "lookup": set(),
    "constraints": set(),
    "bars": set(),
    "files": set(),
    "npz": set(),
    "cpus": set(),
    "compiler": set(),
    "claim": set(),
    "interruption": set(),
    "records": FOUNDATION,
    "provenance": FOUNDATION,
    "ops": FOUNDATION,
    "layers": FOUNDATION | {"ops"},
    "models": LAYERS,
    "analysis": LAYERS | {"models"},
    "data": FOUNDATION,
    "training": TRAINING,
    "parallel": FOUNDATION | {"training"},
    "frameworks": LAYERS | {"models", "data", "training", "config"},
    "studies": FOUNDATION | {"records"},
    "config": BUILD | {"records"},
    "placement": {"config", "parallel"},
    "build": BUILD | {"placement"},
    "progress": {"bars", "training"},
    "tensorboard": {"progress", "training"},
    "trained": BUILD | {"build", "records"},
    "run": BUILD
    | {
        "build",
        "placement",
        "records",
        "provenance",
        "progress",
        "tensorboard",
        "claim",
        "interruption",
        "trained",
    },
    "group": {"claim", "config", "interruption", "records", "run", "training"},
    "sweep": {"config", "group", "interruption", "placement", "records", "run"},
    "peers": {"config", "interruption", "parallel", "progress", "records", "run", "sweep"},
    "status": {"claim", "records"},
    "tuning": {"config", "records", "sweep"},
    "benchmarks": BUILD | {"build", "analysis", "frameworks", "studies"},
}


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem != "__init__")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    parts = {name.split(".")[1] for name in imported(path) if name.startswith("research.")}
    assert parts <= ALLOWED[part(path)] | {part(path)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_package_never_imports_hydra_or_tensorflow(path):
    roots = {name.split(".")[0] for name in imported(path)}
    assert not roots & {"hydra", "omegaconf", "tensorflow", "pickle"}


def test_the_walk_sees_an_arrow_the_other_way(tmp_path):
    file = tmp_path / "conv.py"
    file.write_text("def f():\n    from research.models import MODELS\n")
    assert "research.models" in imported(file)
