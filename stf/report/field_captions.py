"""One sentence under each figure of fields in latent space, from the numbers that the figure shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ffrl.models.interface import SequenceModel, fields_of
from stf.fields.helmholtz import HelmholtzFields
from stf.fields.unconstrained import UnconstrainedFields
from stf.plot.compute.field_context import PlaneDerivatives, PlaneField, Shares
from stf.plot.compute.numbers import percent
from stf.plot.compute.transported_density import TransportedDensity
from stf.plot.drawing.style import field_name
from stf.plot.fields.differential import ROUNDING, relative, scientific
from stf.plot.fields.helmholtz import norm_share
from stf.report.captions import SILENCE, join


def of_planes(fields: Sequence[PlaneField]) -> str:
    """Say how much of the drawn motion the planes hold."""
    if not fields:
        return SILENCE
    held = _each(fields, lambda one: percent(1 - one.plane.outside(one.path.diff(dim=-2))))
    if fields[0].divergence_free is None and not fields[0].climbs:
        return f"Each field moves real images along the black paths; the planes hold {held} of the way."
    if fields[0].divergence_free is None:
        return (
            f"Each field is the slope of its potential, and real images run up it; the planes hold {held} of the way."
        )
    return (
        "The curl-free part runs straight up its potential, the divergence-free part turns, and their sum moves real "
        f"images along the black paths; the planes hold {held} of the motion of these paths."
    )


def of_composition(carried: TransportedDensity) -> str:
    """Say how many fields carry the density, and what that does to it."""
    steps = len(carried.activity)
    active = int((carried.activity != 0).any(0).view(-1, len(carried.roles)).any(0).sum())
    if not active:
        return "No field acts in this sequence, so that the cloud of encoded images stays where it is."
    change = -float(carried.log_det[-1].mean())
    effect = "contracts" if change > 0 else "expands"
    whose = "one field" if active == 1 else f"{active} fields"
    verb = "given" if carried.given else "inferred"
    return (
        f"The speeds of {whose}, {verb} for one sequence, carry the whole cloud of encoded images for {steps} steps, "
        f"in which it {effect} (log-density {_signed(change, 1)} nats on average), and should bring the decoded frames "
        "to the real ones."
    )


def of_landscape(fields: Sequence[PlaneField]) -> str:
    """Say how the potential changes along the paths."""
    if not fields:
        return SILENCE
    change = _each(fields, lambda one: _signed(float(one.heights[-1] - one.heights[0]), 2))
    return (
        f"Along the path of a real image the potential changes by {change}: where it rises the curl-free part drives "
        "the motion, and where the path runs along a contour the divergence-free part does."
        if fields[0].divergence_free is not None
        else f"Real images run uphill: along their paths the potential changes by {change}."
    )


def of_helmholtz(shares: Sequence[Shares]) -> str:
    """Say how much of each field is free of divergence."""
    if not shares:
        return SILENCE
    turning = _each(shares, lambda one: percent(1 - norm_share(one)))
    return f"Where real images are, the divergence-free part makes up {turning} of the norms of the two parts."


def of_differential(planes: Sequence[PlaneDerivatives]) -> str:
    """Say how close to zero is what has to be zero."""
    if not planes:
        return SILENCE
    curl = max(float(relative(one.curl_free, "curl").max()) for one in planes)
    if curl > ROUNDING:
        return (
            f"These fields may expand and turn as they like: nothing has to vanish, and curl reaches {curl:.2g} of ‖J‖."
        )
    text = f"gradients have no curl (at most {scientific(curl)} of ‖J‖)"
    parts = [one.divergence_free for one in planes if one.divergence_free is not None]
    if parts:
        divergence = max(float(relative(part, "divergence").max()) for part in parts)
        if divergence > ROUNDING:
            return (
                f"What has to vanish does, up to rounding: {text}; the divergence of the other parts is only penalised "
                f"and reaches {divergence:.2g} of ‖J‖."
            )
        text = f"the divergence-free parts have no divergence (at most {scientific(divergence)} of ‖J‖) and {text}"
    return f"What has to vanish does, up to rounding: {text}."


def of_parts(model: SequenceModel) -> str:
    """Add to a caption what is unusual about the parts of the fields: one is left out, or its divergence penalised."""
    fields = fields_of(model)
    helmholtz = isinstance(fields, HelmholtzFields)
    text = " In this run fields have no curl-free part." if helmholtz and fields.potential_part() is None else ""
    if helmholtz and isinstance(fields.rotational, UnconstrainedFields):
        text += (
            " In this run the divergence of the divergence-free parts is only penalised, so that some of it is left."
        )
    return text


def _each(ones: Sequence[Any], value: Callable[[Any], str]) -> str:
    return join([f"{value(one)} ({one.role.transformation or field_name(one.role.field)})" for one in ones])


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")
