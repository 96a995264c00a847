"""What `report` prints, and when it opens a browser."""

import webbrowser
from pathlib import Path

import pytest

from research import records
from research.studies.report import section


@pytest.fixture
def opened(monkeypatch):
    """The addresses that a browser was asked to open; no figure is drawn."""
    addresses = []
    monkeypatch.setattr(webbrowser, "open", addresses.append)
    monkeypatch.setattr(section, "FIGURES", {})
    return addresses


def write_study(folder):
    for arm, accuracy in (("relu", 0.9), ("sigmoid", 0.5)):
        for seed in range(6):
            plan = {"name": "activation", "question": "Which?", "axis": "model.activation"}
            plan |= {"arms": ["relu", "sigmoid"], "reference": "relu", "arm": arm}
            path = folder / f"{arm}{seed}"
            records.write_config(path, {"seed": seed, "model": {"activation": arm}, "study": plan})
            records.write_result(path, records.RunResult("completed", test_accuracy=accuracy))


def test_it_ends_with_what_was_found_and_the_path_of_the_page(call, opened, monkeypatch):
    write_study(Path("runs"))
    monkeypatch.setenv("DISPLAY", ":0")
    outcome = call("report.py", "runs")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("Activation: Which?\n")
    assert outcome.out.splitlines()[-3:] == [
        "What was found",
        "  Activation: sigmoid has a lower test accuracy than relu: -40.00 points [-40.00, -40.00] over 6 "
        "seeds.",
        "report runs/report.html",
    ]
    assert opened == []


@pytest.mark.parametrize("variable", ["DISPLAY", "WAYLAND_DISPLAY", None])
def test_open_asks_for_a_browser_on_a_desktop_only(call, opened, monkeypatch, variable):
    write_study(Path("runs"))
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "0")
    assert call("report.py", "runs", "--open").code == 0
    assert opened == ([Path("runs/report.html").absolute().as_uri()] if variable else [])
