"""The order of the folders: each line imports only from lines below it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "research"

LAYERS = (
    ("cli",),
    ("benchmarks",),
    ("studies",),
    ("sweeps",),
    ("frameworks",),
    ("deploy",),
    ("interpret",),
    ("runs",),
    ("config",),
    ("parallel", "analysis"),
    ("training", "models"),
    ("layers", "records"),
    ("ops", "data"),
    ("utils",),
)
"""From the command line down. The folders of one line do not import each other, but data may import ops."""

BESIDE = {"data": {"ops"}}

ONLY_IN_CLI = {"hydra", "omegaconf"}
NOWHERE = {"tensorflow", "pickle"}


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def allowed(name: str) -> set[str]:
    """What a folder may import of the package."""
    line = next(index for index, names in enumerate(LAYERS) if name in names)
    below = {other for names in LAYERS[line + 1 :] for other in names}
    return below | {name} | BESIDE.get(name, set())


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem != "__init__")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    parts = {name.split(".")[1] for name in imported(path) if name.startswith("research.")}
    assert parts <= allowed(part(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_package_never_imports_hydra_or_tensorflow(path):
    roots = {name.split(".")[0] for name in imported(path)}
    assert not roots & (NOWHERE if part(path) == "cli" else NOWHERE | ONLY_IN_CLI)


def test_no_module_lies_loose_at_the_root():
    assert [path.stem for path in PACKAGE.glob("*.py")] == ["__init__"]
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert folders <= {name for names in LAYERS for name in names}


def test_the_walk_sees_an_arrow_the_other_way(tmp_path):
    file = tmp_path / "conv.py"
    file.write_text("def f():\n    from research.models import MODELS\n")
    assert "research.models" in imported(file)
