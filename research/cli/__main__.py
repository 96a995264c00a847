"""The program `cnn-research`, and `python -m research.cli`."""

import ast
import importlib
import sys
from importlib.util import find_spec
from pathlib import Path

PROGRAM = "cnn-research"

COMMANDS = {
    "train": ("train", "search", "find-learning-rate", "find-batch-size", "prepare-data"),
    "compare": (
        "report",
        "sweep-status",
        "compare-frameworks",
        "benchmark-train",
        "benchmark-conv",
        "benchmark-inference",
        "benchmark-scaling",
        "benchmark-sweep",
    ),
    "understand": ("inspect-data", "inspect-model", "profile-model", "check-gradients", "show-augmentations"),
    "use": ("evaluate", "predict", "serve", "export", "compress"),
}
"""Names of the commands, in the groups of the help text. The module of `inspect-model` is `inspect_model`."""


def summary(command: str) -> str:
    """Return the first line of the docstring of a command, without importing its module.

    Example:
        >>> summary("train")
        'Train one convolutional network, or sweep over many with -m.'
    """
    spec = find_spec(_module(command))
    assert spec is not None
    assert spec.origin is not None
    doc = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))
    return (doc or "").partition("\n")[0]


def overview() -> str:
    """Return the list of all commands in their groups."""
    lines = [
        f"{PROGRAM} COMMAND ...",
        "",
        f"{PROGRAM} COMMAND --help lists the keys or arguments of a command.",
    ]
    for group, names in COMMANDS.items():
        lines += ["", f"{group}:", *(f"  {name:<20}{summary(name)}" for name in names)]
    return "\n".join(lines)


def main() -> None:
    """Run the command that the command line names, and exit."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print(overview())
        sys.exit()
    names = [command for commands in COMMANDS.values() for command in commands]
    if name not in names:
        print(f"{PROGRAM}: there is no command {name}; give one of {', '.join(names)}", file=sys.stderr)
        sys.exit(2)
    sys.argv = [f"{PROGRAM} {name}", *sys.argv[2:]]
    importlib.import_module(_module(name)).main()


def _module(command: str) -> str:
    return f"research.cli.{command.replace('-', '_')}"


if __name__ == "__main__":
    main()
