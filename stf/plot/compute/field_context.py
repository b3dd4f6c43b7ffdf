"""What the figures of fields show: fields on planes, densities carried by the flow, derivatives; all in float64."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from ffrl.data.base import SequenceData, Split
from ffrl.evaluation.protocol.sequences import batch_size, choose
from ffrl.fields.protocol import Fields, some_fields
from ffrl.flow.rollout import roll_out
from ffrl.models.flow_vae import FlowFactorizedVAE
from ffrl.models.interface import SequenceModel
from stf.plot.compute.observed import Observed, alone, starting_images
from stf.plot.compute.pictures import pictures
from stf.plot.compute.plane import (
    Plane,
    axis_plane,
    bandwidth,
    grid,
    mixture_density,
    parse_plane,
    pca_plane,
    trajectory_plane,
    typical,
    window,
)
from stf.plot.compute.roles import FieldRole, drawn

IMAGES = 128
"""Images that a field is applied to; the most typical one is drawn."""
GRID, COARSE, FINE = 41, 33, 81
"""Points per side of the maps of fields, of their derivatives, and of densities that are carried."""
PICTURES, MARGIN = 3, 0.08
JACOBIANS = 2**22
"""Entries of the Jacobians that are held at once."""
ALL_JACOBIANS, COARSEST = 2**28, 9
"""Entries of all that the maps of derivatives take, and their least points per side."""


@dataclass(frozen=True)
class PlaneField:
    r"""One field on one plane, in the direction of its transformation.

    Args:
        role: the field.
        plane: the plane.
        x, y: coordinates of the grid, ``(n,)``.
        potential: d u on the grid, ``(n, n)``, d being the role's direction; zero for fields without potentials.
        curl_free: d grad u, ``(n, n, D)``; the whole field of a type that has no parts.
        divergence_free: d r, ``(n, n, D)``; None for a model without that part.
        density: of the encoded frames on the plane, per unit of area, ``(n, n)``.
        path: a real image moved by this field alone at unit speed, z_0 .. z_T ``(T+1, D)``.
        heights: d u at the path, ``(T+1,)``.
        paths: the same for all N images, ``(N, T+1, D)``.
        frames: decoded frames of the path, ``(P, C, H, W)``.
        steps: which ones.
        time: t and T at which fields that depend on time are shown; None for those that do not.
    """

    role: FieldRole
    plane: Plane
    x: Tensor
    y: Tensor
    potential: Tensor
    curl_free: Tensor
    divergence_free: Tensor | None
    density: Tensor
    path: Tensor
    heights: Tensor
    paths: Tensor
    frames: Tensor
    steps: tuple[int, ...]
    time: tuple[int, int] | None = None

    @property
    def climbs(self) -> bool:
        """Whether the first part is the slope of a potential."""
        return bool(self.potential.any())

    @property
    def whole(self) -> Tensor:
        """Both parts together, ``(n, n, D)``."""
        return self.curl_free if self.divergence_free is None else self.curl_free + self.divergence_free


@dataclass(frozen=True)
class Derivatives:
    r"""Exact derivatives of one part of one field on a plane.

    Args:
        divergence: trace of the Jacobian J, ``(n, n)``.
        curl: Frobenius norm of its antisymmetric part, :math:`\|(J - J^T) / 2\|`, ``(n, n)``.
        size: Frobenius norm of J, ``(n, n)``.
    """

    divergence: Tensor
    curl: Tensor
    size: Tensor


@dataclass(frozen=True)
class PlaneDerivatives:
    """Derivatives of both parts of a field.

    Args:
        role: the field.
        plane: the plane.
        x, y: coordinates of the grid, ``(n,)``.
        curl_free: of grad u, in the direction of the transformation.
        divergence_free: of r; None for a model without that part.
        path: coordinates of the field's path, ``(T+1, 2)``.
        time: t and T at which fields that depend on time are shown; None for those that do not.
    """

    role: FieldRole
    plane: Plane
    x: Tensor
    y: Tensor
    curl_free: Derivatives
    divergence_free: Derivatives | None
    path: Tensor
    time: tuple[int, int] | None = None


@dataclass(frozen=True)
class Shares:
    r"""How much of a field each part is, at the encoded frames of real sequences at which it acts.

    Args:
        role: the field.
        curl_free: norms of grad u, ``(M,)``.
        divergence_free: norms of r, ``(M,)``.
        whole: norms of v = grad u + r, ``(M,)``.
        expansion, shear, rotation: squared Frobenius norms of the trace part, of the rest of the symmetric part, and of
            the antisymmetric part of the Jacobian of v, ``(P,)`` each, at P of the M frames.
    """

    role: FieldRole
    curl_free: Tensor
    divergence_free: Tensor
    whole: Tensor
    expansion: Tensor
    shear: Tensor
    rotation: Tensor


M = TypeVar("M", bound=nn.Module)


def exact_copy(model: M) -> M:
    """Copy of a model in float64 on the CPU.

    Example:
        >>> exact_copy(torch.nn.Linear(2, 2)).weight.dtype
        torch.float64
    """
    return copy.deepcopy(model).cpu().double()


def parts_of(model: FlowFactorizedVAE, field: int) -> tuple[Fields, Fields | None]:
    """Both parts of one field, each with one control; None for the second one where there is none."""
    first, second = model.field_model.split()
    return some_fields(first, [field]), None if second is None else some_fields(second, [field])


def derivatives(field: Fields, z: Tensor, speed: float, t: Tensor) -> Derivatives:
    """Divergence, curl and size of the Jacobian of one field at ``z (..., D)``, from all of its D x D entries."""
    found = []
    for part in z.reshape(-1, z.shape[-1]).split(max(1, JACOBIANS // z.shape[-1] ** 2)):
        jacobian = field.jacobian(part, part.new_full((len(part), 1), speed), t)
        curl = (jacobian - jacobian.mT) / 2
        trace = jacobian.diagonal(dim1=-2, dim2=-1).sum(-1)
        found.append((trace, curl.norm(dim=(-2, -1)), jacobian.norm(dim=(-2, -1))))
    return Derivatives(*(torch.cat(values).view(z.shape[:-1]) for values in zip(*found, strict=True)))


@dataclass(frozen=True)
class FieldContext:
    """What the fields of a model are shown with.

    Args:
        exact: the model in float64 on the CPU.
        encoded: encoded real frames, ``(N, T+1, D)``.
        starts: encoded images, ``(M, D)``.
        begun: the same in the state that a transformation starts from, by its row, where that is another one.
        steps: T of the data.
        plane: what spans the planes, from :func:`stf.plot.compute.plane.parse_plane`.
    """

    exact: FlowFactorizedVAE
    encoded: Tensor
    starts: Tensor
    steps: int
    plane: str | tuple[int, int]
    begun: Mapping[int, Tensor] = field(default_factory=dict)

    @property
    def middle(self) -> int:
        """The transition t at which fields that depend on time are shown."""
        return (self.steps + 1) // 2

    @property
    def timed(self) -> bool:
        """Whether the fields depend on time."""
        return self.exact.timed

    def time(self, transition: Tensor | int) -> Tensor:
        """Time in [0, 1] of transitions t = 1 .. T."""
        return torch.as_tensor(transition, dtype=torch.float64) / self.exact.num_steps


@torch.no_grad()
def field_context(
    model: SequenceModel,
    data: SequenceData,
    observed: Observed,
    split: Split,
    plane: str,
    seed: int,
    roles: Sequence[FieldRole] = (),
) -> FieldContext:
    """Encode real frames and held-out images, and prepare for exact computation.

    Args:
        model: in evaluation mode.
        data: the sequences.
        observed: sequences and their activity.
        split: that images are taken from.
        plane: of latent space.
        seed: chooses the images.
        roles: of the fields that are shown.

    Raises:
        UserError: no such plane.
    """
    chosen = parse_plane(plane, model.latent_dim)
    indices = choose(data, split, min(IMAGES, data.size(split)), seed)

    def encoded(row: int | None) -> Tensor:
        parts = [model.encode(starting_images(data, split, part, row)) for part in indices.split(batch_size(data))]
        return torch.cat(parts).cpu().double()

    codes = model.encode(observed.frames) if observed.codes is None else observed.codes
    starts, rows = encoded(None), [role.row for role in drawn(roles) if role.row is not None]
    begun = {row: begin for row in rows if not torch.equal(begin := encoded(row), starts)}
    return FieldContext(
        cast(FlowFactorizedVAE, exact_copy(model)), codes.cpu().double(), starts, data.num_steps, chosen, begun
    )


def path_plane(context: FieldContext, path: Tensor) -> Plane:
    """The plane on which a path ``(T+1, D)`` is shown: its own, or the one that was asked for."""
    encoded = context.encoded.flatten(0, 1)
    if context.plane == "trajectories":
        return trajectory_plane(path, encoded)
    return pca_plane(encoded) if context.plane == "pca" else axis_plane(encoded, *context.plane)


def acting(context: FieldContext, activity: Tensor) -> tuple[Fields, Tensor]:
    """The fields that an activity ``(T, C)`` has at work, as fields of c controls, and their activity ``(T, c)``."""
    controls = activity.any(0).nonzero()[:, 0].tolist() or [0]
    return some_fields(context.exact.field_model.units(), controls), activity[:, controls]


def moved_along(context: FieldContext, starts: Tensor, activity: Tensor) -> Tensor:
    """Latents ``(N, D)`` moved by one activity ``(T, C)``: ``(N, T+1, D)``. Fields that are off cost nothing."""
    exact, (units, speeds) = context.exact, acting(context, activity)
    times = context.time(torch.arange(1, len(activity) + 1))
    steady = speeds.expand(len(starts), -1, -1)
    return roll_out(units, starts, steady, times, exact.integrator, exact.substeps)[0]


def potential(model: FlowFactorizedVAE, z: Tensor, t: Tensor) -> Tensor:
    """Potentials of all fields, ``(..., D)`` -> ``(..., K)``; zero for fields that have none."""
    potentials = model.field_model.potential_part()
    return z.new_zeros(*z.shape[:-1], model.num_fields) if potentials is None else potentials(z, t)


@torch.no_grad()
def plane_fields(context: FieldContext, roles: Sequence[FieldRole]) -> list[PlaneField]:
    """All fields that are not silent, each on its plane."""
    exact, encoded, steps = context.exact, context.encoded.flatten(0, 1), context.steps
    active = drawn(roles)
    if not active:
        return []
    activity = alone(active, exact.num_fields, exact.num_controls).double()
    time = context.time(context.middle)
    fields = []
    for role, speeds in zip(active, activity, strict=True):
        starts = context.starts if role.row is None else context.begun.get(role.row, context.starts)
        paths = moved_along(context, starts, speeds.expand(steps, -1))
        path = paths[typical(paths)]
        plane = path_plane(context, path)
        seen = plane.coordinates(encoded)
        middle, spread = seen.mean(0), seen.std(0)
        corners = torch.cat([plane.coordinates(path), (middle - 1.5 * spread)[None], (middle + 1.5 * spread)[None]])
        x, y, points = grid(window(corners, MARGIN), GRID)
        z = plane.lift(points)
        first, second = parts_of(exact, role.field)
        gradient = first.per_control(z, time)[..., 0, :] * role.direction
        chosen = sorted({round(place * steps / (PICTURES - 1)) for place in range(PICTURES)})
        fields.append(
            PlaneField(
                role=role,
                plane=plane,
                x=x,
                y=y,
                potential=role.direction * potential(exact, z, time)[..., role.field],
                curl_free=gradient,
                divergence_free=None if second is None else second.per_control(z, time)[..., 0, :] * role.direction,
                density=mixture_density(points, seen, bandwidth(seen) ** 2 * torch.eye(2, dtype=torch.float64)),
                path=path,
                heights=role.direction * potential(exact, path, time)[..., role.field],
                paths=paths,
                frames=pictures(exact.decode(path[chosen]), exact.frame_kind),
                steps=tuple(chosen),
                time=(context.middle, exact.num_steps) if context.timed else None,
            )
        )
    return fields


@torch.no_grad()
def plane_derivatives(context: FieldContext, fields: Sequence[PlaneField]) -> list[PlaneDerivatives]:
    """Derivatives of fields on the planes and windows on which they are shown."""
    time, found = context.time(context.middle), []
    dim = context.exact.latent_dim
    side = min(COARSE, max(COARSEST, math.isqrt(ALL_JACOBIANS // (dim**2 * max(1, len(fields))))))
    for one in fields:
        limits = (float(one.x[0]), float(one.x[-1]), float(one.y[0]), float(one.y[-1]))
        x, y, points = grid(limits, side)
        first, second = parts_of(context.exact, one.role.field)
        given = one.plane.lift(points), one.role.direction, time
        curl_free, divergence_free = derivatives(first, *given), None if second is None else derivatives(second, *given)
        path = one.plane.coordinates(one.path)
        found.append(PlaneDerivatives(one.role, one.plane, x, y, curl_free, divergence_free, path, one.time))
    return found


@torch.no_grad()
def shares(context: FieldContext, observed: Observed, roles: Sequence[FieldRole]) -> list[Shares]:
    """Norms and Jacobians of both parts of each field at the encoded frames that it is about to move."""
    exact, found = context.exact, []
    acting = torch.from_numpy(observed.inferred[: len(context.encoded)]) != 0
    for role in drawn(roles):
        sequence, step = acting[..., role.field].nonzero(as_tuple=True)
        if not len(sequence):
            continue
        z, t = context.encoded[sequence, step], context.time(step + 1)
        parts = [part for part in parts_of(exact, role.field) if part is not None]
        vectors = [part.per_control(z, t)[:, 0] for part in parts]
        gradient, rotational = vectors[0], vectors[1] if len(parts) > 1 else torch.zeros_like(vectors[0])
        few = slice(None, None, math.ceil(z.numel() * z.shape[-1] / JACOBIANS))
        unit = z[few].new_ones(len(z[few]), 1)
        jacobian = torch.stack([part.jacobian(z[few], unit, t[few]) for part in parts]).sum(0)
        symmetric, rotation = (jacobian + jacobian.mT) / 2, (jacobian - jacobian.mT) / 2
        expansion = jacobian.diagonal(dim1=-2, dim2=-1).sum(-1).square() / z.shape[-1]
        found.append(
            Shares(
                role=role,
                curl_free=gradient.norm(dim=-1),
                divergence_free=rotational.norm(dim=-1),
                whole=(gradient + rotational).norm(dim=-1),
                expansion=expansion,
                shear=symmetric.square().sum((-2, -1)) - expansion,
                rotation=rotation.square().sum((-2, -1)),
            )
        )
    return found
