"""The composition shows a density carried along the flow of one sequence, value by value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from engine_tiny import STEPS
from field_tools import (
    check_bands,
    composed,
    exact,
    scene,
)
from matplotlib.colors import to_hex
from torch import Tensor
from visualize_tools import (
    TRANSFORMATIONS,
    SparseData,
    artists,
    as_drawn,
    axes_of,
    part,
    picture,
    texts,
    tiny_model,
)

from stf.plot.composition import draw_composition
from stf.plot.compute.field_context import (
    field_context,
)
from stf.plot.compute.observed import observe
from stf.plot.compute.plane import grid, mixture_density
from stf.plot.compute.roles import FieldRole
from stf.plot.compute.transported_density import transported_density
from stf.plot.drawing.style import field_style


def moved_by(model: Any, z: Tensor, activity: Tensor) -> Tensor:
    return model.flow(z, activity.expand(len(z), -1, -1))[:, -1] if activity.shape[1] else z


@torch.no_grad()
@pytest.mark.parametrize("case", ["single", "separate", "rk4"])
def test_the_density_is_carried_with_the_jacobian_of_the_flow(case: str) -> None:
    model, observed, _ = scene(case)
    found, figure = composed(case)
    double, start = exact(model), model.encode(observed.frames[:, 0]).double()
    (example,) = [n for n in range(9) if torch.equal(found.frames, observed.frames[n])]
    activity = model.infer(observed.frames[example : example + 1]).double()
    assert torch.equal(found.activity, activity[0]) and (activity != 0).sum() >= 2
    axes, change = found.plane.axes, torch.zeros(9, dtype=torch.float64)
    spread = start @ axes.T
    width = 9 ** (-1 / 6) * spread.std(0, correction=0).square().mean().sqrt()
    assert found.width == pytest.approx(float(width))
    printed = artists(figure, "change-")
    for t in range(STEPS + 1):
        moved = moved_by(double, start, activity[:, :t])
        assert torch.allclose(found.means[t], (moved - found.plane.origin) @ axes.T, atol=1e-10)
        for n in range(9):
            with torch.enable_grad():
                jacobian = torch.autograd.functional.jacobian(
                    lambda z, t=t: moved_by(double, z[None], activity[:, :t])[0], start[n]
                )
            expected = width**2 * axes @ jacobian @ jacobian.T @ axes.T
            assert torch.allclose(found.covariances[t, n], expected, rtol=1e-8, atol=1e-12)
            assert torch.allclose(found.log_det[t, n], torch.linalg.slogdet(jacobian).logabsdet, atol=1e-9)
        assert torch.allclose(found.log_det[t], -change, atol=1e-9)
        text = f"{change.mean():+.1f}".replace("-", "−") if t else "0"
        assert printed[f"change-{t}"].get_text() == text
        if t < STEPS:
            change = change + double.log_density_change(moved, activity[0, t].expand(9, -1), method="exact")
    assert change.abs().max() > 0.1


@torch.no_grad()
def test_the_carried_density_keeps_its_integral_and_is_drawn() -> None:
    found, figure = composed()
    seen = 0
    for t in range(STEPS + 1):
        kernels = torch.distributions.MultivariateNormal(found.means[t], found.covariances[t])

        def density(points: Tensor, kernels: Any = kernels) -> Tensor:
            return kernels.log_prob(points[..., None, :]).exp().mean(-1)

        points = torch.stack(torch.meshgrid(found.y, found.x, indexing="ij")[::-1], -1)
        assert torch.allclose(found.density[t], density(points), rtol=1e-9)
        reach = 7 * found.covariances[t].diagonal(dim1=-2, dim2=-1).sqrt()
        ends = torch.cat([found.means[t] - reach, found.means[t] + reach])
        x, y, wide = grid((*ends[:, 0].aminmax(), *ends[:, 1].aminmax()), 400)
        every = mixture_density(wide, found.means[t], found.covariances[t])
        assert torch.trapezoid(torch.trapezoid(every, x), y) == pytest.approx(1, abs=1e-5)
        (axes,) = axes_of(figure, f"density-{t}")
        bands = part(axes, "density")
        assert np.allclose(bands.levels[1:] / bands.levels[:-1], 2)
        seen += check_bands(bands, found.density[t], found.x, found.y)
        path = np.column_stack(part(axes, "path").get_data())
        assert np.allclose(path, found.plane.coordinates(found.path[: t + 1]))
        if t < STEPS:
            steps = part(axes, "steps")
            assert np.allclose(np.column_stack([steps.X, steps.Y]), found.means[t])
            assert np.allclose(np.column_stack([steps.U, steps.V]), found.means[t + 1] - found.means[t])
    assert seen > 100


@torch.no_grad()
@pytest.mark.parametrize("case", ["single", "separate"])
def test_bars_and_arrows_of_a_composition_are_the_speeds_and_moves(case: str) -> None:
    model, observed, _ = scene(case)
    found, figure = composed(case)
    speeds = model.infer(found.frames[None])[0]
    (axes,) = axes_of(figure, "speeds")
    bars = {bar.get_gid(): bar for bar in axes.patches if bar.get_gid()}
    direction = {2: 1.0, 0: -1.0, 1: 1.0}
    expected = {f"speed-{t + 1}/{c}": direction[c % 3] * float(speeds[t, c]) for t, c in speeds.nonzero().tolist()}
    assert {gid: bar.get_height() for gid, bar in bars.items()} == pytest.approx(expected)
    parts = torch.cat(exact(model).fields(found.path[:-1]), 1) if case == "separate" else None
    each = parts if case == "separate" else torch.stack(exact(model).fields(found.path[:-1])).sum(0)
    for t in range(STEPS):
        place = bars_of(bars, t + 1)
        assert all(t < bar.get_x() + bar.get_width() / 2 < t + 1 for bar in place.values())
        (panel,) = axes_of(figure, f"density-{t}")
        end = found.plane.coordinates(found.path[t]).numpy()
        for arrow in [patch for patch in panel.patches if patch.get_gid()]:
            control = int(arrow.get_gid().removeprefix("move-"))
            move = found.plane.components(speeds[t, control].double() * each[t, control]).numpy()
            assert control in place
            assert np.allclose(arrow._posA_posB, [end, end + move], atol=1e-6)
            assert to_hex(arrow.get_edgecolor()).upper() == field_style(control % 3).colour
            assert to_hex(place[control].get_facecolor()).upper() == field_style(control % 3).colour
            end = end + move
        assert np.allclose(end, found.plane.coordinates(found.path[t + 1]), atol=1e-6)
    for t in range(STEPS + 1):
        assert np.allclose(picture(figure, f"decoded/{t}"), as_drawn(exact(model).decode(found.path[t])), atol=1e-6)
        assert np.array_equal(picture(figure, f"real/{t}"), as_drawn(found.frames[t]))


def bars_of(bars: dict[str, Any], transition: int) -> dict[int, Any]:
    prefix = f"speed-{transition}/"
    return {int(gid.removeprefix(prefix)): bar for gid, bar in bars.items() if gid.startswith(prefix)}


def test_a_supervised_composition_follows_the_given_activity() -> None:
    model = tiny_model("supervised", latent_dim=4)
    batch = SparseData().single("validation", torch.arange(9), torch.arange(9) % 3)
    observed = observe(model, [batch])
    roles = [FieldRole(j, j, name) for j, name in enumerate(TRANSFORMATIONS)]
    context = field_context(model, SparseData(), observed, "validation", "trajectories", 0)
    found = transported_density(model, context, observed, roles)
    assert torch.equal(found.activity, batch.activity[0].double())
    assert "moved by the speeds given" in texts(draw_composition(found))
