"""Real processes on this machine, over gloo, against one process."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from research.config import Config, ConfigError
from research.records import read_run
from research.runs.devices import check_distributed
from research.runs.load import load_trained
from research.runs.run import run
from tests.parallel.conftest import relative_error

TRAIN = Path(__file__).parents[2] / "scripts" / "train.py"

# 20 steps, with augmentation
SETTINGS = {
    "model": {"name": "tiny"},
    "data": {"train_limit": 320, "augmentations": ["flip", "crop"]},
    "training": {"epochs": 2, "batch_size": 32, "keep": "last", "checkpoint_every": 15}
    | {"xla_optimization_level": 0},  # compiling is most of it
}
QUICK = (
    "model=tiny",
    *("data.train_limit=320", "data.augmentations=[flip,crop]"),
    *("training.epochs=2", "training.batch_size=32", "training.keep=last", "training.checkpoint_every=15"),
    "training.xla_optimization_level=0",
)
LONG = ("model=tiny", "data.train_limit=300", "training.epochs=100000")


BY_HAND = {"coordinator": "127.0.0.1:9911", "num_processes": 2, "process_id": 0}


@pytest.mark.parametrize(
    ("distributed", "strategy", "sentence"),
    [
        ({"process_id": None}, "jit", "distributed.process_id is missing; give all of coordinator"),
        (
            {"process_id": 2},
            "jit",
            "distributed.process_id=2 is not allowed; give a whole number, from 0",
        ),
        ({"coordinator": "node1"}, "jit", "distributed.coordinator=node1 is not allowed; give host:port"),
        ({"mode": "auto"}, "jit", "distributed.coordinator is not allowed with distributed.mode=auto"),
        (
            {},
            "single",
            "parallel=single is not allowed with several processes; give parallel=jit",
        ),
        ({}, "pmap", "parallel=pmap is not allowed with several processes"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(distributed, strategy, sentence):
    values = {"distributed": BY_HAND | distributed, "parallel": {"name": strategy}}
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        check_distributed(Config.from_dict(values))


def test_the_processes_are_not_part_of_what_a_run_is():
    assert Config.from_dict({"distributed": BY_HAND}).fingerprint() == Config.from_dict({}).fingerprint()


def start(folder: Path, count: int, *arguments: str, slurm: bool = False) -> list[subprocess.Popen[str]]:
    """Start the processes of one run, as a person would by hand, or with the variables that SLURM sets."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    base = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    processes = []
    for index in range(count):
        by_hand = {"coordinator": coordinator, "num_processes": count, "process_id": index}
        words, environment = [f"distributed.{key}={value}" for key, value in by_hand.items()], base
        if slurm:
            told = {"JOB_ID": 1, "STEP_NODELIST": "127.0.0.1", "NTASKS": count}
            told |= {"PROCID": index, "LOCALID": index}
            environment = base | {f"SLURM_{key}": str(value) for key, value in told.items()}
            words, environment["JAX_COORDINATOR_ADDRESS"] = ["distributed.mode=auto"], coordinator
        command, pipe = [sys.executable, str(TRAIN), *words, *arguments], subprocess.PIPE
        processes.append(
            subprocess.Popen(command, cwd=folder, env=environment, text=True, stdout=pipe, stderr=pipe)
        )
    return processes


def finish(processes: list[subprocess.Popen[str]], seconds: float = 240) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of each."""
    try:
        ended = [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(processes, ended, strict=True)]


def wait_for(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone") / "run"
    run(Config.from_dict(SETTINGS), folder)
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    outcomes = finish(start(folder, 2, *QUICK, "parallel=jit", "parallel.num_devices=2", "run=run"))
    return folder / "run", outcomes


def held_against(folder: Path, alone: Path) -> None:
    ours, theirs = load_trained(folder).params, load_trained(alone).params
    assert relative_error(ours, theirs) <= 1e-5
    for line, expected in zip(read_run(folder).metrics, read_run(alone).metrics, strict=True):
        assert line["train_accuracy"] == expected["train_accuracy"]
        assert line["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-5)
        assert line["validation_loss"] == pytest.approx(expected["validation_loss"], rel=1e-4)


def test_two_processes_give_what_one_gives_and_one_of_them_talks(alone, two):
    folder, outcomes = two
    assert [(code, err) for code, _, err in outcomes] == [(0, ""), (0, "")]
    (*epochs, _, named), silent = outcomes[0][1].splitlines(), outcomes[1][1]
    assert (len(epochs), named, silent) == (2, "run run", "")
    held_against(folder, alone)
    result, expected = read_run(folder).outcome, read_run(alone).outcome
    assert result.test_loss == pytest.approx(expected.test_loss, rel=1e-4)
    assert result.provenance["num_devices"] == 2
    assert set(read_run(folder).arrays()) == set(read_run(alone).arrays())


def test_both_go_on_from_a_checkpoint_with_the_same_bits(tmp_path, two):
    shutil.copytree(two[0], tmp_path / "run")
    for name in ("result.json", "arrays.npz"):
        (tmp_path / "run" / name).unlink()
    *_, last_step = sorted((tmp_path / "run" / "checkpoints").glob("step-*"))
    for folder in (last_step, last_step.with_name("final")):
        shutil.rmtree(folder)
    outcomes = finish(start(tmp_path, 2, "run=run", "resume=true"))
    assert [(code, err) for code, _, err in outcomes] == [(0, ""), (0, "")]
    assert len(outcomes[0][1].splitlines()) == 3  # the second epoch only
    jax.tree.map(
        np.testing.assert_array_equal, load_trained(tmp_path / "run").params, load_trained(two[0]).params
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "strategy"), [(2, "parallel=shard_map"), (4, "parallel=jit"), (4, "parallel=shard_map")]
)
def test_more_processes_and_strategies(tmp_path, alone, count, strategy):
    outcomes = finish(start(tmp_path, count, *QUICK, strategy, f"parallel.num_devices={count}", "run=run"))
    assert [(code, err) for code, _, err in outcomes] == [(0, "")] * count
    held_against(tmp_path / "run", alone)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "strategy"), [(2, "jit"), (2, "shard_map"), (4, "jit")])
def test_batch_norm_and_dropout_over_processes(tmp_path, count, strategy):
    one_step = {
        "model": {"name": "modern_cnn", "widths": [8, 16], "hidden": 32},
        "data": {"train_limit": 32, "augmentations": ["flip", "crop"]},
        "training": {"epochs": 1, "batch_size": 32, "keep": "last"},
        # Adam makes a step of the zero gradient of a bias before batch norm
        "optimizer": {"name": "sgd", "learning_rate": 0.1},
    }
    run(Config.from_dict(one_step), tmp_path / "alone")
    words = [f"{group}.{key}={value}" for group, given in one_step.items() for key, value in given.items()]
    words = [word.replace(".name", "").replace(" ", "") for word in words]
    layout = (f"parallel={strategy}", f"parallel.num_devices={count}", "run=run")
    outcomes = finish(start(tmp_path, count, *words, *layout))
    assert [(code, err) for code, _, err in outcomes] == [(0, "")] * count
    ours, theirs = (load_trained(tmp_path / name) for name in ("run", "alone"))
    same = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7)
    jax.tree.map(same, (ours.params, ours.model_state), (theirs.params, theirs.model_state))


@pytest.mark.slow
def test_processes_of_slurm_find_each_other(tmp_path, alone):
    processes = start(tmp_path, 2, *QUICK, "parallel=jit", "parallel.num_devices=2", "run=run", slurm=True)
    assert [(code, err) for code, _, err in finish(processes)] == [(0, ""), (0, "")]
    held_against(tmp_path / "run", alone)


@pytest.mark.slow
def test_a_model_axis_over_processes(tmp_path, alone):
    axes = ("parallel=jit", "parallel.mesh={data: 1, model: 2}")
    outcomes = finish(start(tmp_path, 2, *QUICK, *axes, "run=run"))
    assert [(code, err) for code, _, err in outcomes] == [(0, "")] * 2
    held_against(tmp_path / "run", alone)


@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_process_that_dies_ends_the_other_with_a_sentence(tmp_path, victim):
    processes = start(tmp_path, 2, *LONG, "parallel=jit", "parallel.num_devices=2", "run=run")
    wait_for(lambda: (tmp_path / "run" / "metrics.jsonl").exists())
    processes[victim].kill()
    began = time.monotonic()
    code, out, err = finish(processes, 60)[1 - victim]
    assert time.monotonic() - began < 60
    assert code == 1
    assert err == (
        "train.py: another process of the run run ended or does not answer, so this one ends, too; "
        "resume=true in all of them continues from the last checkpoint\n"
    )
    assert "Error" not in out


@pytest.mark.slow
def test_a_process_that_hangs_ends_the_other(tmp_path):
    processes = start(tmp_path, 2, *LONG, "parallel=jit", "parallel.num_devices=2", "run=run")
    wait_for(lambda: (tmp_path / "run" / "metrics.jsonl").exists())
    (worker,) = (
        int(pid)
        for pid in Path(f"/proc/{processes[1].pid}/task/{processes[1].pid}/children").read_text().split()
        if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()
    )
    os.kill(worker, signal.SIGSTOP)
    try:
        _, err = processes[0].communicate(timeout=60)
    finally:
        os.kill(worker, signal.SIGKILL)
        for process in processes:
            process.kill()
        processes[1].communicate()
    assert processes[0].returncode == 1
    assert "does not answer" in err


@pytest.mark.slow
def test_a_signal_to_one_process_ends_all_with_a_checkpoint(tmp_path):
    processes = start(tmp_path, 2, *LONG, "parallel=jit", "parallel.num_devices=2", "run=run")
    wait_for(lambda: (tmp_path / "run" / "metrics.jsonl").exists())
    processes[1].terminate()
    outcomes = finish(processes, 60)
    assert [(code, err) for code, _, err in outcomes] == [(143, ""), (143, "")]
    assert read_run(tmp_path / "run").outcome.status == "preempted"
    assert len(list((tmp_path / "run" / "checkpoints").glob("step-*"))) == 1
    assert "preempted: SIGTERM after" in outcomes[0][1]
    assert outcomes[1][1] == ""
