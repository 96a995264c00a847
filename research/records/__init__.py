"""The folder of a run on disk: its lock, its files and its progress. This package imports no JAX."""

from research.records.find import find_runs, run_folders
from research.records.result import FINISHED, NOT_IN_THE_RESULT, RunResult, Seconds
from research.records.run_folder import (
    OccupiedError,
    RecordError,
    Run,
    append_metrics,
    check_folder,
    is_finished,
    parameters_checksum,
    planned,
    read_config,
    read_run,
    start_run,
    write_arrays,
    write_config,
    write_result,
)

__all__ = [
    "FINISHED",
    "NOT_IN_THE_RESULT",
    "OccupiedError",
    "RecordError",
    "Run",
    "RunResult",
    "Seconds",
    "append_metrics",
    "check_folder",
    "find_runs",
    "is_finished",
    "parameters_checksum",
    "planned",
    "read_config",
    "read_run",
    "run_folders",
    "start_run",
    "write_arrays",
    "write_config",
    "write_result",
]
