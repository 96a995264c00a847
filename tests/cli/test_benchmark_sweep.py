import json

import pytest


@pytest.mark.parametrize("argument", ["--runs=100,ten", "--trained=10"])
def test_bad_input_is_one_sentence(call, argument):
    refused = call("benchmark_sweep.py", argument)
    word = argument.replace("100,", "")
    message = f"benchmark_sweep.py: {word} is not allowed; give whole numbers, more than 10\n"
    assert (refused.code, refused.out, refused.err) == (2, "", message)


@pytest.mark.slow
@pytest.mark.integration
def test_the_cost_of_a_small_sweep_is_measured(call):
    [row] = json.loads(call("benchmark_sweep.py", "--runs=14", "--trained=12", "--format=json").out)
    assert row["num_runs"] == 14
    assert all(row[key] > 0 for key in ("plan_s", "recognise_s", "overhead_ms", "report_s", "status_s"))
    assert min(row["report_mib"], *row["launcher_mib"], *row["worker_mib"]) > 50
