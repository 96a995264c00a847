"""Read the runs of a folder, write the report into it, and print its tables.

Example:
    cnn-research report multirun/depth
"""

from pathlib import Path

from research.cli.arguments import Arguments
from research.cli.wrapper import exit_with
from research.config import ConfigError
from research.studies.findings import findings
from research.studies.report.search import trials_table
from research.studies.report.table import arm_table
from research.studies.report.write import write_report
from research.studies.results import read_studies


def command() -> int:
    """Write the report of the folder on the command line."""
    parser = Arguments(__doc__)
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="a run, a sweep (multirun/depth), or a folder of sweeps"
    )
    parser.add_argument("--out", help="folder of the report; without it, the folder of the runs")
    arguments = parser.parse_args()
    folder, out = arguments.folder, arguments.out
    if out == "":
        raise ConfigError("--out= is not allowed; give the path of a folder, such as ./report")
    report = write_report(folder, None if out is None else Path(out))
    for study in read_studies(folder):
        print(f"{study.title}: {study.question}" if study.question else study.title)
        if study.search:
            print("", trials_table(study), "", sep="\n")
        else:
            print("", arm_table(study.arms), "", *findings(study), sep="\n")
    print(f"report {report}")
    return 0


def main() -> None:
    """Run the command and exit."""
    exit_with(command)
