import numpy as np
import pytest

from research.studies.figures.panels import numeric_axis
from research.studies.figures.power_law import power_law
from research.studies.findings import findings
from research.studies.power_law import describe_power_law, fit_power_law
from research.studies.results import Arm, StudyResults, read_studies
from research.studies.study import Study

SIZES = (100, 300, 1000, 3000)


def study_of(tmp_path, write, make_plan, errors) -> StudyResults:
    """A study with the test error of each seed (row) and size (column)."""
    arms = [f"{size} images" for size in SIZES]
    for seed, row in enumerate(errors):
        for size, arm, error in zip(SIZES, arms, row, strict=True):
            plan = make_plan(arm, arms, name="data_size", axis="data.train_limit", reference=arms[-1])
            model = {"name": "plain", "depth": 1}
            write(tmp_path / f"{seed}-{size}", plan, seed, 1 - error, model=model, train_limit=size)
    return read_studies(tmp_path)[0]


def test_the_fit_is_that_of_each_seed(tmp_path, write, make_plan):
    exponents, factors = np.array([0.4, 0.5, 0.45, 0.55, 0.5]), np.array([2.0, 2.2, 1.9, 2.4, 2.1])
    errors = factors[:, None] * np.array(SIZES) ** -exponents[:, None]
    law = fit_power_law(study_of(tmp_path, write, make_plan, errors))
    assert law is not None
    np.testing.assert_allclose(law.exponents, exponents)
    np.testing.assert_allclose(np.exp(law.intercepts), factors)
    half = 2.7764451 * exponents.std(ddof=1) / np.sqrt(5)  # t(4, 0.975)
    assert (law.exponent.low, law.exponent.high) == pytest.approx((0.48 - half, 0.48 + half))
    assert law.deviation == pytest.approx(1)
    expected = np.log(factors * 6000**-exponents).mean()
    assert law.error_at(6000).mean == pytest.approx(expected)
    sentence = describe_power_law(law)
    assert "From 100 to 3,000 training images the test error falls as n^-b with b = 0.480 [0.4" in sentence
    assert f"predicts an error of {100 * np.exp(expected):.2f} % [" in sentence


def test_a_curve_that_is_no_power_law_deviates(tmp_path, write, make_plan):
    errors = np.array([[0.2, 0.1, 0.05, 0.05], [0.2, 0.1, 0.05, 0.05]])
    study = study_of(tmp_path, write, make_plan, errors)
    law = fit_power_law(study)
    assert law is not None
    assert law.deviation > 1.2
    assert findings(study)[0] == describe_power_law(law)
    figure = power_law(study)
    assert figure is not None
    assert [axis.get_scale() for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis)] == ["log", "log"]
    assert not numeric_axis(study)  # the sizes are spread too unevenly for a linear scale


def test_no_fit_without_enough_sizes_or_errors(tmp_path, write, make_plan, depth_study):
    assert fit_power_law(read_studies(depth_study)[0]) is None
    assert numeric_axis(read_studies(depth_study)[0])
    perfect = study_of(tmp_path, write, make_plan, [[0.2, 0.1, 0.05, 0.0]])
    assert fit_power_law(perfect) is None
    assert fit_power_law(StudyResults("x", (Arm("a"),), axis="data.train_limit")) is None


def test_the_arms_of_the_study_see_equally_many_images():
    study = Study.from_conf("data_size")
    configs = [study.config(arm, seed=0) for arm in study.arms]
    assert {(config.data.train_limit or 0) * config.training.epochs for config in configs} == {64_000}
