"""Every figure on every kind of study, and the layout that a reader would complain about."""

from typing import Any

import matplotlib
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import correlate

from research.records import RunResult, read_run, write_arrays, write_result
from research.records.layer_statistics import write_statistics
from research.studies.figures import FIGURES, panels
from research.studies.figures.arms import accuracy_by_arm
from research.studies.figures.kernels import KERNELS, make_patterns
from research.studies.figures.network import mosaic
from research.studies.figures.panels import mean_curve
from research.studies.figures.style import canvas, label, look, save, shared_legend
from research.studies.results import read_studies

# These need the arrays of a run, which the runs of the named study do not have.
FROM_ARRAYS = (
    "confusion",
    "reliability",
    "mistakes",
    "first_kernels",
    "kernel_responses",
    "feature_maps",
    "summary",
)
PICTURES = ("kernel_responses", "mistakes")


def test_classes_have_their_names(tmp_path, write, make_plan):
    folder = write(tmp_path / "a", make_plan("depth 2"), 0, 0.8, arrays=True)
    (folder / "result.json").unlink()
    names = ["ship", "truck", *map(str, range(2, 10))]
    write_result(folder, RunResult("completed", test_accuracy=0.8, provenance={"class_names": names}))
    (study,) = read_studies(tmp_path)
    figure = FIGURES["confusion"](study)
    assert figure is not None
    for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
        assert [text.get_text() for text in axis.get_ticklabels()] == names
    figure = FIGURES["mistakes"](study)
    assert figure is not None
    said = " ".join(axes.get_title() for axes in figure.axes)
    assert {"ship", "truck"} <= set(said.replace("\n", " ").split())


@pytest.fixture(scope="module")
def studies(tmp_path_factory, depth_study, write, make_plan):
    """By kind: a numeric axis, names (one of them hostile), a single run, and nothing completed."""
    named, single, nothing = (tmp_path_factory.mktemp(name) for name in ("named", "single", "nothing"))
    arms = ["<script>", "cost in $ and $", "a name that is far too long for any axis of a figure", "d", "e"]
    for i, arm in enumerate(arms):
        for seed in range(3):
            study = make_plan(arm, arms, axis="model.activation", reference=arms[0])
            model = {"name": "plain", "activation": arm, "depth": 1 + 10 * i}
            write(named / f"{i}{seed}", study, seed, 0.9 + 0.01 * i, model=model, epochs=6 - seed)
    run = write(single, None, epochs=1, arrays=True)
    norms = {"gradient": 0.1, "update": 0.001, "weight": 1.0, "size": 1}
    layers = {"conv1": norms, "logits": norms | {"gradient": 1.0}}
    write_statistics(run, [{"epoch": epoch, "step": epoch, "layers": layers} for epoch in (0, 1)])
    write(nothing, make_plan("depth 1"), status="failed", error="boom", epochs=0)
    folders = {"numeric": depth_study, "named": named, "single": single, "nothing": nothing}
    return {kind: read_studies(folder)[0] for kind, folder in folders.items()}


@pytest.mark.parametrize("kind", ["numeric", "named", "single"])
@pytest.mark.parametrize("name", FIGURES)
def test_figure(studies, tmp_path, kind, name):
    figure = FIGURES[name](studies[kind])
    if figure is None:
        no_pairs = kind == "single" and name in ("differences", "summary")
        no_statistics = kind != "single" and name == "gradient_flow"
        assert (
            no_pairs
            or no_statistics
            or (kind == "named" and name in FROM_ARRAYS)
            or name in ("search", "power_law")
        )
        return
    svg, png = save(figure, tmp_path / name)
    assert svg.read_text().startswith("<?xml")
    pixels = np.asarray(Image.open(png).convert("L"))
    assert pixels.std() > 5
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert border.min() == 255, "something is cut off at the edge"
    for axes in figure.axes:
        if axes.axison and axes.get_label() != "<colorbar>":
            named = axes.get_ylabel() or name in PICTURES or "differences" in axes.get_title(loc="left")
            assert named or name == "differences" or not axes.yaxis.get_tick_params()["labelleft"]


@pytest.mark.parametrize("name", FIGURES)
def test_no_figure_where_nothing_completed(studies, name):
    assert FIGURES[name](studies["nothing"]) is None


def test_equal_figures_give_equal_files(studies, tmp_path):
    figures = [accuracy_by_arm(studies["numeric"]) for _ in range(2)]
    files = [save(figure, tmp_path / str(i)) for i, figure in enumerate(figures) if figure]
    assert files[0][0].read_bytes() == files[1][0].read_bytes()
    assert files[0][1].read_bytes() == files[1][1].read_bytes()


def test_the_settings_of_the_user_change_no_figure(studies, tmp_path):
    """LaTeX of a user's matplotlibrc would end the report where LaTeX is not installed."""
    files = []
    of_users: list[Any] = [{}, {"text.usetex": True, "font.size": 30}]
    for settings in of_users:
        with matplotlib.rc_context(settings):
            figure = accuracy_by_arm(studies["numeric"])
            assert figure is not None
            files.append(save(figure, tmp_path / str(len(files)))[0].read_bytes())
            assert matplotlib.rcParams["font.size"] == settings.get("font.size", 10)
    assert files[0] == files[1]


def test_every_seed_is_a_dot(studies):
    figure = accuracy_by_arm(studies["numeric"])
    assert figure is not None
    clouds = [np.shape(dots.get_offsets())[0] for dots in figure.axes[0].collections]
    assert clouds.count(8) == 3


def test_of_many_arms_the_best_and_the_reference_are_shown(studies, monkeypatch):
    monkeypatch.setattr(panels, "MOST_ARMS", 1)
    study = studies["numeric"]  # depth 3 has the highest mean, and depth 2 is the reference
    assert [(number, arm.name) for number, arm in panels.drawable(study)] == [(0, "depth 2"), (1, "depth 3")]
    assert [arm.name for arm in panels.judged_arms(study)] == ["depth 3"]
    assert len(study.contrasts) == 2  # so verdicts do not depend on what is drawn


def test_mean_curve_ends_where_fewer_than_half_are_left():
    histories = [
        [{"epoch": e, "loss": float(e + s)} for e in range(1, last + 1)] for s, last in enumerate((3, 2, 1))
    ]
    epochs, mean, deviation = mean_curve(histories, "loss")
    assert epochs.tolist() == [1, 2]
    assert mean.tolist() == [2.0, 2.5]
    assert deviation.tolist() == pytest.approx([1.0, np.sqrt(0.5)])
    assert mean_curve([[{"epoch": 1, "loss": None}]], "loss")[0].size == 0


def test_labels_start_no_formula():
    assert label("$a$") == r"\$a\$"
    assert len(label("x" * 100)) == 32
    first, second = (label(f"model.activation=relu, optimizer.learning_rate={rate}") for rate in (0.1, 0.2))
    assert first != second


@pytest.mark.parametrize("shape", [(7, 3, 3), (5, 3, 3, 3), (1, 8, 8), (30, 28, 28)])
def test_a_mosaic_shows_every_tile(shape):
    tiles = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    assert set(tiles.ravel()) <= set(mosaic(tiles, aspect=2).ravel())


def test_kernels_of_colour_images(tmp_path, write):
    run = write(tmp_path, None, arrays=True)
    kernels = np.random.default_rng(0).normal(size=(5, 5, 3, 70)).astype(np.float32)
    result = read_run(run).result
    assert result is not None
    write_arrays(run, {"first_kernels": kernels})
    write_result(run, result)
    figure = FIGURES["first_kernels"](read_studies(tmp_path)[0])
    assert figure is not None
    assert figure.axes[0].get_title(loc="left") == "all runs, seed 0: 64 of 70 kernels of 5x5"
    assert len(figure.axes) == 1


def test_feature_maps_of_a_deep_network_fit_a_page(tmp_path, write):
    run = write(tmp_path, None)
    result = read_run(run).result
    assert result is not None
    maps = {f"feature_map/block{i}": np.full((4, 4, 2), i, np.float32) for i in range(40)}
    inner = {"feature_map/block1/conv1": np.zeros((4, 4, 2), np.float32)}
    write_arrays(run, {"image": np.zeros((8, 8, 1), np.float32)} | maps | inner)
    write_result(run, result)
    figure = FIGURES["feature_maps"](read_studies(tmp_path)[0])
    assert figure is not None
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert len(titles) == 12
    assert (titles[1], titles[-1]) == ("block0: 4x4x2", "block39: 4x4x2")
    assert not any("/" in title for title in titles)


def test_mistakes_say_what_was_predicted_and_what_is_true(depth_study):
    (study,) = read_studies(depth_study)
    figure = FIGURES["mistakes"](study)
    assert figure is not None
    arrays = next(iter(study.arms[1].completed.values())).arrays()
    titles = [axes.get_title(loc="center") for axes in figure.axes if axes.get_title(loc="center")]
    assert len(titles) == len(arrays["mistakes"])
    for title, index in zip(titles, arrays["mistakes"], strict=True):
        predicted, truth = title.split()[0], title.split()[-1]
        assert int(predicted) == arrays["test_logits"][index].argmax() != int(truth)
        assert int(truth) == arrays["test_labels"][index]


def test_hand_made_kernels_respond_as_they_should():
    patterns = make_patterns()
    flat = np.full((8, 8), 0.5)
    for name, kernel in KERNELS.items():
        response = correlate(flat, kernel.astype(float), mode="nearest")
        assert response == pytest.approx(0.5 if name in ("blur", "box blur", "sharpen") else 0.0)
    slope = correlate(patterns["gradient"], KERNELS["Sobel x"].astype(float), mode="nearest")
    assert slope[:, 1:-1] == pytest.approx(8 / 31)
    assert correlate(patterns["gradient"], KERNELS["Sobel y"].astype(float), mode="nearest") == pytest.approx(
        0
    )


def test_the_blur_is_gaussian():
    spike = np.zeros((3, 3))
    spike[1, 1] = 16
    assert correlate(spike, KERNELS["blur"]).tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]


def test_every_arm_looks_its_own_way():
    looks = [look(index) for index in range(18)]
    assert len({tuple(each.values()) for each in looks}) == 18
    assert len({each["color"] for each in looks[:9]}) == len({each["marker"] for each in looks[:9]}) == 9


def test_legends_hide_no_bar(depth_study):
    figure = FIGURES["reliability"](read_studies(depth_study)[0])
    assert figure is not None
    figure.draw_without_rendering()
    for axes in figure.axes:
        legend = axes.get_legend()
        assert legend is not None
        box = legend.get_window_extent()
        assert not any(box.overlaps(bar.get_window_extent()) for bar in axes.patches)


def test_the_axis_of_an_accuracy_ends_at_its_bounds(tmp_path, write, make_plan):
    for seed, accuracy in enumerate((0.9, 0.99)):
        write(tmp_path / str(seed), make_plan("depth 2", ["depth 2"]), seed, accuracy)
    (study,) = read_studies(tmp_path)
    assert study.arms[0].summary.high > 1.1
    figure = accuracy_by_arm(study)
    assert figure is not None
    assert figure.axes[0].get_ylim()[1] <= 101


@pytest.mark.parametrize(("width", "columns"), [(6.5, 4), (8.4, 7)])
def test_a_shared_legend_has_rows_of_about_one_length(width, columns):
    with canvas(1, 1, (width, 3.0)) as (figure, axes):
        for name in ("relu", "leaky_relu", "elu", "tanh", "gelu", "silu", "sigmoid"):
            axes[0, 0].plot([0, 1], label=name)
        shared_legend(figure, axes[0, 0], width)
    figure.draw_without_rendering()
    starts = {round(text.get_window_extent().x0) for text in figure.legends[0].get_texts()}
    assert len(starts) == columns
