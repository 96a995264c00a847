"""The report of a folder of runs, as Markdown, HTML and CSV."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from research.studies.report.text_table import Table
    from research.studies.report.write import write_report

__all__ = ["Table", "write_report"]


# The names are imported late, because published.py imports the tables, and write.py imports published.py.
def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'write' if name == 'write_report' else 'text_table'}"), name)
