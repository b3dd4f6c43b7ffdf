"""Plots: what their lines show, that labels do not cover each other, and the files."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from benchmark_tools import line_of, table1

from stf.benchmark.suites import SUITES
from stf.benchmark.tables.plots import draw_panels, spread_out, write_plots
from stf.benchmark.tables.series import error_against_images, error_against_length, error_against_time


@pytest.fixture
def lines():
    """All models of Table 1, close together, with two seeds; one is calibrated at the end."""
    found = []
    for place, model in enumerate(table1().models):
        for seed in (0, 1):
            line = line_of(table1(), model.label, seed, (300 + place + 100 * seed,) * 3)
            line["curve"] = line["curve"][-1:] if model.label == "vae" else line["curve"]
            found.append(line)
    return found


def test_lines_are_means_over_seeds_at_the_mean_time_and_bands_their_range(lines):
    (panel,) = error_against_time(table1(), lines)
    assert panel.title == "MNIST" and [one.label for one in panel.series] == [model.title for model in table1().models]
    weak = next(one for one in panel.series if one.label == "FFRL weak")
    place = weak.place
    assert weak.x == pytest.approx([50 * step * 1.05 for step in range(1, 9)])
    assert weak.mean == pytest.approx([(350 + place) * (1 + 4 / step) for step in range(1, 9)])
    assert weak.low[0] == pytest.approx(5 * (300 + place)) and weak.high[0] == pytest.approx(5 * (400 + place))
    assert len(panel.series[0].x) == 1, "calibrated after the last step"


def test_a_checkpoint_that_not_all_seeds_have_is_not_drawn(lines):
    weak = [line for line in lines if line["model"] == "weak"]
    weak[0]["curve"].insert(4, {"step": 4.5, "seconds": 230.0, "error": {"mean": 1.0}})
    del weak[1]["curve"][0]
    weak[1]["curve"][-1]["error"]["mean"] = None
    (panel,) = error_against_time(table1(), lines)
    drawn = next(one for one in panel.series if one.label == "FFRL weak")
    assert drawn.x == pytest.approx([50 * step * 1.05 for step in range(2, 8)])


def test_extrapolation_has_a_panel_per_transformation_with_the_trained_length(lines):
    panels = error_against_length(table1(), lines)
    assert [panel.title for panel in panels] == ["MNIST: scaling", "MNIST: rotation", "MNIST: hue"]
    assert {panel.mark for panel in panels} == {8.0}
    first = panels[0].series[0]
    assert first.x == list(range(1, 17)) and first.mean[1] == pytest.approx(350 / 7 * 1.1)


def test_variants_share_panels_with_what_they_vary():
    suite = SUITES["ablations"]
    lines = [line_of(suite, label) for label in ("stf", "midpoint", "k1", "k2")]
    lines[2]["frames"]["hue"] = lines[2]["frames"]["hue"][:10]
    panels = error_against_length(suite, lines)
    assert [panel.title for panel in panels] == ["objective and integrator", "number of fields"]
    assert [one.label for one in panels[1].series] == ["STF (K = 6, 1 active)", "K = 1", "K = 2"]
    assert len(panels[1].series[1].x) == 9, "as far as all transformations go"
    assert [panel.title for panel in error_against_time(suite, lines)] == [panel.title for panel in panels]


def test_sizes_of_the_training_set_share_a_line(tmp_path):
    suite = SUITES["sample-efficiency"]
    sizes = (8000, 1000, 48000)
    lines = [
        line_of(suite, label, seed, (n / 100 + 10 * seed,) * 3, data=f"mnist-{n}")
        for label, some in (("vae", sizes), ("msp", sizes[:2]))
        for n in some
        for seed in (0, 1)
    ]
    (panel,) = error_against_images(suite, lines)
    vae, msp = panel.series
    assert (vae.x, msp.x) == ([1000, 8000, 48000], [1000, 8000])
    assert (vae.mean, vae.low, vae.high) == ([15, 85, 485], [10, 80, 480], [20, 90, 490])
    assert [one.title for one in error_against_length(suite, lines)] == [
        "1,000 images",
        "8,000 images",
        "48,000 images",
    ]
    assert [path.name for path in write_plots(suite, lines, tmp_path)][-1] == "error-images.png"
    assert error_against_images(table1(), [line_of(table1(), "vae")]) == []


def test_labels_name_every_line_without_covering_each_other(lines):
    panels = error_against_time(table1(), lines)
    figure = draw_panels(panels, "title", "subtitle", "time [s]", "error", log_x=True)
    axes = next(one for one in figure.axes if one.get_label() == "MNIST")
    figure.draw_without_rendering()
    labels = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert set(labels) == {model.title for model in table1().models}
    assert not any(a.overlaps(b) for a, b in combinations(labels.values(), 2))
    page = figure.bbox
    assert all(
        page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1 for box in labels.values()
    )
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("time [s]", "error") and axes.get_title(loc="left") == "MNIST"
    lowest = min(labels, key=lambda label: labels[label].y0)
    assert lowest == "VAE", "ordered like the ends of the lines"


def test_panels_and_their_labels_stay_apart():
    suite = SUITES["ablations"]
    panels = error_against_time(suite, [line_of(suite, model.label) for model in suite.models])
    figure = draw_panels(panels, "title", "subtitle", "time [s]", "error", log_x=True)
    figure.draw_without_rendering()
    boxes = [axes.get_window_extent() for axes in figure.axes if axes.get_label() != "sheet"]
    texts = [
        (axes, text.get_window_extent()) for axes in figure.axes for text in axes.texts if axes.get_label() != "sheet"
    ]
    assert len(boxes) == 6 and not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert not any(box.overlaps(text) for box in boxes for _, text in texts)
    assert not any(a.overlaps(b) for (_, a), (_, b) in combinations(texts, 2))


@pytest.mark.parametrize("count", [1, 3, 12, 40])
def test_heights_are_kept_where_there_is_room(count):
    rng = np.random.default_rng(0)
    heights = sorted(rng.uniform(size=count), reverse=True)
    least = 0.04
    found = np.array(spread_out(heights, least))
    assert (-np.diff(found) >= least - 1e-9).all()
    if (count - 1) * least <= 1:
        assert found.min() >= -1e-9 and found.max() <= 1 + 1e-9
    apart = spread_out([0.9, 0.5, 0.1], least)
    assert apart == [0.9, 0.5, 0.1]


def test_files_are_written_where_there_is_something_to_draw(lines, tmp_path):
    assert write_plots(table1(), [], tmp_path) == []
    lines = lines[:4]
    written = write_plots(table1(), lines, tmp_path)
    assert [path.name for path in written] == ["error-time.png", "extrapolation.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)
    for line in lines:
        line["curve"], line["frames"] = [], {}
    assert write_plots(table1(), lines, tmp_path) == []
