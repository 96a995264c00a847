"""The MLflow run that belongs to the folder of a run; its file `mlflow.json` names it. It needs no JAX."""

import json
import logging
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from research.records.layer_statistics import STATISTICS_FILE
from research.records.result import RunResult
from research.utils.files import write_atomically

TRACKING_FILE = "mlflow.json"
"""Name of the file in the folder of a run that names the MLflow run, and its server or store."""


def tracking_uri() -> str:
    """Return the address in MLFLOW_TRACKING_URI, or that of the folder `mlruns` here if it is not set."""
    return os.environ.get("MLFLOW_TRACKING_URI") or Path("mlruns").absolute().as_uri()


def connect(uri: str) -> Any:
    """Return a `MlflowClient` of an MLflow server (`http:`) or of a local store (`file:`).

    MLflow 3.17 refuses local stores unless MLFLOW_ALLOW_FILE_STORE is set, so it is set to true here. MLflow
    tries for minutes to reach a server; here it tries twice, because a point that was not written is written
    at the next epoch. Values that the user has set are kept.
    """
    if uri.startswith("file:") or "://" not in uri:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it logs each try
    from mlflow import MlflowClient  # the extra "tracking" installs it

    return MlflowClient(tracking_uri=uri)


def write_tracking(folder: Path, uri: str, run_id: str) -> None:
    """Write `mlflow.json`."""
    write_atomically(folder / TRACKING_FILE, json.dumps({"uri": uri, "run_id": run_id}).encode())


def read_tracking(folder: Path) -> tuple[str, str] | None:
    """Return the address and the name of the MLflow run of a folder, or `None` if it has none."""
    try:
        values = json.loads((folder / TRACKING_FILE).read_bytes())
        return str(values["uri"]), str(values["run_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def finish_tracking(folder: Path, result: RunResult, step: int) -> None:
    """Write the result of a run to its MLflow run, attach its files, and end the MLflow run.

    Args:
        folder: the folder of the run.
        result: the result of the run.
        step: number of steps of the run.
    """
    tracked = read_tracking(folder)
    if tracked is None:
        return
    try:
        client, run_id = connect(tracked[0]), tracked[1]
        for key, value in (("accuracy/test", result.test_accuracy), ("loss/test", result.test_loss)):
            if value is not None:
                client.log_metric(run_id, key, value, step=step)
        for name in ("config.yaml", "metrics.jsonl", STATISTICS_FILE, "result.json"):
            if (folder / name).exists():
                client.log_artifact(run_id, str(folder / name))
        ended = {"completed": "FINISHED", "preempted": "KILLED"}
        client.set_terminated(run_id, ended.get(result.status, "FAILED"))
    except Exception as error:  # a server that cannot be reached must not fail the run
        say_lost(error)


def attach_report(folders: Iterable[Path], report: Path) -> None:
    """Attach a report to the MLflow runs of some folders; folders without one are left out."""
    for tracked in filter(None, map(read_tracking, folders)):
        try:
            connect(tracked[0]).log_artifact(tracked[1], str(report))
        except Exception as error:  # the report is on disk
            return say_lost(error)
    return None


def say_lost(error: Exception) -> None:
    """Warn that something could not be written to MLflow."""
    warnings.warn(f"not written to MLflow: {short_text(error)}", RuntimeWarning, stacklevel=3)


def short_text(error: Exception) -> str:
    """Return the beginning of the message of an error in one line, since those of MLflow are long."""
    return " ".join(str(error).split())[:150]
