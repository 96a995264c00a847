"""The text that `--help` of a command prints."""

import textwrap
from typing import Any, cast

from omegaconf import OmegaConf

from research.cli.keys import Command, choice_rows
from research.cli.nodes import choices
from research.utils.nested import dotted_keys

WIDTH = 110
FLAGS = """\
-m               run all combinations of values, such as seed=0,1 model=tiny,plain
--cfg job        print the configuration as YAML, and run nothing
--hydra-help     list the flags of Hydra"""


def help_text(command: Command, program: str, config: Any) -> str:
    """Return a text that says what a command does, and lists its choices and keys with values and meanings.

    Args:
        command: what the command reads.
        program: name of the program, for the first line.
        config: the configuration that Hydra composed from the command line.
    """
    values = dotted_keys(cast(dict[str, Any], OmegaConf.to_container(config)))
    rows = command.rows()
    for group in command.groups:
        of_choices = choice_rows(group)
        # the name of data=tfds may be any, but all choices of data have equal keys
        rows += of_choices.get(values[f"{group}.name"]) or next(iter(of_choices.values()))
    known = {row.key: row for row in rows}
    plans = {"config": ("study", "experiment"), "search": ("experiment",)}.get(command.config_name, ())
    lines = [f"{program} [KEY=VALUE ...]", "", (command.doc or "").strip(), ""]
    if plans:
        lines += [f"Choices: GROUP=NAME, and +GROUP=NAME for {' or '.join(plans)}"]
    elif command.groups:
        lines += ["Choices: GROUP=NAME"]
    groups = (*command.groups, *command.presets, *plans)
    lines += [line for group in groups for line in _entry(group, ", ".join(choices(group)))]
    lines += ["", "Keys, with their values on this command line"]
    for key, value in values.items():
        if key.removesuffix(".name") not in command.groups or key == "data.name":
            row = known.get(key)
            shown = f"{row.meaning} ({row.allowed})." if row else ""
            lines += _entry(f"{key}={_show(value)}", shown)
    return "\n".join([*lines, "", "Flags", textwrap.indent(FLAGS, "  ")])


def _entry(name: str, meaning: str) -> list[str]:
    first = f"  {name}" if len(name) > 37 else f"  {name:<38}"
    indent = " " * 40
    if len(name) > 37 and meaning:
        return [first, *textwrap.wrap(meaning, WIDTH, initial_indent=indent, subsequent_indent=indent)]
    return textwrap.wrap(meaning, WIDTH, initial_indent=first, subsequent_indent=indent) or [first.rstrip()]


def _show(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_show, value))}]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)
