"""Read the runs of a folder or of several, write one report, and print its tables and what was found.

Examples:
    cnn-research report multirun/depth
    cnn-research report multirun/a multirun/b --out comparison
"""

import os
import sys
import webbrowser
from pathlib import Path

from research.cli.arguments import Arguments
from research.cli.exit import exit_with
from research.studies.findings import FOUND, headlines, title_in_words
from research.studies.report.search import trials_table
from research.studies.report.table import arm_table
from research.studies.report.write import write_studies
from research.studies.results import read_studies
from research.utils.strict import ConfigError


def command() -> int:
    """Write the report of the folders on the command line."""
    parser = Arguments(__doc__)
    described = "a run, a sweep (multirun/depth), or a folder of sweeps; several give one report"
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help=described)
    parser.add_argument("--out", help="folder of the report; without it, the folder of the runs")
    parser.add_argument("--open", action="store_true", help="open the report in a browser, on a desktop")
    arguments = parser.parse_args()
    folders, out = arguments.folders, arguments.out
    if out == "":
        raise ConfigError("--out= is not allowed; give the path of a folder, such as ./report")
    studies = read_studies(*folders)
    page = write_studies(studies, folders, out).with_suffix(".html")
    for study in studies:
        print(": ".join(filter(None, (title_in_words(study), study.question))))
        print("", trials_table(study) if study.search else arm_table(study.arms), "", sep="\n")
    print(FOUND)
    for title, sentence in headlines(studies):
        print(f"  {title}: {sentence}")
    print(f"report {page}")
    if arguments.open and has_desktop():
        webbrowser.open(page.absolute().as_uri())
    return 0


def has_desktop() -> bool:
    """Return whether a browser with a window can be opened on this machine."""
    return sys.platform == "darwin" or any(os.environ.get(key) for key in ("DISPLAY", "WAYLAND_DISPLAY"))


def main() -> None:
    """Run the command and exit."""
    exit_with(command)
