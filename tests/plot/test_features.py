"""Figures of vectors: the lines are the numbers, angles do not jump, and bars stand where images would."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from vector_tools import vector_data
from visualize_tools import texts

from ffrl.data.features import Feature, Features
from ffrl.models.frame_kind import PIXELS, FeatureValues
from stf.plot.compute.observed import most_eventful
from stf.plot.compute.pictures import ABOVE, BELOW, as_pictures, pictures
from stf.plot.compute.roles import FieldRole, activity_rows
from stf.plot.features import MOST, draw_feature_sequences, draw_features_alone, plot_feature
from stf.plot.samples import sample

NAN = math.nan


def features(count: int, period: float | None = None) -> Features:
    return Features(tuple(Feature(f"feature {place}", period=period) for place in range(count)))


def sequences(count: int, shown: int = 2):
    values = np.random.default_rng(0).normal(size=(shown, 5, count))
    speeds = np.ones((shown, 4, 1))
    rows = activity_rows([FieldRole(0, 0, "turn")], ["turn"])
    return draw_feature_sequences(values, values + 1, speeds, speeds, rows, features(count)), values


def labelled(figure, word: str) -> dict[str, object]:
    return {axes.get_label(): axes for axes in figure.axes if axes.get_label().startswith(word)}


def test_lines_are_the_values_with_gaps_where_they_are_missing() -> None:
    ax = plot_feature([1.0, NAN, 3.0], torch.tensor([1.0, 2.0, 2.5]), name="x")
    true, predicted = ax.lines
    assert np.array_equal(true.get_ydata(), [1, NAN, 3], equal_nan=True) and predicted.get_ydata().tolist() == [
        1,
        2,
        2.5,
    ]
    (alone,) = plot_feature([1.0, 2.0]).lines
    assert alone.get_gid() == "true" and plot_feature([NAN, NAN], [0.0, 1.0]).lines


def test_an_angle_goes_on_where_it_begins_anew() -> None:
    truth, predicted = [350.0, NAN, 10.0, 30.0], [5.0, 355.0, 15.0, 25.0]
    ax = plot_feature(truth, predicted, period=360.0)
    lines = {line.get_gid(): line.get_ydata() for line in ax.lines}
    assert np.array_equal(lines["true"], [350, NAN, 370, 390], equal_nan=True)
    assert lines["predicted"].tolist() == [365, 355, 375, 385], "beside the true one, not a turn away"


def test_the_title_speaks_of_what_is_drawn() -> None:
    values, speeds, none = np.zeros((1, 5, 2)), np.ones((1, 4, 1)), np.zeros((1, 4, 0))

    def told(rows, truth: np.ndarray) -> str:
        return texts(draw_feature_sequences(values, values, speeds, truth, rows, features(2)))

    assert "line true" in told(activity_rows([FieldRole(0, 0, "turn")], ["turn"]), speeds)
    unknown = told(activity_rows([FieldRole(0)], []), none)
    assert "colour inferred. Below" in unknown and "line true" not in unknown


@pytest.mark.parametrize("count", [1, 3, 500])
def test_a_panel_for_every_feature_up_to_a_limit(count: int) -> None:
    figure, values = sequences(count)
    drawn = min(count, MOST)
    panels = labelled(figure, "feature-")
    assert set(panels) == {f"feature-{number}/{place}" for number in range(2) for place in range(drawn)}
    assert panels[f"feature-1/{drawn - 1}"].lines[0].get_ydata().tolist() == values[1, :, drawn - 1].tolist()
    said = f"the first {MOST} of 500 features" in " ".join(text.get_text() for text in figure.findobj(match=_text))
    assert said is (count > MOST) and figure.get_figheight() < 20


def _text(artist) -> bool:
    return hasattr(artist, "get_text")


@pytest.mark.parametrize("count", [1, 500])
def test_a_column_for_every_field_alone(count: int) -> None:
    moved = np.random.default_rng(0).normal(size=(2, 3, 6, count))
    figure = draw_features_alone(moved, range(-2, 4), [FieldRole(1), FieldRole(0)], features(count), 2)
    panels = labelled(figure, "alone-")
    assert len(panels) == 2 * min(count, MOST)
    lines = [line for line in panels["alone-1/0"].lines if len(line.get_ydata()) == 6]
    assert np.array_equal([line.get_ydata() for line in lines], moved[1, :, :, 0])


def test_bars_stand_where_images_would() -> None:
    kind = FeatureValues(Features((Feature("up", 10.0, 2.0), Feature("down"), Feature("missing"), Feature("far"))))
    image = pictures(torch.tensor([[15.0, -1.25, NAN, 1e9]]), kind)
    assert image.shape == (1, 3, 25, 12) and bool(((image >= 0) & (image <= 1)).all())
    columns = image[0, 0, :, ::3]
    assert (columns == ABOVE).sum(0).tolist() == [12, 0, 0, 12] and (columns == BELOW).sum(0).tolist() == [0, 6, 0, 0]
    assert bool((columns[:, 2] == 1).all()), "nothing where a value is missing"
    many = pictures(torch.zeros(2, 5, 500), FeatureValues(features(500)))
    assert many.shape == (2, 5, 3, 109, 180), "the first 60"
    images = torch.rand(2, 3, 4, 4)
    assert pictures(images, PIXELS) is images


def test_sequences_are_shown_as_bars() -> None:
    data = vector_data()
    mixed, alone = sample(data, "validation")
    assert mixed.frames.shape[2:] == (3, 25, 9) and alone is None and mixed.frames.isfinite().all()
    batch = data.mixed("validation", torch.arange(2))
    assert torch.equal(as_pictures(data, batch).activity, batch.activity)


def test_the_most_eventful_sequence_is_found_in_spite_of_missing_values() -> None:
    still, moving = torch.zeros(5, 2), torch.arange(10.0).reshape(5, 2)
    moving[2] = NAN
    assert most_eventful(torch.stack([still, moving, still]), np.zeros((3, 4, 0))) == 1
