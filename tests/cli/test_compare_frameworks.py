from pathlib import Path

from research import records
from research.cli import compare_frameworks as command


def test_a_small_comparison_ends_with_its_report(call):
    small = ("data.train_limit=128", "training.epochs=1", "training.batch_size=32", "seeds=1", "small=false")
    small += ("num_threads=1",)  # threads that wait for each other busily take the time of other tests
    outcome = call("compare_frameworks.py", *small, "frameworks=[numpy,jax_im2col]", "out=out")
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[-1] == "report out/report.html"
    runs = records.find_runs(Path("out"))
    assert {(run.config["framework"], run.status) for run in runs} == {
        ("numpy", "completed"),
        ("jax_im2col", "completed"),
    }


def test_a_comparison_beside_other_studies_writes_no_report_of_its_own(call, monkeypatch):
    monkeypatch.setattr(command, "compare", lambda *_: None)
    outcome = call("compare_frameworks.py", "report=false", "out=out")
    assert (outcome.code, outcome.out) == (0, "runs out\n")


def test_mistakes_are_one_sentence(call):
    for arguments, sentence in (
        (["frameworks=[jaxx]"], "frameworks=jaxx is not allowed; give one of flax_linen"),
        (["seeds=0"], "seeds=0 is not allowed; give a whole number, at least 1"),
        (["training.batch_size=5000"], "batch_size=5000; allowed: 1 to 1294 for digits"),
    ):
        outcome = call("compare_frameworks.py", *arguments)
        assert outcome.code == 2
        assert sentence in outcome.err
        assert outcome.err.count("\n") == 1
