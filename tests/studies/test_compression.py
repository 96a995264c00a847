import json
from pathlib import Path

import numpy as np
import pytest

from research.config import Config
from research.studies import compression
from research.studies.compression import ARMS, first_runs, second_runs, write_comparison

BASE = Config.from_dict({"training": {"epochs": 1}})


def test_no_two_ensembles_share_a_run_and_every_arm_has_its_runs(monkeypatch):
    monkeypatch.setattr(Config, "run_name", lambda config: "")
    runs = {seed: first_runs(BASE, seed) for seed in range(3)}
    members = [config for each in runs.values() for name, config in each.items() if name.startswith("member")]
    assert len({config.seed for config in members}) == len(members) == 15
    assert all(config.model.name == "tiny" for config in members)
    second = second_runs(BASE, 2, Path("large"))
    assert {name for arm in ARMS.values() for name in arm.runs} == {*runs[2], *second}
    assert {config.seed for config in second.values()} == {2}
    pruned = second["pruned 95%"]
    assert (pruned.init_from.run, pruned.training.prune.amount) == ("large", 0.95)
    assert pruned.training.prune.by == "channel"
    assert (second["distilled"].teacher, second["distilled"].model.name) == ("large", "tiny")


def test_the_table_has_paired_differences_and_means(tmp_path):
    rng = np.random.default_rng(0)
    accuracy = {name: rng.uniform(0.8, 0.9, 3) for name in ARMS}
    costs = {
        name: {
            seed: {
                "accuracy": float(accuracy[name][seed]),
                "bytes": 2_000_000 + seed,
                "milliseconds": {"1": 0.5 + seed, "64": 3.0},
            }
            for seed in range(3)
        }
        for name in ARMS
    }
    table = write_comparison(costs, tmp_path).read_text()
    rows = {
        line.split(" | ")[0].removeprefix("| "): line.split(" | ")
        for line in table.splitlines()
        if "|" in line
    }
    row = rows["int8"]
    difference = 100 * (accuracy["int8"] - accuracy["float32"])
    assert row[1].startswith(f"{100 * accuracy['int8'].mean():.2f} ±")
    assert row[2].startswith(f"{difference.mean():+.2f} [")
    assert row[3:] == ["descriptive only", "2.000", "1.500", "3.000 |"]
    assert rows["float32"][2:4] == ["", "reference"]
    assert set(ARMS) <= set(rows)
    assert (tmp_path / "compression.png").stat().st_size > 10_000
    assert json.loads((tmp_path / "compression.json").read_text())["int8"]["0"]["bytes"] == 2_000_000


def test_runs_that_did_not_complete_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(compression, "run_sweep", lambda runs, **options: 1)
    keys = compression.CompressionConfig(seeds=1, out=str(tmp_path))
    with pytest.raises(ValueError, match=r"large_.* did not complete, so the arms cannot be compared"):
        compression.run_compression(keys, BASE)
