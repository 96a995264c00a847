"""What a report says of a search, with Optuna and without it."""

import pytest

from research.records.search import SearchRecord, SearchTrial, write_search
from research.studies import search as module
from research.studies.report.write import write_report
from research.studies.results import read_studies
from research.studies.search import best_outcome, importance, outcomes

SPACE = {
    "rate": '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.1, "high": 1, "log": true}}',
    "kind": '{"name": "CategoricalDistribution", "attributes": {"choices": ["a", "b"]}}',
}


@pytest.fixture
def folder(tmp_path, write, make_plan):
    """24 trials, which are better at higher rates; trials 5 and 6 share a run, and the last one is lost."""
    trials = []
    for number in range(24):
        rate, status = round(0.1 + 0.03 * number, 2), "stopped" if number % 4 == 3 else "completed"
        run = f"run-{min(number, 5) if number == 6 else number}"
        trials.append(SearchTrial({"rate": rate, "kind": "ab"[number % 2]}, run))
        if number == 23:
            continue
        plan = make_plan("trial 1", ["trial 1"], name="search 1", reference="trial 1", trial=True)
        write(
            tmp_path / "found" / run,
            plan,
            accuracy=0.2 + rate / 2,
            status=status,
            epochs=2 if status == "stopped" else 4,
        )
    write_search(tmp_path / "found", SearchRecord("search 1", SPACE, trials))
    return tmp_path


def test_the_trials_are_in_their_order_and_the_best_one_completed(folder):
    [study] = read_studies(folder)
    found = outcomes(study)
    assert [each.trial.run for each in found][4:8] == ["run-4", "run-5", "run-5", "run-7"]
    assert found[23].run.status == "missing"
    assert found[23].accuracy is None
    assert best_outcome(study) == found[22]
    assert study.arms == ()


def test_importance_finds_the_key_that_matters(folder):
    pytest.importorskip("optuna")
    [study] = read_studies(folder)
    shares = importance(study)
    assert shares["rate"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)


def test_the_report_of_a_search(folder):
    text = write_report(folder).read_text()
    assert "24 trials: 18 completed, 5 stopped, 1 missing." in text
    assert "- The best validation accuracy of 24 trials is 58.00 %, with rate=0.76, kind=a." in text
    assert "| rate | 0.1 to 1, logarithmic | 0.76 |" in text
    assert "| kind | a, b | a |" in text
    assert "| 24 | 0.79 | b | — | 58.00 | 0 | missing |  | run-23 |" in text
    assert "### Contrasts" not in text
    assert (folder / "figures" / "search-1" / "search.svg").exists()


def test_without_optuna_only_the_importance_is_absent(folder, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    text = write_report(folder).read_text()
    assert "| rate | 0.1 to 1, logarithmic | 0.76 | — |" in text
    assert "| 23 | 0.76 | a | 58.00 | 58.00 | 4 | completed | yes | run-22 |" in text
