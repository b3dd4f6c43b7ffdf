"""Figures of fields show what the model computes: arrows, potentials, densities and derivatives, value by value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from engine_tiny import STEPS, TinyData
from field_tools import (
    DRAWN,
    PARTS,
    ROLES,
    check_bands,
    exact,
    field_figures,
    in_all_cases,
    limits,
    names,
    planes,
    potential,
    scene,
    velocity,
    vertices,
)
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from torch import Tensor
from visualize_tools import (
    SparseData,
    artists,
    as_drawn,
    axes_of,
    part,
    picture,
    silenced,
    sticks_out,
    texts,
    tiny_model,
)

from ffrl.core.errors import UserError
from ffrl.evaluation.protocol.sequences import choose
from stf.plot.compute.field_context import (
    field_context,
    plane_derivatives,
    shares,
)
from stf.plot.compute.observed import observe
from stf.plot.compute.plane import grid, mixture_density, parse_plane, pca_plane, trajectory_plane, typical
from stf.plot.compute.roles import FieldRole
from stf.plot.drawing.style import field_style
from stf.plot.fields.differential import draw_differential
from stf.plot.fields.helmholtz import draw_helmholtz
from stf.plot.fields.landscape import draw_landscape
from stf.plot.fields.planes import percent


@torch.no_grad()
@in_all_cases
def test_arrows_are_the_fields_at_those_points(case: str, plane: str) -> None:
    model = scene(case, plane)[0]
    fields, figure = planes(case, plane)
    assert [one.role for one in fields] == DRAWN
    for one in fields:
        scales = set()
        for name in names(case):
            (axes,) = axes_of(figure, f"field-{one.role.field}/{name}")
            arrows = part(axes, "arrows")
            points = torch.from_numpy(np.column_stack([arrows.X, arrows.Y]))
            z = one.plane.origin + points @ one.plane.axes
            vectors = velocity(model, one.role, z, name)
            assert np.allclose(np.column_stack([arrows.U, arrows.V]), vectors @ one.plane.axes.T, rtol=1e-12, atol=0)
            assert vectors.dtype == torch.float64 and vectors.std(0).max() > 1e-2
            assert (arrows.angles, arrows.scale_units) == ("xy", "xy")
            scales.add(arrows.scale)
            whole = velocity(model, one.role, one.plane.lift(grid(limits(axes), 41)[2]), name)
            outside = 1 - (whole @ one.plane.axes.T).square().sum() / whole.square().sum()
            assert f"out of plane: {percent(float(outside))} of |v|²" in texts(figure)
        assert len(scales) == 1
        assert f"arrows × {1 / scales.pop():.2g}" in texts(figure)


@torch.no_grad()
@in_all_cases
def test_contours_run_where_the_potential_has_their_value(case: str, plane: str) -> None:
    model = scene(case, plane)[0]
    fields, figure = planes(case, plane)
    for one in fields:
        z = one.plane.lift(grid(limits(axes_of(figure, f"field-{one.role.field}/whole")[0]), 41)[2])
        assert torch.allclose(one.potential, potential(model, one.role, z), rtol=1e-12)
        span = float(one.potential.max() - one.potential.min())
        for name in names(case):
            drawn = vertices(part(axes_of(figure, f"field-{one.role.field}/{name}")[0], "potential"))
            assert len(drawn) >= 5
            for level, points in drawn:
                values = potential(model, one.role, one.plane.lift(torch.from_numpy(points)))
                assert np.allclose(values, level, atol=5e-3 * span)


def test_the_curl_free_part_climbs_the_drawn_potential_at_right_angles() -> None:
    model = scene()[0]
    for one in planes()[0]:
        points = torch.stack(torch.meshgrid(one.y, one.x, indexing="ij")[::-1], -1).requires_grad_()
        (slope,) = torch.autograd.grad(potential(model, one.role, one.plane.lift(points)).sum(), points)
        assert torch.allclose(one.plane.components(one.curl_free), slope, atol=1e-12)


@torch.no_grad()
@in_all_cases
def test_the_path_is_a_real_image_moved_by_the_field_alone(case: str, plane: str) -> None:
    model, data = scene(case, plane)[0], SparseData()
    fields, figure = planes(case, plane)
    indices = choose(data, "validation", 9, 0)
    starts = model.encode(data.single("validation", indices, torch.zeros_like(indices)).frames[:, 0]).double()
    for one in fields:
        speeds = torch.zeros(9, STEPS, model.num_controls, dtype=torch.float64)
        speeds[..., one.role.field :: model.num_fields] = one.role.direction
        paths = exact(model).flow(starts, speeds)
        chosen = paths[typical(paths)]
        (axes,) = axes_of(figure, f"field-{one.role.field}/whole")
        drawn = np.column_stack(part(axes, "path").get_data())
        assert np.allclose(drawn, (chosen - one.plane.origin) @ one.plane.axes.T, atol=1e-12)
        assert drawn[-1, 0] > drawn[0, 0] or plane != "trajectories"
        for name in set(names(case)) - {"whole"}:
            assert not [line for line in axes_of(figure, f"field-{one.role.field}/{name}")[0].lines if line.get_gid()]
        for place, step in enumerate((0, STEPS // 2, STEPS)):
            decoded = exact(model).decode(chosen[step])
            shown = picture(figure, f"field-{one.role.field}/frame-{step}")
            assert one.steps[place] == step and np.allclose(shown, as_drawn(decoded), atol=1e-6)
        moves = (chosen.diff(dim=0), paths.diff(dim=1))
        inside = [percent(float((move @ one.plane.axes.T).square().sum() / move.square().sum())) for move in moves]
        assert f"in plane: {inside[0]} of\nthis path's motion,\n{inside[1]} of that of\n9 images" in texts(figure)


@torch.no_grad()
def test_the_density_of_encoded_frames_is_a_density() -> None:
    model, observed, _ = scene()
    encoded = model.encode(observed.frames).flatten(0, 1).double()
    fields, figure = planes()
    for one in fields:
        seen = (encoded - one.plane.origin) @ one.plane.axes.T
        width = len(seen) ** (-1 / 6) * seen.std(0, correction=0).square().mean().sqrt()
        kernels = torch.distributions.MultivariateNormal(seen, width**2 * torch.eye(2, dtype=torch.float64))

        def density(points: Tensor, kernels: Any = kernels) -> Tensor:
            return kernels.log_prob(points[..., None, :]).exp().mean(-1)

        points = torch.stack(torch.meshgrid(one.y, one.x, indexing="ij")[::-1], -1)
        assert torch.allclose(one.density, density(points), rtol=1e-9)
        wide = torch.cat([seen - 7 * width, seen + 7 * width])
        x, y, points = grid((*wide[:, 0].aminmax(), *wide[:, 1].aminmax()), 300)
        found = mixture_density(points, seen, width**2 * torch.eye(2, dtype=torch.float64))
        assert torch.trapezoid(torch.trapezoid(found, x), y) == pytest.approx(1, abs=1e-6)
        bands = part(axes_of(figure, f"field-{one.role.field}/curl-free")[0], "density")
        assert check_bands(bands, one.density, one.x, one.y) > 20


@torch.no_grad()
def test_planes_are_spanned_by_what_they_say() -> None:
    encoded = torch.randn(50, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    encoded = encoded * torch.tensor([1.0, 3.0, 1.0, 2.0, 0.5])
    plane = pca_plane(encoded)
    centred = encoded - encoded.mean(0)
    strongest = torch.linalg.svd(centred).Vh[:2]
    assert torch.allclose((plane.axes @ strongest.T).abs(), torch.eye(2, dtype=torch.float64), atol=1e-9)
    variances = [(centred @ axis).square().sum() / centred.square().sum() for axis in strongest]
    assert plane.names == tuple(f"PC {n + 1} ({100 * v:.0f} % of variance)" for n, v in enumerate(variances))
    line = torch.linspace(0, 6, 9, dtype=torch.float64)
    curve = torch.stack([line, line.sin(), *torch.zeros(3, 9)], 1) @ torch.linalg.qr(encoded[:5]).Q
    context = trajectory_plane(-curve, encoded)
    assert context.outside(curve - curve.mean(0)) < 1e-12
    assert torch.allclose(context.lift(context.coordinates(-curve)), -curve)
    assert (context.coordinates(-curve[-1]) - context.coordinates(-curve[0]))[0] > 0
    straight = trajectory_plane(line[:, None] * curve[3], encoded)
    for one in (plane, context, straight):
        assert torch.allclose(one.axes @ one.axes.T, torch.eye(2, dtype=torch.float64), atol=1e-9)
    one = planes("separate", "0,3")[0][0]
    assert one.plane.axes.tolist() == torch.eye(4)[[0, 3]].tolist()
    assert {axes.get_xlabel() for axes in axes_of(planes("separate", "0,3")[1], "field-2/whole")} == {"latent axis 0"}


def test_the_typical_path_lies_in_the_plane_that_holds_most_motion() -> None:
    paths = torch.randn(6, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    motion = paths - paths.mean(1, keepdim=True)
    held = [(motion @ torch.linalg.svd(one).Vh[:2].T).square().sum() for one in motion]
    assert typical(paths) == int(np.argmax(held)) != 0


@pytest.mark.parametrize("text", ["field", "1", "0,0", "0,4", "-1,2", "1.5,2", "1,2,3", "", ","])
def test_other_planes_are_user_errors(text: str) -> None:
    with pytest.raises(UserError, match=r"^--plane: found .*expected"):
        parse_plane(text, 4)


def test_a_plane_needs_two_dimensions() -> None:
    with pytest.raises(UserError, match=r"^model\.latent-dim: found 1"):
        parse_plane("pca", 1)


def flat_jacobian(model: Any, field: int, z: Tensor, name: str) -> Tensor:
    """Jacobian by automatic differentiation of one part of one field, in the direction of its transformation."""
    role = next(role for role in ROLES if role.field == field)
    with torch.enable_grad():
        return torch.autograd.functional.jacobian(lambda z: velocity(model, role, z, name), z)


@torch.no_grad()
def test_shares_come_from_the_frames_at_which_a_field_acts() -> None:
    model, observed, context = scene()
    found = shares(context, observed, ROLES)
    figure = draw_helmholtz(found, ROLES)
    encoded, speeds = model.encode(observed.frames).double(), model.infer(observed.frames)
    (norms,), (bars,), (jacobians,) = (axes_of(figure, name) for name in ("norms", "shares", "jacobian"))
    for one in DRAWN:
        acting = speeds[..., one.field] != 0
        assert 3 < acting.sum() < acting.numel()
        z = encoded[:, :-1][acting]
        curl_free, divergence_free = (velocity(model, one, z, name).norm(dim=-1) for name in PARTS[:2])
        points = np.column_stack(part(norms, f"field-{one.field}").get_data())
        assert np.allclose(points, torch.stack([divergence_free, curl_free], 1), rtol=1e-10)
        share = curl_free.sum() / (curl_free.sum() + divergence_free.sum())
        assert part(bars, f"{one.field}/curl-free").get_width() == pytest.approx(float(share))
        assert part(bars, f"{one.field}/divergence-free").get_width() == pytest.approx(1 - float(share))
        assert 0.02 < share < 0.98
        jacobian = torch.stack([flat_jacobian(model, one.field, point, "whole") for point in z])
        turning = ((jacobian - jacobian.mT) / 2).square().sum()
        volume = jacobian.diagonal(dim1=-2, dim2=-1).sum(-1).square().sum() / z.shape[-1]
        total = jacobian.square().sum()
        assert 0.02 < turning / total < 0.98
        for kind, value in (("expansion", volume), ("rotation", turning), ("shear", total - volume - turning)):
            width = part(jacobians, f"{one.field}/{kind}").get_width()
            assert width == pytest.approx(float(value / total), abs=1e-9)
    assert not [gid for gid in artists(figure) if gid in ("field-1", "1/curl-free")]


@torch.no_grad()
def test_divergence_and_curl_are_exact_and_zero_where_they_should_be() -> None:
    model, _, context = scene()
    fields = planes()[0]
    found = plane_derivatives(context, fields)
    figure = draw_differential(found, ROLES)
    for one, field in zip(found, fields, strict=True):
        assert (float(one.x[0]), float(one.y[-1])) == (float(field.x[0]), float(field.y[-1]))
        for name in PARTS[:2]:
            part_ = getattr(one, name.replace("-", "_"))
            for row, column in ((0, 0), (7, 21), (32, 16)):
                z = one.plane.lift(torch.stack([one.x[column], one.y[row]]))
                jacobian = flat_jacobian(model, one.role.field, z, name)
                assert part_.divergence[row, column] == pytest.approx(float(jacobian.trace()), abs=1e-12)
                turning = (jacobian - jacobian.T) / 2
                assert part_.curl[row, column] == pytest.approx(float(turning.norm()), abs=1e-12)
                assert part_.size[row, column] == pytest.approx(float(jacobian.norm()))
            for kind in ("divergence", "curl"):
                (axes,) = axes_of(figure, f"field-{one.role.field}/{kind}/{name}")
                values = getattr(part_, kind)
                assert values.dtype == torch.float64
                assert np.array_equal(part(axes, "map").get_array(), values)
                largest = float((values.abs() / part_.size).max())
                zero = (kind, name) in {("divergence", "divergence-free"), ("curl", "curl-free")}
                assert largest < 1e-14 if zero else largest > 1e-2
                text = artists(figure, f"field-{one.role.field}/{kind}/{name}/largest").popitem()[1].get_text()
                shown = float(text.split()[-2].replace("−", "-"))
                assert shown == pytest.approx(largest, rel=0.06) and text.startswith("zero") == zero


@torch.no_grad()
@pytest.mark.parametrize("case", ["single", "timed"])
def test_the_surface_is_the_potential_and_its_arrows_are_tangent(case: str) -> None:
    model = scene(case)[0]
    fields = planes(case)[0]
    figure = draw_landscape(fields, ROLES)
    for one in fields:
        (axes,) = axes_of(figure, f"field-{one.role.field}")
        corners = np.unique(np.concatenate(part(axes, "surface")._faces), axis=0)
        points = torch.from_numpy(corners[:, :2].copy())
        assert len(corners) == one.potential.numel()
        assert np.allclose(corners[:, 2], potential(model, one.role, one.plane.lift(points)), atol=1e-9)
        path = np.column_stack(part(axes, "path").get_data_3d())
        lift = 0.015 * float(one.potential.max() - one.potential.min())
        assert np.allclose(path[:, :2], one.plane.coordinates(one.path))
        assert np.allclose(path[:, 2] - lift, potential(model, one.role, one.path))
        segments = np.array([segment for segment in part(axes, "arrows")._segments3d])
        shafts = segments[: len(segments) // 3]
        starts, steps = shafts[:, 1], shafts[:, 0] - shafts[:, 1]
        spots = torch.from_numpy(starts[:, :2].copy())
        assert np.allclose(starts[:, 2] - lift, potential(model, one.role, one.plane.lift(spots)))
        moves = velocity(model, one.role, one.plane.lift(spots), "whole") @ one.plane.axes.T
        scale = np.linalg.norm(steps[:, :2]) / float(moves.norm())
        assert np.allclose(steps[:, :2], scale * moves, atol=1e-9)
        with torch.enable_grad():
            spots.requires_grad_()
            (slope,) = torch.autograd.grad(potential(model, one.role, one.plane.lift(spots)).sum(), spots)
        assert np.allclose(steps[:, 2], scale * (moves * slope).sum(-1), atol=1e-9)
        assert np.abs(steps[:, 2]).max() > 1e-3


def figures_of(roles: list[FieldRole], model: Any) -> dict[str, Figure]:
    batch = SparseData().mixed("validation", torch.arange(6), torch.Generator().manual_seed(0))
    with torch.no_grad():
        return field_figures(model, SparseData(), observe(model, [batch]), roles)


@pytest.mark.parametrize(("mode", "num_fields"), [("unsupervised", 2), ("weak", 4)])
def test_every_figure_of_a_mode_stays_on_its_page(mode: str, num_fields: int) -> None:
    roles = [FieldRole(k, k % 3, f"lighting_direction_{k}", (-1.0) ** k) for k in range(num_fields)]
    drawn = figures_of(roles, tiny_model(mode, num_fields=num_fields))
    assert list(drawn) == ["field-planes", "composition", "landscape", "helmholtz", "differential"]
    for name, figure in drawn.items():
        assert not sticks_out(figure), name


def test_models_of_potentials_have_no_parts_to_tell_apart() -> None:
    roles = [FieldRole(0, 0, "scaling"), FieldRole(1, silent=True), FieldRole(2, silent=True)]
    potentials = tiny_model(rotational_width=0)
    for model in (potentials, tiny_model("supervised", time_dependent=True)):
        drawn = figures_of(roles, model)
        assert list(drawn) == ["field-planes", "composition", "landscape", "differential"]
        said = f"t = {(STEPS + 1) // 2} of {STEPS}"
        assert (said in texts(drawn["field-planes"])) == (model is not potentials)
        assert not axes_of(drawn["field-planes"], "field-0/curl-free")
        assert len(axes_of(drawn["field-planes"], "field-0/whole")) == 1


def test_silent_fields_are_listed_and_not_drawn() -> None:
    for figure in (planes()[1], draw_landscape(planes()[0], ROLES)):
        assert "Silent, not drawn: field 1." in texts(figure)
        assert not [axes for axes in figure.axes if axes.get_label().startswith("field-1")]
    roles = [FieldRole(k, silent=True) for k in range(3)]
    drawn = figures_of(roles, silenced(tiny_model()))
    assert len(drawn) == 5
    for figure in drawn.values():
        assert "All fields are silent (fields 0, 1 and 2): there is nothing to draw." in texts(figure)
        assert len(figure.axes) == 1


def test_arrows_have_the_colour_of_their_field() -> None:
    figure = planes()[1]
    for role in DRAWN:
        for name in PARTS:
            arrows = part(axes_of(figure, f"field-{role.field}/{name}")[0], "arrows")
            assert {to_hex(colour).upper() for colour in arrows.get_facecolor()} == {field_style(role.field).colour}


def test_the_same_seed_gives_the_same_figure_and_the_model_stays_as_it_is() -> None:
    model, observed, context = scene()
    again = field_context(model, SparseData(), observed, "validation", "trajectories", 0)
    assert torch.equal(context.starts, again.starts)
    assert not torch.equal(context.starts, field_context(model, SparseData(), observed, "validation", "pca", 1).starts)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


class Short(TinyData):
    """Sequences of one transition."""

    num_steps = 1


@torch.no_grad()
def test_sequences_of_one_step_and_two_latent_dimensions_can_be_drawn() -> None:
    model = tiny_model(latent_dim=2, num_fields=1)
    model.num_steps = 1
    batch = SparseData().mixed("validation", torch.arange(6), torch.Generator().manual_seed(0))
    observed = observe(model, [batch._replace(frames=batch.frames[:, :2], activity=batch.activity[:, :1])])
    drawn = field_figures(model, Short(), observed, [FieldRole(0, 0, "scaling")])
    assert "out of plane: 0 % of |v|²" in texts(drawn["field-planes"])
    assert len(axes_of(drawn["composition"], "density-1")) == 1


def test_a_plane_of_other_axes_is_refused_before_anything_is_drawn() -> None:
    model, observed, _ = scene()
    with pytest.raises(UserError, match=r"^--plane: found '0,4', expected two different latent axes from 0 to 3"):
        field_figures(model, SparseData(), observed, ROLES, plane="0,4")
