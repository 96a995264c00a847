"""Make the network of a finished run smaller or faster, and say what that costs in accuracy.

The result is an ONNX file, with a report beside it: accuracy, size and time before and after. Several runs,
or the snapshots of one run, become an ensemble. The command needs the extra export.

Examples:
    cnn-research compress outputs/x --to int8
    cnn-research compress outputs/x --to int8_weights --prune 0.5 --by channel
    cnn-research compress outputs/a --with outputs/b outputs/c --average probabilities
"""

from pathlib import Path

from research.cli.arguments import Arguments, add_others, check_choice
from research.cli.wrapper import exit_with_jax
from research.config import ConfigError
from research.deploy.compress import FORMS, compress
from research.deploy.ensemble import AVERAGES, load_ensemble, load_snapshot_ensemble
from research.deploy.prune import prune_trained
from research.utils.constraints import OneOf


def command() -> int:
    """Compress the run on the command line, and print its accuracy, size and time before and after."""
    parser = Arguments(__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument("--to", default="float32", help=f"form of the numbers: {OneOf(FORMS)}")
    parser.add_argument("--calibrate", help="folder of images for int8; without it, training images")
    parser.add_argument("--prune", type=float, help="share that is pruned first, such as 0.5")
    parser.add_argument("--by", help="what is pruned: one of channel, weight; without it, weight")
    add_others(parser)
    parser.add_argument("--snapshots", action="store_true", help="take the snapshots of the run")
    parser.add_argument("--average", default="probabilities", help=f"what is averaged: {OneOf(AVERAGES)}")
    parser.add_argument("--out", help="folder of the files; without it, the folder export of the run")
    arguments = parser.parse_args()
    check_choice("--to", arguments.to, FORMS)
    check_choice("--by", arguments.by, ("channel", "weight"))
    check_choice("--average", arguments.average, AVERAGES)
    if arguments.prune is not None and not 0 <= arguments.prune < 1:
        raise ConfigError(
            f"--prune={arguments.prune:g} is not allowed; give a number, at least 0 and below 1"
        )
    if arguments.by is not None and arguments.prune is None:
        raise ConfigError(f"--by={arguments.by} is not allowed without --prune; give --prune too")
    several = arguments.snapshots or arguments.others
    if arguments.snapshots and arguments.others:
        raise ConfigError("--snapshots is not allowed beside --with; give one of the two")
    if several and arguments.prune:
        raise ConfigError(f"--prune={arguments.prune:g} is not allowed for several networks; leave it out")
    if arguments.snapshots:
        trained = load_snapshot_ensemble(arguments.run, arguments.average)
    else:
        trained = load_ensemble([arguments.run, *arguments.others], arguments.average)
    if arguments.prune:
        trained = prune_trained(trained, arguments.prune, arguments.by or "weight")
    report = compress(trained, arguments.run, arguments.to, calibrate=arguments.calibrate, out=arguments.out)
    print(f"{'':9}{'accuracy':>10}{'MB':>8}{'ms for 1':>10}{'ms for 64':>11}")
    shown = {"float32": "before"} | {arguments.to: "after"}
    for label, name in shown.items():
        cost = report[name]
        accuracy = "-" if cost["accuracy"] is None else f"{cost['accuracy']:.4f}"
        one, many = cost["milliseconds"].values()
        print(f"{label:13}{accuracy:>6}{cost['bytes'] / 1e6:>8.3f}{one:>10.2f}{many:>11.2f}")
    print(report["path"])
    return 0


def main() -> None:
    """Run the command and exit."""
    exit_with_jax(command)
