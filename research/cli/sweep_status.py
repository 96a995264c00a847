"""Print the progress of a sweep: how many runs are done, running, failed or missing, and the time left.

Example:
    cnn-research sweep-status multirun/depth
"""

from collections import Counter
from datetime import timedelta
from pathlib import Path

from research.cli.arguments import Arguments
from research.cli.exit import exit_with
from research.records.status import read_status, seconds_left


def command() -> int:
    """Print a line for each run that is not completed, the counts, and the time left."""
    parser = Arguments(__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a sweep, such as multirun/depth")
    folder = parser.parse_args().folder
    runs = read_status(folder)
    for run in runs:
        if run.status not in ("completed", "missing"):
            print(f"{run.path.relative_to(folder)}  {run.status}  {run.detail}")
    counts = Counter(run.status for run in runs)
    print(", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "no run")
    left = seconds_left(runs)
    if left is not None and left > 0:
        print(f"about {timedelta(seconds=round(left))} left")
    return 0


def main() -> None:
    """Run the command and exit."""
    exit_with(command)
