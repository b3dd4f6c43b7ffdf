"""The look that all figures share."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import matplotlib.image
import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ffrl.core.errors import UserError
from stf.plot.drawing.page import Page
from stf.plot.drawing.style import COLOURS, DPI, TRUTH, encode, field_style, house_style, ink_on, save, to_image


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(first: str, second: str) -> float:
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_no_two_of_forty_fields_look_the_same() -> None:
    looks = [field_style(k) for k in range(40)]
    assert len({(look.colour, look.hatch) for look in looks}) == 40
    assert len({(look.colour, str(look.line)) for look in looks}) == 40
    assert len({(look.colour, look.marker) for look in looks}) == 40
    assert len({look.colour for look in looks[: len(COLOURS)]}) == len(COLOURS)
    assert all(to_rgb(look.colour) != to_rgb(TRUTH) for look in looks)


def test_names_are_readable_on_the_colour_of_every_field() -> None:
    assert all(contrast(look.colour, look.ink) > 3.5 for look in map(field_style, range(len(COLOURS))))


@pytest.mark.parametrize("grey", [0.0, 0.2, 0.4, 0.7, 1.0])
def test_ink_contrasts_with_any_grey(grey: float) -> None:
    assert contrast(str(grey), ink_on((grey, grey, grey))) > 3.5


def test_a_frame_is_drawn_as_it_is() -> None:
    frame = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
    assert np.array_equal(to_image(frame), frame.transpose(1, 2, 0))
    assert np.array_equal(to_image(frame[:1]), frame[:1].transpose(1, 2, 0).repeat(3, -1))
    assert np.allclose(to_image(frame[:2]), frame[:2].mean(0)[..., None])


def test_a_page_measures_inches_from_its_top_left_corner() -> None:
    page = Page(4, 3)
    axes = page.axes(1, 0.5, 2, 1)
    box = axes.get_window_extent()
    corner = page.sheet.transData.transform((1, 0.5))
    assert np.allclose([box.x0, box.y1], corner) and np.allclose([box.width, box.height], [2 * DPI, DPI])


def test_saved_pictures_have_200_dots_per_inch_and_the_pixels_drawn(tmp_path: Path) -> None:
    page = Page(2, 1)
    page.picture(np.array([1.0, 0.0, 0.0]).reshape(3, 1, 1), x=1, y=0, size=1)
    pixels = matplotlib.image.imread(save(page.figure, tmp_path / "figure.png"))
    assert pixels.shape[:2] == (200, 400)
    assert np.allclose(pixels[100, 300, :3], [1, 0, 0]) and np.allclose(pixels[100, 100, :3], 1)


def test_a_figure_that_cannot_be_written_is_reported_and_leaves_the_old_one(tmp_path: Path) -> None:
    old = tmp_path / "figure.png"
    old.mkdir()
    with pytest.raises(UserError, match="cannot write .*figure.png"):
        save(Page(1, 1).figure, old)
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]


def test_drawing_and_saving_leave_global_settings_alone(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    page = Page(2, 1)
    page.title("title", "subtitle")
    page.chip(1, 0.5, "field 9", 9)
    save(page.figure, tmp_path / "figure.png")
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
def test_the_same_figure_gives_the_same_bytes_in_every_form(form: str) -> None:
    def drawn() -> bytes:
        page = Page(2, 1)
        page.title("title", "subtitle")
        page.chip(1, 0.5, "field 9", 9)
        page.axes(0.2, 0.2, 1, 0.5).fill_between([0, 1], [0, 1])
        return encode(page.figure, form)

    before = dict(matplotlib.rcParams)
    assert drawn() == drawn()
    assert dict(matplotlib.rcParams) == before


def test_a_figure_is_written_in_the_form_of_its_ending(tmp_path: Path) -> None:
    page = Page(2, 1)
    page.title("seen in vectors")
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    for form, start in starts.items():
        assert save(page.figure, tmp_path / f"figure.{form}").read_bytes().startswith(start)


@pytest.mark.parametrize(("shape", "extent"), [((1, 8, 8), (1, 3, 4, 2)), ((3, 12, 20), (1, 3, 3.6, 2.4))])
def test_a_picture_keeps_its_proportions(shape, extent):
    page = Page(6, 6)
    image = page.picture(np.zeros(shape), 1.0, 2.0, 2.0, field=0)
    assert image.get_extent() == pytest.approx(extent)
    (border,) = page.sheet.patches
    assert (border.get_x(), border.get_width()) == pytest.approx((extent[0], extent[1] - extent[0]))
    assert (border.get_y(), border.get_height()) == pytest.approx((extent[3], extent[2] - extent[3]))


def test_names_with_dollars_are_formulas_only_if_they_can_be() -> None:
    figure = Figure(layout="constrained")
    ax = figure.subplots()
    ax.set_xticks([0.0, 1.0], labels=["$x^$", "$y_1$"])
    ax.set(ylabel="$\\frac$", title="5 $ each", yscale="log")
    ax.plot([0.0, 1.0], [1.0, 1e6])
    assert encode(figure)[1:4] == b"PNG"
    drawn = [text.get_parse_math() for text in (*ax.get_xticklabels(), ax.yaxis.label, ax.title)]
    assert drawn == [False, True, False, False]
    assert any("10^" in text.get_text() and text.get_parse_math() for text in ax.get_yticklabels())


@pytest.mark.parametrize("setting", [{"image.origin": "lower"}, {"text.usetex": True}, {"axes.titlesize": 40}])
def test_figures_are_the_same_whatever_a_user_has_set(setting):
    def drawn() -> bytes:
        with house_style():
            page = Page(2, 1)
            page.picture(np.linspace(0, 1, 3 * 8 * 8).reshape(3, 8, 8), x=0.5, y=0.2, size=0.6)
            page.title("a title")
        return encode(page.figure)

    usual = drawn()
    with rc_context(setting):
        assert drawn() == usual
