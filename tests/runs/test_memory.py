"""The memory of a process that trains many different networks."""

import gc
import json
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import jax
import pytest

from research.config import Config
from research.runs import program
from research.runs.run import run

REPOSITORY = Path(__file__).parents[2]


def config(width):
    return Config.from_dict(
        {
            "model": {"name": "tiny", "widths": [width, 3]},
            "data": {"train_limit": 64},
            "training": {"epochs": 1, "batch_size": 32, "xla_optimization_level": 0},
        }
    )


def test_what_was_compiled_for_earlier_networks_is_not_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(program, "_compile", lru_cache(maxsize=2)(program._compile.__wrapped__))
    gc.collect()
    kept = []
    for width in range(1, 5):
        run(config(width), tmp_path / str(width))
        kept.append(len(jax.devices()[0].client.live_executables()))
    assert kept[3] <= kept[1] + 1, kept


MANY = """
import json, sys
from pathlib import Path
from research.runs.run import run
from tests.runs.test_memory import config

curve = []
for width in range(1, 65):
    run(config(width), Path(sys.argv[1]) / str(width))
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    curve.append(pages * 4096 / 2**20)
print(json.dumps(curve))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_a_process_does_not_grow_with_the_number_of_networks(tmp_path):
    command = [sys.executable, "-c", MANY, str(tmp_path)]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    curve = json.loads(ended.stdout)
    print("MiB after 16, 32, 48 and 64 networks:", [round(curve[count - 1]) for count in (16, 32, 48, 64)])
    assert max(curve[48:]) < 1.1 * max(curve[16:32])
