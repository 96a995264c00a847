"""The runner of the faults, and each fault once; `make faults` tries each as often as FAULTS says."""

import sys
import unittest

import pytest

from tests.integration.faults import run

STARTS_PROCESSES = {"kill_run", "kill_sweep", "file_limit", "two_runs", "odd_paths", "home"}


@pytest.mark.parametrize(
    "name", [pytest.param(f, marks=pytest.mark.slow if f in STARTS_PROCESSES else ()) for f in run.FAULTS]
)
def test_each_fault_is_survived(name):
    run.run_trial(run.FAULTS[name][0], seed=0)


@pytest.fixture
def call(monkeypatch, capsys):
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
        return run.main(), *capsys.readouterr()

    return call


def fail_on_seed_3(rng, folder):
    assert list(folder.iterdir()) == []
    (folder / "left").touch()
    assert rng.random() != pytest.approx(0.23796462709189137), "the third"


def skip(rng, folder):
    raise unittest.SkipTest("no disk here")


def test_trials_are_counted_and_a_failed_one_says_how_to_repeat_it(call, monkeypatch):
    monkeypatch.setattr(run, "FAULTS", {"third": (fail_on_seed_3, 5), "none": (skip, 2)})
    code, out, err = call()
    assert code == 1
    assert err == ""
    lines = out.splitlines()
    assert lines[0].startswith("third, seed 3: AssertionError: the third")
    assert lines[1].endswith("python tests/integration/faults/run.py --only third --count 1 --seed 3")
    assert lines[2:] == ["third: 4 passed, 1 failed", "none: skipped, no disk here", "4 passed, 1 failed"]
    assert call("--only", "third", "--count", "3")[:2] == (
        0,
        "third: 3 passed, 0 failed\n3 passed, 0 failed\n",
    )


def test_faults_are_listed(call):
    code, out, _ = call("--list")
    assert code == 0
    assert "kill_run (100)\n" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--only", "flood"), "unknown fault 'flood'; allowed: "),
        (("--count", "0"), "--count 0 is not allowed; give a whole number, at least 1"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(call, arguments, sentence):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"run.py: {sentence}")
    assert err.count("\n") == 1
