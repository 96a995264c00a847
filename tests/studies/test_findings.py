from research.studies.findings import findings
from research.studies.results import read_studies


def test_a_decided_contrast_is_one_sentence(depth_study):
    (study,) = read_studies(depth_study)
    lower, higher = findings(study)
    assert lower.startswith("depth 1 has a lower test accuracy than depth 2: -")
    difference = study.contrasts["depth 3"].difference
    bounds = f"[{100 * difference.low:+.2f}, {100 * difference.high:+.2f}]"
    mean = f"{100 * difference.mean:+.2f}"
    assert higher == f"depth 3 has a higher test accuracy than depth 2: {mean} {bounds} points over 8 seeds."


def test_what_is_not_decided_is_not_found(tmp_path, write, make_plan):
    for depth in (1, 2):
        for seed in range(3):
            write(tmp_path / f"{depth}{seed}", make_plan(f"depth {depth}"), seed, 0.8 + 0.05 * depth)
    (study,) = read_studies(tmp_path)
    assert findings(study) == []
