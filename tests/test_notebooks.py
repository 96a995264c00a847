"""How the notebooks are written. That they run from top to bottom, nbmake tests: ``pytest notebooks``."""

import ast
import json
from pathlib import Path

import pytest

import research

NOTEBOOKS = sorted((Path(research.__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def cells(request):
    return json.loads(request.param.read_text(encoding="utf-8"))["cells"]


def code(cells):
    lines = "".join("".join(cell["source"]) + "\n" for cell in cells if cell["cell_type"] == "code")
    return ast.parse("\n".join(line for line in lines.splitlines() if not line.startswith("%")))


def test_nothing_that_was_printed_or_drawn_is_kept(cells):
    for cell in cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_layers_come_from_the_package(cells):
    nodes = list(ast.walk(code(cells)))
    modules = {
        node.module.split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom) and node.module
    }
    assert "research" in modules
    assert not any(isinstance(node, ast.ClassDef) for node in nodes)
    assert not {node.name for node in nodes if isinstance(node, ast.FunctionDef)} & {"init", "apply"}
