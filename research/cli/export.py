"""Export the network of a finished run to a file that other programs can run.

The file takes pixels (uint8) and returns logits. It is verified before it is kept, and the report of the
verification is written beside it. onnx also gives example.py, which needs onnxruntime, numpy and Pillow only.

Examples:
    cnn-research export outputs/x --format onnx
    cnn-research export outputs/x --format stablehlo --out deployed
"""

from pathlib import Path

from research.cli.arguments import Arguments
from research.cli.wrapper import exit_with_jax
from research.config import ConfigError
from research.deploy.export import export
from research.deploy.formats import EXPORT_FORMATS
from research.utils.constraints import OneOf


def command() -> int:
    """Export the run on the command line, and print the path of the file and its largest difference."""
    parser = Arguments(__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument("--format", required=True, help=f"form of the file: {OneOf(EXPORT_FORMATS)}")
    parser.add_argument("--out", help="folder of the files; without it, the folder export of the run")
    arguments = parser.parse_args()
    if arguments.out == "":
        raise ConfigError("--out= is not allowed; give the path of a folder, such as ./export")
    report = export(arguments.run, arguments.format, arguments.out)
    for name, check in report["checks"].items():
        print(
            f"{check['images']} images of {name}: the logits differ by at most "
            f"{check['relative_difference']:.1e} of the largest logit"
        )
    print(f"{report['path']} {report['bytes'] / 1e6:.2f} MB")
    return 0


def main() -> None:
    """Run the command and exit."""
    exit_with_jax(command)
