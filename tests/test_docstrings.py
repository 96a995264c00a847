"""Public functions, classes and methods have a docstring, whose first line is a sentence."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "research"
FOLDERS = ("ops", "layers", "models", "analysis", "data", "utils", "training")
FILES = sorted(path for folder in FOLDERS for path in (PACKAGE / folder).rglob("*.py"))
Documented = ast.Module | ast.ClassDef | ast.FunctionDef


def documented(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Documented]]:
    """The module, and every public class, function and method in it, each with its name."""
    if isinstance(node, ast.Module):
        yield "the module", node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef) and not child.name.startswith("_"):
            yield f"{prefix}{child.name}", child
            if isinstance(child, ast.ClassDef):
                yield from documented(child, f"{prefix}{child.name}.")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_docstrings(path):
    source = path.read_text(encoding="utf-8")
    assert ".. math::" not in source
    assert ":math:" not in source
    for name, node in documented(ast.parse(source)):
        docstring = ast.get_docstring(node)
        assert docstring, f"{name} has no docstring"
        summary = docstring.splitlines()[0]
        assert summary.endswith("."), f"{name}: {summary}"
