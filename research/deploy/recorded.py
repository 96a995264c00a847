"""A run of a study that compresses finished runs into a file, and records what this file costs."""

from dataclasses import replace
from pathlib import Path

import jax

from research import records
from research.config import Config, ConfigError
from research.deploy.compress import calibration_images, convert, cost_of, refuse_without_packages
from research.deploy.ensemble import load_ensemble
from research.deploy.formats import write_onnx
from research.deploy.prune import remove_channels
from research.records import RunResult
from research.records.lock import hold
from research.runs.load import load_data
from research.runs.provenance import provenance
from research.runs.settings import run_settings
from research.utils.files import write_atomically


@run_settings()
def record_compression(config: Config, folder: str | Path) -> RunResult:
    """Write the file that `study.compress` describes, measure it on the test split, and record the result.

    Args:
        config: the configuration of the first run that is compressed, with the section `study` and the seed
            of this run.
        folder: the folder for the file and the result; it is made if it does not exist.

    Returns:
        The result. The accuracy is that of the file in ONNX Runtime. Its measurements are `file_bytes` and,
        for each number of images in `deploy.compress.BATCH_SIZES`, `milliseconds_1` and so on.

    Raises:
        ConfigError: the runs do not fit together, or a package is not installed.
        The errors of `load_trained`, `load_data` and `records.start_run`.
    """
    if config.compress is None or not config.compress.runs:
        raise ConfigError("study.compress.runs is empty; give the folders of completed runs")
    refuse_without_packages()
    form = config.compress.form
    with hold(folder):
        records.start_run(folder, config.to_dict(), resume=True)
        # the data may be in another folder than on the machine on which the run was trained
        first = replace(records.read_run(config.compress.runs[0]), config=config.to_dict())
        trained, dataset = load_ensemble(config.compress.runs), load_data(first)
        content = write_onnx(trained)
        content = convert(content, trained, form, lambda: calibration_images(first, trained, None))
        cost = cost_of(content, trained, dataset.test)
        write_atomically(Path(folder) / f"model_{form}.onnx", content)
        params = remove_channels(trained.net, trained.params, trained.model_state)[1]
        times = {f"milliseconds_{size}": time for size, time in cost.milliseconds.items()}
        result = RunResult(
            "completed",
            test_accuracy=cost.accuracy,
            num_parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
            measurements={"file_bytes": cost.bytes, **times},
            provenance=provenance(dataset.checksum),
        )
        records.write_result(folder, result)
    return result
