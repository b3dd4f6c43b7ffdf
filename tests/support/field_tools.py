"""Scenes for the tests of the figures of fields, and what they are compared with."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from engine_tiny import STEPS
from matplotlib.figure import Figure
from scipy.interpolate import RegularGridInterpolator
from torch import Tensor
from visualize_tools import (
    SparseData,
    tiny_model,
)

from ffrl.core.evaluation_mode import evaluation_mode
from ffrl.data.base import SequenceData
from stf.plot.composition import draw_composition
from stf.plot.compute.field_context import (
    FieldContext,
    PlaneField,
    field_context,
    plane_fields,
)
from stf.plot.compute.observed import Observed, observe
from stf.plot.compute.roles import FieldRole
from stf.plot.compute.transported_density import TransportedDensity, transported_density
from stf.plot.fields.planes import draw_field_planes
from stf.report.field_figures import field_exhibits

ROLES = [FieldRole(2, 1, "rotation"), FieldRole(0, 0, "scaling", direction=-1.0), FieldRole(1, silent=True)]
DRAWN = ROLES[:2]
PARTS = ("curl-free", "divergence-free", "whole")
CASES = [("single", "trajectories"), ("separate", "0,3"), ("timed", "trajectories")]
in_all_cases = pytest.mark.parametrize(("case", "plane"), CASES)


@cache
def scene(case: str = "single", plane: str = "trajectories") -> tuple[Any, Observed, FieldContext]:
    """A model, what was observed of it, and what its figures are made of."""
    model = {
        "single": lambda: tiny_model(latent_dim=4),
        "separate": lambda: tiny_model(latent_dim=4, control="separate"),
        "timed": lambda: tiny_model("weak", latent_dim=4, time_dependent=True),
        "rk4": lambda: tiny_model(latent_dim=4, integrator="rk4", substeps=2),
    }[case]()
    batch = SparseData().mixed("validation", torch.arange(9), torch.Generator().manual_seed(0))
    with torch.no_grad():
        observed = observe(model, [batch])
    return model, observed, field_context(model, SparseData(), observed, "validation", plane, seed=0)


def field_figures(
    model: Any, data: SequenceData, observed: Observed, roles: list[FieldRole], plane: str = "trajectories"
) -> dict[str, Figure]:
    with evaluation_mode(model):
        exhibits = field_exhibits(model, data, observed, roles, "validation", 0, plane)
        return {exhibit.name: exhibit.figure for exhibit in exhibits}


def exact(model: Any) -> Any:
    return copy.deepcopy(model).double()


@cache
def planes(case: str = "single", plane: str = "trajectories") -> tuple[list[PlaneField], Figure]:
    fields = plane_fields(scene(case, plane)[2], ROLES)
    return fields, draw_field_planes(fields, ROLES)


@cache
def composed(case: str = "single") -> tuple[TransportedDensity, Figure]:
    model, observed, context = scene(case)
    found = transported_density(model, context, observed, ROLES)
    return found, draw_composition(found)


def velocity(model: Any, role: FieldRole, z: Tensor, name: str) -> Tensor:
    """One part of one field in the direction of its transformation, halfway through a sequence."""
    curl_free, divergence_free = exact(model).fields(z, (STEPS + 1) // 2 / STEPS)
    found = {"curl-free": curl_free, "divergence-free": divergence_free, "whole": curl_free + divergence_free}
    return role.direction * found[name][..., role.field, :]


def potential(model: Any, role: FieldRole, z: Tensor) -> Tensor:
    time = torch.tensor((STEPS + 1) // 2 / STEPS, dtype=torch.float64)
    return role.direction * exact(model).field_model.potential_part()(z, time)[..., role.field]


def names(case: str) -> tuple[str, ...]:
    return ("whole",) if case == "timed" else PARTS


def limits(axes: Any) -> tuple[float, float, float, float]:
    return (*axes.get_xlim(), *axes.get_ylim())


def vertices(contours: Any) -> list[tuple[float, np.ndarray]]:
    """Level and points of every line of a set of contours."""
    found = zip(contours.levels, contours.get_paths(), strict=True)
    return [(level, path.vertices) for level, path in found if len(path.vertices)]


def check_bands(bands: Any, density: Tensor, x: Tensor, y: Tensor) -> int:
    """Filled contours of a density on a grid end where it has one of their levels, or at the edge: points that do."""
    between = RegularGridInterpolator((y.numpy(), x.numpy()), density.numpy())
    edge, seen = np.array([[x[0], y[0]], [x[-1], y[-1]]]), 0
    for *levels, path in zip(bands.levels[:-1], bands.levels[1:], bands.get_paths(), strict=True):
        points = path.vertices
        points = points[(np.abs(points[:, None] - edge) > 1e-9).all((1, 2))]
        values = between(points[:, ::-1])
        assert np.all(np.abs(values[:, None] - levels).min(-1) < 1e-6 * bands.levels[-1])
        seen += len(points)
    return seen
