"""Call a script as a person would, in this process: arguments in; exit code, output and errors out."""

import runpy
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from hydra.core.global_hydra import GlobalHydra

from research.cli import nodes
from research.config import Config
from research.runs.run import run

SCRIPTS = Path(__file__).parents[2] / "scripts"


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.chdir(tmp_path)

    def call(script: str, *arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", [f"scripts/{script}", *arguments])
        GlobalHydra.instance().clear()
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(SCRIPTS / script), run_name="__main__")
        code = ended.value.code
        return Outcome(code if isinstance(code, int) else 1, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    values = {"model": "tiny", "data": {"train_limit": 64}, "training": {"epochs": 1, "batch_size": 32}}
    assert run(Config.from_dict(values), folder).status == "completed"
    return str(folder)


@pytest.fixture
def stored_anew():
    """For tests that change what there is to choose: Hydra's store is filled again before and after them."""
    nodes._stored = None
    yield
    nodes._stored = None
