"""Figures of fields in latent space, one after the other, with what is said about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ffrl.data.base import SequenceData, Split
from ffrl.models.interface import SequenceModel, fields_of
from stf.plot.composition import draw_composition
from stf.plot.compute.field_context import field_context, plane_derivatives, plane_fields, shares
from stf.plot.compute.observed import Observed
from stf.plot.compute.roles import FieldRole
from stf.plot.compute.transported_density import transported_density
from stf.plot.fields.differential import draw_differential
from stf.plot.fields.helmholtz import draw_helmholtz
from stf.plot.fields.landscape import draw_landscape
from stf.plot.fields.planes import draw_field_planes
from stf.report import field_captions as captions
from stf.report.exhibit import LATENT, Exhibit, Tell


def field_exhibits(
    model: SequenceModel,
    data: SequenceData,
    observed: Observed,
    roles: Sequence[FieldRole],
    split: Split,
    seed: int = 0,
    plane: str = "trajectories",
    tell: Tell = lambda doing: None,
) -> Iterator[Exhibit]:
    """Draw one figure after the other; ``landscape`` and ``helmholtz`` only for a model that has these parts.

    Args:
        model: in evaluation mode.
        data: the sequences.
        observed: sequences and their activity.
        roles: of all fields.
        split: of the data, that images are taken from.
        seed: chooses them.
        plane: of latent space, ``trajectories``, ``pca`` or two axes ``I,J``.
        tell: told what is drawn next.

    Raises:
        UserError: no such plane, or no such split.
    """
    tell("field planes")
    context = field_context(model, data, observed, split, plane, seed, roles)
    fields = plane_fields(context, roles)
    yield Exhibit(
        "field-planes",
        LATENT,
        "Field planes",
        draw_field_planes(fields, roles),
        captions.of_planes(fields) + captions.of_parts(model),
        "A row per field: its parts as arrows and streamlines over contours of its potential on a plane of latent "
        "space, with the density of encoded frames and the path of a real image.",
    )
    tell("composition")
    moved = transported_density(model, context, observed, roles)
    yield Exhibit(
        "composition",
        LATENT,
        "Composition",
        draw_composition(moved),
        captions.of_composition(moved),
        "Step by step: the density of encoded images, the speed of each field, decoded and real frames.",
    )
    if fields_of(model).potential_part() is not None:
        tell("potential landscape")
        yield Exhibit(
            "landscape",
            LATENT,
            "Potential landscape",
            draw_landscape(fields, roles),
            captions.of_landscape(fields),
            "A surface per field: its potential over a plane of latent space, with the field and the path of a real "
            "image.",
        )
    if fields_of(model).split()[1] is not None:
        tell("Helmholtz shares")
        found = shares(context, observed, roles)
        yield Exhibit(
            "helmholtz",
            LATENT,
            "Helmholtz shares",
            draw_helmholtz(found, roles),
            captions.of_helmholtz(found) + captions.of_parts(model),
            "Norms of the curl-free against the divergence-free part of each field, and their shares as bars.",
        )
    tell("divergence and curl")
    derivatives = plane_derivatives(context, fields)
    yield Exhibit(
        "differential",
        LATENT,
        "Divergence and curl",
        draw_differential(derivatives, roles),
        captions.of_differential(derivatives),
        "A row per field: maps of divergence and curl of its parts on a plane of latent space.",
    )
