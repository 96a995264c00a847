"""A report as Markdown."""

import html
import re
from collections.abc import Sequence

from research.studies.findings import FOUND
from research.studies.report.section import Section
from research.studies.report.text_table import Part, Table


def to_markdown(sections: Sequence[Section]) -> str:
    """Return the report as GitHub-flavoured Markdown, with links to figures relative to the report."""
    blocks = ["# Report", *found(sections)]
    for section in sections:
        blocks += _section(section)
    return "\n\n".join(block for block in blocks if block) + "\n"


def found(sections: Sequence[Section]) -> list[str]:
    """Return the blocks that say what was found, with a list of sentences for each section."""
    blocks = [f"## {FOUND}"]
    for section in sections:
        blocks += [f"**{escape(section.title)}**", "\n".join(f"- {escape(s)}" for s in section.findings)]
    return blocks


def parts_to_markdown(title: str, sections: Sequence[Section], parts: Sequence[Part]) -> str:
    """Return what was found, and then tables, under one title as GitHub-flavoured Markdown."""
    blocks = [f"# {title}", *found(sections), *(block for part in parts for block in _part(part, "##"))]
    return "\n\n".join(block for block in blocks if block) + "\n"


def escape(text: str) -> str:
    """Return text escaped, in one line, for a paragraph or a cell.

    Example:
        >>> escape("<script> a|b")
        '&lt;script&gt; a\\\\|b'
    """
    escaped = re.sub(r"([\\`*|])", r"\\\1", html.escape(" ".join(text.split()), quote=False))
    return escaped.replace("](", "]\\(")


def _section(section: Section) -> list[str]:
    blocks = [f"## {escape(section.title)}", escape(section.question), escape(section.plan)]
    for part in section.results:
        blocks += _part(part)
    if section.drawings:
        blocks += ["### Figures", section.shown, _figures(section)]
    for part in section.background:
        blocks += _part(part)
    if section.commands:
        indented = "\n".join("    " + " ".join(command.split()) for command in section.commands)
        blocks += ["### Command", indented]
    return blocks


def _part(part: Part, level: str = "###") -> list[str]:
    blocks = [f"{level} {escape(part.heading)}", escape(part.note), _table(part.table) if part.table else ""]
    if part.file:
        place = part.file.as_posix()
        blocks += [
            f"These are {len(part.table.rows)} of {part.num_rows} rows; [all rows]({place}) are in a file."
        ]
    return blocks


def _table(table: Table) -> str:
    lines = [table.headers, tuple("---" for _ in table.headers), *table.rows]
    rows = [[cell if cell == "---" else escape(cell) for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _figures(section: Section) -> str:
    return "\n\n".join(
        f"![{escape(drawing.caption)}]({drawing.svg.as_posix()})\n\n{escape(drawing.caption)}"
        for drawing in section.drawings
    )
