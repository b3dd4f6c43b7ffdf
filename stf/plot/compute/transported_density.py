"""A density of latent codes carried along the flow of a sequence, with its exact Jacobian, in float64."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ffrl.fields.protocol import Fields
from ffrl.flow.density import substep_jacobian
from ffrl.flow.integrate import Tableau, integrate
from ffrl.models.interface import SequenceModel
from stf.plot.compute.certainty import Certainty, certainty
from stf.plot.compute.field_context import FINE, MARGIN, FieldContext, acting, moved_along, path_plane
from stf.plot.compute.observed import Observed
from stf.plot.compute.pictures import pictures
from stf.plot.compute.plane import Plane, bandwidth, grid, mixture_density, window
from stf.plot.compute.roles import FieldRole

ENTRIES, FEWEST = 2**22, 16
"""Of the Jacobians of all images together, which limit how many images are carried, and least number of images."""


@dataclass(frozen=True)
class TransportedDensity:
    r"""A density carried along the flow, seen on a plane.

    q_0 is an even mixture of Gaussians of covariance h^2 I context N encoded images. Each is carried to first order,
    exactly at its centre: mean z_t, covariance h^2 J J^T with J the Jacobian of the map z_0 -> z_t of the flow. So the
    log-density of a component at its centre changes by exactly -log|det J|.

    Args:
        roles: of all fields.
        plane: the plane.
        x, y: coordinates of the grid, ``(n,)``.
        density: on the plane, per unit of area, ``(T+1, n, n)``.
        means: the carried images, ``(T+1, N, 2)``.
        covariances: of the components, ``(T+1, N, 2, 2)``.
        log_det: log|det J| of the N maps, ``(T+1, N)``.
        path: the example, z_0 .. z_T, ``(T+1, D)``.
        activity: its speeds, ``(T, C)``.
        moves: g_t^k v^k(z_{t-1}) of the example, ``(T, C, D)``.
        frames: its real frames, ``(T+1, C, H, W)``.
        decoded: of its path, ``(T+1, C, H, W)``.
        width: h.
        given: whether the activity was given rather than inferred.
        certainty: of the inferred activity, ``(T, C)``, where the model has a posterior of it.
    """

    roles: Sequence[FieldRole]
    plane: Plane
    x: Tensor
    y: Tensor
    density: Tensor
    means: Tensor
    covariances: Tensor
    log_det: Tensor
    path: Tensor
    activity: Tensor
    moves: Tensor
    frames: Tensor
    decoded: Tensor
    width: float
    given: bool = False
    certainty: Certainty | None = None


def step_jacobian(units: Fields, points: Tensor, g: Tensor, t: Tensor, tableau: Tableau) -> Tensor:
    r"""Jacobian of the integrator's map of one transition, by the chain rule through its substeps and stages.

    .. math:: \partial z_t / \partial z_{t-1} = \prod_i (I + h \sum_s b_s K_{is})

    Args:
        units: the fields.
        points: visited points, ``(..., n, stages, D)``, as returned by :func:`ffrl.flow.integrate.integrate`.
        g: activity, ``(..., C)``.
        t: time in [0, 1].
        tableau: the integrator.

    Returns:
        ``(..., D, D)``.
    """
    jacobian = units.jacobian(points, g[..., None, None, :], t)
    maps = substep_jacobian(jacobian, tableau, 1 / points.shape[-3])
    return functools.reduce(lambda total, one: one @ total, maps.unbind(-3))


def _moves(context: FieldContext, path: Tensor, activity: Tensor) -> Tensor:
    """What every control adds to each step of a path ``(T+1, D)``: ``(T, C, D)``."""
    units, speeds = acting(context, activity)
    found = path.new_zeros(*activity.shape, path.shape[-1])
    controls = activity.any(0).nonzero()[:, 0]
    if len(controls):
        found[:, controls] = speeds[..., None] * units.per_control(path[:-1], context.time(torch.arange(1, len(path))))
    return found


@torch.no_grad()
def transported_density(
    model: SequenceModel, context: FieldContext, observed: Observed, roles: Sequence[FieldRole]
) -> TransportedDensity:
    """The density of all first frames, carried by the activity of the sequence in which most happens."""
    exact, tableau = context.exact, context.exact.integrator
    example = observed.example
    frames = observed.frames[example]
    truth = torch.from_numpy(observed.truth[example])
    activity = truth if model.activity_kind.given else model.infer(frames[None])[0].cpu().double()
    sure = certainty(model, frames[None])
    units, moving = acting(context, activity)
    z = context.encoded[:, 0]
    path = moved_along(context, z[example : example + 1], activity)[0]
    z = z[: max(FEWEST, ENTRIES // z.shape[-1] ** 2)]
    plane = path_plane(context, path)
    start = plane.coordinates(z)
    width = bandwidth(start)
    means, log_det = [start], [z.new_zeros(len(z))]
    jacobian = torch.eye(z.shape[-1], dtype=z.dtype).expand(len(z), -1, -1)
    maps = [plane.axes.expand(len(z), -1, -1)]
    for transition, g in enumerate(moving, 1):
        t, speeds = context.time(transition), g.expand(len(z), -1)
        z, points = integrate(functools.partial(units.velocity, g=speeds, t=t), z, tableau, exact.substeps)
        step = step_jacobian(units, points, speeds, t, tableau)
        jacobian = step @ jacobian
        means.append(plane.coordinates(z))
        log_det.append(log_det[-1] + torch.linalg.slogdet(step).logabsdet)
        maps.append(plane.axes @ jacobian)
    centres, seen = torch.stack(means), torch.stack(maps)
    covariances = width**2 * seen @ seen.mT
    most = torch.quantile(centres.flatten(0, 1), torch.tensor([0.02, 0.98], dtype=z.dtype), dim=0)
    most = most + 2 * width * torch.tensor([[-1.0], [1.0]], dtype=z.dtype)
    x, y, points = grid(window(torch.cat([most, plane.coordinates(path)]), MARGIN), FINE)
    return TransportedDensity(
        roles=roles,
        plane=plane,
        x=x,
        y=y,
        density=torch.stack([mixture_density(points, *both) for both in zip(centres, covariances, strict=True)]),
        means=centres,
        covariances=covariances,
        log_det=torch.stack(log_det),
        path=path,
        activity=activity,
        moves=_moves(context, path, activity),
        frames=pictures(frames, model.frame_kind).cpu(),
        decoded=pictures(exact.decode(path), exact.frame_kind),
        width=width,
        given=model.activity_kind.given,
        certainty=None if sure is None else sure[0],
    )
