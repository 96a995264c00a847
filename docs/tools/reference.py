"""MkDocs hook: makes a page of the reference for each folder of ``research/``.

A strict build fails where a public module, class, function or method of the package has no docstring.
"""

import ast
import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[2])]

import architecture  # noqa: E402

LOG = logging.getLogger("mkdocs.hooks.reference")
ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "research"


def folders() -> list[str]:
    """Return the folders of ``research/`` that have a page, in the order of the layers, uppermost first."""
    found = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    order = [name for line in architecture.LAYERS for name in line if name in found]
    return order + sorted(found - set(order))


def modules(folder: str) -> Iterator[str]:
    """Yield the dotted names of the public modules of a folder, the folder itself first."""
    for path in sorted((PACKAGE / folder).rglob("*.py"), key=lambda path: (path.stem != "__init__", path)):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        if not any(part.startswith("_") for part in parts):
            yield ".".join(parts)


def page(folder: str) -> str:
    """Return the Markdown of a folder's page.

    A package shows the names that its own file defines; what it takes from its modules stands at the module.
    """
    lines = [f"# `research.{folder}`", ""]
    for module in modules(folder):
        path = ROOT.joinpath(*module.split("."))
        own = names(path / "__init__.py") if path.is_dir() else None
        lines += [f"::: {module}", "    options:"]
        lines += [f"      show_root_heading: {'false' if module.count('.') == 1 else 'true'}"]
        if own is not None:
            lines += [f"      members: {own or 'false'}"]
        lines += ["      show_submodules: false", ""]
    return "\n".join(lines)


def names(path: Path) -> list[str]:
    """Return the public names that a file defines itself."""
    found = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.append(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.append(node.target.id)
        elif isinstance(node, ast.Assign):
            found += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [name for name in found if not name.startswith("_")]


def index() -> str:
    """Return the Markdown of the first page of the reference."""
    lines = [
        "# Reference",
        "",
        "Each page shows one folder of the package: its modules, and their public classes and functions.",
        "The pages are made from the docstrings. [Keys of the configuration](keys.md) lists what the command",
        "line takes, with each default and its meaning.",
        "",
        "| folder | what is in it |",
        "|---|---|",
    ]
    for folder in folders():
        first = (ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text())) or "").split(
            "\n"
        )[0]
        lines.append(f"| [`research.{folder}`]({folder}.md) | {first} |")
    lines += ["| [`research.config`](config.md) | The configuration of a run. |", ""]
    return "\n".join(lines)


def generated() -> dict[str, str]:
    """Return the Markdown of every page that this hook makes, by its path."""
    pages = {f"reference/{folder}.md": page(folder) for folder in folders()}
    pages["reference/config.md"] = (
        "# `research.config`\n\n::: research.config\n    options:\n      show_root_heading: false\n"
    )
    pages["reference/keys.md"] = keys()
    pages["reference/index.md"] = index()
    return pages


def keys() -> str:
    """Return the Markdown of the page of all keys of the configuration, with defaults and meanings."""
    from research.cli.keys import augmentation_rows, choice_rows, rows
    from research.config import CHOICES, Config

    lines = [
        "# Keys of the configuration",
        "",
        "Every key can be given on the command line (`cnn-research train training.epochs=5`) and in Python",
        '(`Config.from_dict({"training": {"epochs": 5}})`). The defaults are those in the signatures of the',
        "code. Where the default is `null`, the meaning says what happens then.",
        "",
        "## The run",
        "",
        *_table(rows(Config)),
        "`logging=NAME` is short for `logging.to=NAME`, and `augmentation=NAME` for a named list as",
        "`data.augmentations`.",
        "",
    ]
    for group in CHOICES:
        by_choice = choice_rows(group)
        lines += [f"## {group.capitalize()}", "", f"`{group}=NAME` chooses one of these:", ""]
        if len({tuple(map(str, found)) for found in by_choice.values()}) == 1:
            lines += [", ".join(f"`{name}`" for name in by_choice), ""]
            lines += _table(next(iter(by_choice.values())))
            continue
        for name, found in by_choice.items():
            lines += [f"### `{group}={name}`", "", *(_table(found) if found else ["It has no keys.", ""])]
    lines += ["## Augmentations", "", "The keyword arguments of each entry of `data.augmentations`:", ""]
    for name, found in augmentation_rows().items():
        lines += [f"### `{{name: {name}}}`", "", *_table(found)]
    return "\n".join(lines)


def _table(found: Iterable[Any]) -> list[str]:
    """Return the lines of a table of keys."""
    lines = ["| key | default | meaning | allowed |", "|---|---|---|---|"]
    for row in found:
        default = "null" if row.default is None else json.dumps(row.default)
        cells = (f"`{row.key}`", f"`{default}`", row.meaning, row.allowed)
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return [*lines, ""]


def undocumented() -> Iterator[str]:
    """Yield the public names of the package that have no docstring.

    A method of a class needs none where a protocol or a base class of the same folder documents it.
    """
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
    documented: dict[str, set[str]] = {}
    for path, tree in trees.items():
        classes = [node for node in definitions(tree) if isinstance(node, ast.ClassDef)]
        methods = [method for node in classes for method in definitions(node) if ast.get_docstring(method)]
        documented.setdefault(folder_of(path), set()).update(method.name for method in methods)
    for path, tree in trees.items():
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if any(part.startswith("_") for part in module.split(".")):
            continue
        if not ast.get_docstring(tree):
            yield module
        for node in definitions(tree):
            if not ast.get_docstring(node):
                yield f"{module}.{node.name}"
            for method in definitions(node) if isinstance(node, ast.ClassDef) else ():
                if not ast.get_docstring(method) and method.name not in documented[folder_of(path)]:
                    yield f"{module}.{node.name}.{method.name}"


def folder_of(path: Path) -> str:
    """Return the folder of the package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0]


def definitions(node: ast.Module | ast.ClassDef) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Yield the public functions and classes in a module, or the public methods in a class."""
    for child in node.body:
        if isinstance(child, ast.FunctionDef | ast.ClassDef) and not child.name.startswith("_"):
            yield child


PATHS = re.compile(r"`((?:tests|research|conf|docs|notebooks|scripts)/[\w./-]*)`")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> None:
    """Warn of each path that a page names and the repository does not have."""
    for path in sorted(set(PATHS.findall(markdown))):
        if not (ROOT / path).exists():
            LOG.warning("%s: there is no %s in the repository", page.file.src_uri, path)


def on_config(config: Any) -> Any:
    """Add the pages of the reference to the navigation."""
    for section in config.nav:
        if "Reference" in section:
            section["Reference"] += [
                {"Keys of the configuration": "reference/keys.md"},
                *({f"research.{folder}": f"reference/{folder}.md"} for folder in folders()),
                {"research.config": "reference/config.md"},
            ]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the made pages and the picture of the architecture; warn of each undocumented name."""
    for name in undocumented():
        LOG.warning("%s has no docstring", name)
    for uri, content in generated().items():
        files.append(File.generated(config, uri, content=content))
    files.append(File.generated(config, "assets/architecture.svg", content=architecture.draw()))
    return files
