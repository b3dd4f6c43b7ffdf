"""All figures of a model on held-out data, one after the other, with what is said about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from ffrl.core.evaluation_mode import evaluation_mode
from ffrl.data.base import SequenceData, Split
from ffrl.evaluation.measures.equivariance import l1_error
from ffrl.models.interface import SequenceModel
from stf.plot.alignment import draw_alignment, draw_confusion
from stf.plot.compute.assignment import Assignment, assign
from stf.plot.compute.observed import Observed, Traversal, error_curve, move_images, prior_counts
from stf.plot.compute.pictures import pictures
from stf.plot.compute.roles import FieldRole, activity_rows
from stf.plot.compute.search_log import read_search
from stf.plot.curves import draw_curves
from stf.plot.drawing.style import field_name, house_style
from stf.plot.overview import draw_overview
from stf.plot.raster import draw_raster
from stf.plot.search import draw_search
from stf.plot.traversals import draw_strip, draw_traversals
from stf.report import captions
from stf.report.exhibit import ALONE, GLANCE, TRAINING, WHICH, Exhibit, Tell
from stf.report.exhibits import Shown, own_exhibits
from stf.report.field_figures import field_exhibits
from stf.report.words import draw_of_vectors, of_vectors

SPLIT: Split = "validation"
IMAGES, RASTERS, MEASURED = 3, 4, 64
"""Images that fields are applied to, sequences that are drawn, and images that errors are averaged over."""


@house_style()
def figures(model: SequenceModel, data: SequenceData, seed: int = 0, plane: str = "trajectories") -> dict[str, Figure]:
    """Draw a model on held-out data, and return the figures by name.

    Every mode: ``overview``, ``traversals``, ``traversal-field-K`` for each field that is not silent, and the figures
    of :func:`stf.report.field_figures.field_exhibits`. Unsupervised also ``alignment`` and ``raster``, weak
    also ``alignment``; no ``alignment`` where transformations are not known. Last those of :mod:`stf.report.exhibits`.

    Args:
        model: with its ``config``, on the device of ``data``.
        data: the sequences, with a validation split.
        seed: chooses the held-out images and sequences.
        plane: of latent space, ``trajectories``, ``pca`` or two axes ``I,J``.

    Raises:
        UserError: there is no validation split, or no such plane.
    """
    with evaluation_mode(model):
        return {one.name: one.figure for one in exhibits(model, data, assign(model, data, SPLIT, seed), seed, plane)}


def exhibits(
    model: SequenceModel,
    data: SequenceData,
    found: Assignment,
    seed: int = 0,
    plane: str = "trajectories",
    tell: Tell = lambda doing: None,
) -> Iterator[Exhibit]:
    """Draw one figure after the other.

    Args:
        model: in evaluation mode, gradients being off.
        data: the sequences.
        found: from :func:`stf.plot.compute.assignment.assign`.
        seed: chooses what is drawn.
        plane: of latent space.
        tell: told what is drawn next.
    """
    taken = {"curves", "search"}
    for one in _built_in(model, data, found, seed, plane, tell):
        taken.add(one.name)
        yield one if data.features is None else _of_vectors(one, (*data.features.names, *data.transformations))
    yield from own_exhibits(Shown(model, data, found, seed), tell, taken)


def _of_vectors(one: Exhibit, names: Sequence[str]) -> Exhibit:
    """The same with what it says of images said of vectors."""
    figure, caption = draw_of_vectors(one.figure, names), of_vectors(one.caption, names)
    if one.name in ("overview", "traversals"):
        caption += " A frame is a bar for each feature: dark above its mean, grey below it."
    return replace(one, figure=figure, caption=caption, alt=of_vectors(one.alt, names))


def _built_in(
    model: SequenceModel, data: SequenceData, found: Assignment, seed: int, plane: str, tell: Tell
) -> Iterator[Exhibit]:
    """The figures that need one another's numbers."""
    tell("applying each field to real frames")
    moved = move_images(model, data, SPLIT, found.indices[:IMAGES], found.roles)
    seen = [one.shown() for one in moved]
    tell("overview")
    yield _overview(model, found, seen, data.transformations)
    yield from _which(model, found, data.transformations, tell)
    tell("traversals")
    yield Exhibit(
        "traversals",
        ALONE,
        "All fields",
        draw_traversals(seen, found.roles),
        captions.of_traversals(moved, found.roles),
        "Rows of pictures: held-out images moved backwards, forwards and beyond the trained length by each field.",
    )
    for one in moved:
        yield _strip(model, data, found, one, tell)
    yield from field_exhibits(model, data, found.observed, found.roles, SPLIT, seed, plane, tell)


def training(metrics: Sequence[dict[str, Any]], ends: Mapping[str, float], total: int, run: str) -> Exhibit:
    """Draw the training curves.

    Args:
        metrics: entries of ``metrics.jsonl``, at least one.
        ends: of the phases of training, from :func:`stf.plot.curves.phase_ends`.
        total: steps of the whole run.
        run: its name.
    """
    figure = draw_curves(metrics, ends, total, run)
    alt = "Curves of every recorded term over the optimisation steps, training and validation."
    return Exhibit("curves", TRAINING, "Training curves", figure, captions.of_curves(metrics, ends), alt)


def searching(metrics: Sequence[dict[str, Any]], roles: Sequence[FieldRole], run: str) -> Exhibit | None:
    """Draw the search for the fields, None for a run that had none.

    Args:
        metrics: entries of ``metrics.jsonl``.
        roles: of all fields.
        run: its name.
    """
    search = read_search(metrics)
    if search is None:
        return None
    alt = "Fields as lanes over the optimisation steps, with what merged, ended and branched; below them log evidence."
    figure = draw_search(search, roles, run)
    return Exhibit("search", TRAINING, "Search for the fields", figure, captions.of_search(search), alt)


def _overview(model: SequenceModel, found: Assignment, moved: list[Traversal], names: tuple[str, ...]) -> Exhibit:
    """The overview, with the sequence in which most happens."""
    observed, told = found.observed, model.activity_kind.given
    mode = "supervised" if told else model.trained.mode
    example = observed.example
    frames = observed.frames[example]
    sure = None if observed.certainty is None else observed.certainty[example]
    true_speeds = torch.from_numpy(observed.truth[example]).float().to(frames.device)
    speeds = true_speeds if told else model.infer(frames[None])[0]
    latents = model.flow(model.encode(frames[:1]), speeds[None])[0]
    predicted = model.decode(latents)
    inferred, truth = observed.inferred[example], observed.truth[example]
    seen, moves = (pictures(part, model.frame_kind).cpu() for part in (frames, predicted))
    error, still = (
        float(l1_error(images, frames[1:], model.frame_kind).mean()) for images in (predicted[1:], predicted[:1])
    )
    return Exhibit(
        "overview",
        GLANCE,
        "Overview",
        draw_overview(
            seen,
            moves,
            inferred,
            truth,
            moved,
            found.roles,
            names,
            mode,
            sure,
        ),
        captions.of_overview(activity_rows(found.roles, names), inferred, truth, error, still, told),
        "Left: the frames of a sequence, the speed of each field over time, and the predicted frames. "
        "Right: other images moved by each field alone.",
    )


def _which(model: SequenceModel, found: Assignment, names: tuple[str, ...], tell: Tell) -> Iterator[Exhibit]:
    """What the inferred activity says about the fields; nothing for a supervised model, whose activity is given.

    Without known transformations that is the raster of an unsupervised model.
    """
    alt = "A matrix with a row per transformation and a column per field, matched cells outlined."
    if found.confusion is not None:
        tell("alignment")
        figure, caption = (
            draw_confusion(found.confusion, found.roles),
            captions.of_confusion(found.confusion, found.roles),
        )
        yield Exhibit("alignment", WHICH, "Alignment", figure, caption, alt)
    if found.alignment is not None:
        tell("alignment")
        figure = draw_alignment(found.alignment, found.roles)
        yield Exhibit("alignment", WHICH, "Alignment", figure, captions.of_alignment(found.alignment, found.roles), alt)
        caption = captions.of_raster(found.alignment, len(found.observed.truth))
        alt = (
            "Sequences with inferred and true speeds over time, histogram of speeds, inferred against true speed, and "
            "the number of fields that act at once."
        )
    elif found.usage is not None and model.activity_kind.free:
        caption = captions.of_usage(found.usage)
        alt = (
            "Sequences with inferred speeds over time, histogram of speeds, how often each field acts, and the number "
            "of fields that act at once."
        )
    else:
        return
    tell("raster")
    prior = prior_counts(model)
    yield Exhibit(
        "raster",
        WHICH,
        "Activity raster",
        draw_raster(_typical(found.observed), found.roles, names, prior),
        caption,
        alt,
    )


def _strip(model: SequenceModel, data: SequenceData, found: Assignment, one: Traversal, tell: Tell) -> Exhibit:
    """The traversal of one field, with its errors where its transformation is known."""
    name, role = f"traversal-field-{one.role.field}", one.role
    tell(name)
    known = role.row is not None and data.prescribed
    curve = (
        error_curve(
            model, data, SPLIT, found.indices[: max(RASTERS, MEASURED * min(8, data.num_steps) // data.num_steps)], role
        )
        if known
        else None
    )
    return Exhibit(
        name,
        ALONE,
        captions.upper(field_name(role.field)) + (f": {role.transformation}" if role.transformation else ""),
        draw_strip(one.shown(), curve),
        captions.of_strip(one, curve),
        f"Held-out images moved by {field_name(role.field)} backwards, forwards and beyond the trained length"
        + (", above the true images, and errors over steps." if one.truth else "."),
        motion=one,
    )


def _typical(observed: Observed) -> Observed:
    """The first few sequences in which at least two transformations act go first; only their frames are kept."""
    several = (observed.truth[: len(observed.frames)] != 0).any(axis=1).sum(-1) >= 2
    order = np.r_[(~several).argsort(kind="stable"), len(several) : len(observed.truth)]
    sure = None if observed.certainty is None else observed.certainty[order]
    frames = pictures(observed.frames[order[:RASTERS]], observed.frame_kind).cpu()
    return Observed(frames, observed.inferred[order], observed.truth[order], certainty=sure)
