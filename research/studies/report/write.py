"""The report of a folder of runs: ``report.md``, ``report.html``, ``results.csv`` and figures."""

import csv
import io
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from research.records import RecordError
from research.records.tracking import attach_report
from research.studies.report.html import to_html
from research.studies.report.markdown import parts_to_markdown, to_markdown
from research.studies.report.section import Section, make_sections, published_parts
from research.studies.report.table import results_table
from research.studies.report.text_table import MOST_ROWS, Part, Table
from research.studies.results import StudyResults, read_studies
from research.utils.files import write_atomically


def write_report(folders: str | Path | Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Read every run in some folders and below them, and write one report.

    It writes ``report.md``, ``report.html`` (the same content with its figures in one file), ``results.csv``
    with a row per run, a CSV file for each table that is too long for the report, and each figure as
    ``figures/<study>/<figure>.svg`` and ``.png``. If there are published claims about a study, it also writes
    ``published.md``, which has all verdicts and one short table for each study. Each study is a section of
    the report; a comparison of frameworks is a study, too.
    ``report.html`` is attached to the MLflow runs of the runs that have one.

    Args:
        folders: one folder with runs in it or below it, or several.
        out: folder of the report; ``None`` for the folder of the runs, or the one that holds all of several.

    Returns:
        The path of ``report.md``.

    Raises:
        FileNotFoundError: there is no such folder.
        RecordError: there is no run in them, or a file of a run is damaged.
    """
    paths = [Path(folders)] if isinstance(folders, str | Path) else [Path(path) for path in folders]
    return write_studies(read_studies(*paths), paths, out)


def write_studies(
    studies: Sequence[StudyResults], paths: Sequence[Path], out: str | Path | None = None
) -> Path:
    """Write one report of studies, as `write_report` does, and return the path of ``report.md``.

    Args:
        studies: the studies that `read_studies` found in the folders.
        paths: the folders.
        out: folder of the report, as in `write_report`.

    Raises:
        RecordError: a file of a run is damaged, or several folders share no folder for the report.
    """
    folder = paths[0]
    if len(paths) > 1:
        common = os.path.commonpath([path.absolute() for path in paths])
        if out is None and common == os.path.dirname(common):
            raise RecordError(f"{' and '.join(map(str, paths))} share no folder; give --out for the report")
        folder = Path(os.path.relpath(common))
    out = folder if out is None else Path(out)
    sections = [_cut(section, out) for section in make_sections(studies, folder, out)]
    results = results_table(studies, folder)
    write_atomically(out / "results.csv", to_csv(results).encode())
    write_atomically(out / "report.html", to_html(sections, out).encode())
    write_atomically(out / "report.md", to_markdown(sections).encode())
    if parts := published_parts(sections):
        text = parts_to_markdown("Beside what was published", sections, parts)
        write_atomically(out / "published.md", text.encode())
    every = (run for study in studies for run in (*study.runs, *study.trials, *study.earlier))
    attach_report((run.path for run in every), out / "report.html")
    return out / "report.md"


def _cut(section: Section, out: Path) -> Section:
    """Return a section whose tables have few rows; all rows of a long table are written beside the report."""

    def cut(part: Part) -> Part:
        if len(part.table.rows) <= MOST_ROWS:
            return part
        name = re.sub(r"[^a-z0-9]+", "-", part.heading.lower()).strip("-")
        file = Path("tables") / section.slug / f"{name}.csv"
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out / file, to_csv(part.table).encode())
        return part.cut(file)

    results, background = ([*map(cut, parts)] for parts in (section.results, section.background))
    return replace(section, results=results, background=background)


def to_csv(table: Table) -> str:
    """Return a table as CSV with a header line."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([table.headers, *table.rows])
    return text.getvalue()
