"""Measure the saved parameters of a run on its test split again, or on other images.

Examples:
    cnn-research evaluate outputs/2026-01-31/12-00-00-000000
    cnn-research evaluate outputs/2026-01-31/12-00-00-000000 --data photos2
    cnn-research evaluate outputs/a --with outputs/b outputs/c
"""

from pathlib import Path

import numpy as np

from research.cli.arguments import Arguments, add_others, check_choice
from research.cli.wrapper import exit_with_jax
from research.config import ConfigError
from research.deploy.ensemble import load_ensemble
from research.records import read_run
from research.records.class_scores import balanced_accuracy, class_scores, macro_f1
from research.runs.judge import Judgement, judge, judge_test_split
from research.runs.provenance import refuse_other_flags
from research.studies.report.text_table import Table, percent
from research.training.tta import TTA
from research.utils.constraints import OneOf

SHOWN = 20
"""The largest number of classes with which the confusion matrix is printed.

With more classes, at most this many confusions are printed.
"""

FOOTNOTE = "Each row counts the images of a class by the class that was predicted."


def command() -> int:
    """Print the test loss and the test scores of the run on the command line."""
    parser = Arguments(__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument("--tta", help=f"test-time augmentation instead of the run's: {OneOf(TTA)}")
    parser.add_argument("--data", help="other images: a folder, CSV file or npz file, or a dataset by name")
    parser.add_argument("--dir", help="folder of prepared datasets")
    add_others(parser)
    arguments = parser.parse_args()
    run: Path = arguments.run
    check_choice("--tta", arguments.tta, TTA)
    if str(run).startswith("run=") and not run.exists():
        folder = str(run).removeprefix("run=")
        call = f"{parser.prog} {folder or 'RUN'}"
        raise ConfigError(f"run={folder} is not allowed; give the folder alone: {call}")
    others: list[Path] = arguments.others
    network = load_ensemble([run, *others], tta=arguments.tta) if others else None
    if arguments.data is not None:
        found = judge(run, arguments.data, data_dir=arguments.dir, tta=arguments.tta, network=network)
        print(text_of(found))
        return 0
    for record in map(read_run, others):
        refuse_other_flags(record.path, record.outcome)
    found = judge_test_split(run, arguments.tta, network)
    for name, value in found.scores.items():
        print(f"{name.replace('_', ' ')} {value!r}")
    print(f"\n{_tables(found)}")
    return 0


def text_of(found: Judgement) -> str:
    """Return the scores and the tables of the classes as lines of text."""
    counts = found.counts
    low, high = found.interval
    lines = [
        f"images {counts.sum()} of {found.name}",
        f"accuracy {found.accuracy:.4f}, 95 % interval {low:.4f} to {high:.4f}",
        f"balanced accuracy {balanced_accuracy(counts):.4f}",
        f"macro F1 {macro_f1(counts):.4f}",
        "",
        _tables(found),
    ]
    return "\n".join(lines)


def _tables(found: Judgement) -> str:
    """Return the recall of each class and the confusion matrix as lines of text.

    With more than 20 classes, the most frequent confusions take the place of the matrix.
    """
    names, counts = found.class_names, found.counts
    recalls = [percent(float(recall)) for recall in class_scores(counts)[1]]
    scores = zip(names, map(str, counts.sum(1)), recalls, strict=True)
    if len(names) <= SHOWN:
        rows = [(*score, *map(str, row)) for score, row in zip(scores, counts, strict=True)]
        return f"{Table(('class', 'images', 'recall (%)', *names), rows)}\n{FOOTNOTE}"
    wrong = counts - np.diag(np.diag(counts))
    places = np.argsort(-wrong, axis=None, kind="stable")[:SHOWN]
    pairs = [(*divmod(int(place), len(names)), int(wrong.flat[place])) for place in places]
    confusions = [(names[i], names[j], str(count)) for i, j, count in pairs if count]
    with_images = [score for score in scores if score[1] != "0"]
    tables = (
        Table(("class", "images", "recall (%)"), with_images),
        Table(("class", "predicted", "images"), confusions),
    )
    return f"{tables[0]}\n\n{tables[1]}"


def main() -> None:
    """Run the command and exit."""
    exit_with_jax(command)
