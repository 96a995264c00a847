import json
import os

import jax
import pytest

from research.layers.base import abstract_init
from research.models import MODELS

SMALL = ("model=tiny", "data=digits", "training.batch_size=4", "rounds=2", "steps=1")

cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2


@pytest.mark.slow
@pytest.mark.skipif(cores < 2, reason="two processes need a core each")
def test_two_processes_are_timed_against_one_and_exchange_the_gradients_once(call):
    outcome = call("benchmark_scaling.py", *SMALL, "strategies=[shard_map]", "format=json")
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    params, _ = abstract_init(MODELS["tiny"]((8, 8, 1), 10), (1, 8, 8, 1))
    num_bytes = sum(4 * leaf.size for leaf in jax.tree.leaves(params))
    assert (result["all_reduces"], result["all_reduce_bytes"], result["others"]) == (1, num_bytes, 0)
    within = result["strategies"]["shard_map"]
    assert (within["all_reduces"], within["all_reduce_bytes"]) == (1, num_bytes)
    assert all(result["ms"][name]["median"] > 0 for name in ("one", "apart", "all"))
    assert result["weak_efficiency"] > 0
    assert result["exchange_efficiency"] > 0
    assert "2 processes" in result["real"]
    assert "CPU devices of one process" in result["simulated"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("processes=99",), f"processes=99 is not allowed; give at most {cores}, the number of cores"),
        (("processes=1",), "processes=1 is not allowed; give a whole number, at least 2"),
        (("parallel=pmap",), "parallel=pmap is not for several processes; give parallel=jit or shard_map"),
        (("strategies=[mesh]",), "strategies=mesh is not allowed; give one of jit, pmap, shard_map, single"),
        (("distributed.num_processes=2",), "distributed.coordinator and distributed.process_id is missing"),
        (("format=xml",), "format=xml is not allowed; give one of json, table"),
    ],
)
def test_a_mistake_is_one_sentence(call, arguments, sentence):
    outcome = call("benchmark_scaling.py", *arguments)
    assert outcome.code == 2
    assert sentence in outcome.err
    assert outcome.err.count("\n") == 1
