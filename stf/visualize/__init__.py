"""Figures of a trained model: what its fields do, when they act, and how it was trained."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

import ffrl.data
from ffrl.data.base import SequenceData
from ffrl.engine.files import reporting
from ffrl.engine.log import METRICS, read_metrics
from ffrl.evaluation.alignment import align
from ffrl.evaluation.confusion import confusion
from ffrl.evaluation.mode import evaluation_mode
from ffrl.evaluation.sequences import choose, mixed_batches, single_batches
from stf.run import load
from stf.visualize.alignment import draw_alignment, draw_confusion
from stf.visualize.curves import draw_curves
from stf.visualize.material import (
    Observed,
    Traversal,
    count_distribution,
    eventful,
    move_images,
    observe,
    prior_on,
)
from stf.visualize.overview import draw_overview
from stf.visualize.raster import draw_raster
from stf.visualize.roles import FieldRole, aligned_roles, confused_roles, given_roles
from stf.visualize.style import save
from stf.visualize.traversals import draw_traversals

__all__ = [
    "Observed",
    "Traversal",
    "draw_alignment",
    "draw_confusion",
    "draw_curves",
    "draw_overview",
    "draw_raster",
    "draw_traversals",
    "figures",
    "run",
]
SPLIT = "validation"
SEQUENCES, IMAGES, RASTERS = 400, 3, 4
"""Sequences that activity is inferred on, images that fields are applied to, and sequences that are drawn."""


def run(run_dir: str | Path, out: str | Path | None = None, seed: int = 0, device: str = "cpu") -> list[Path]:
    """Draw everything that the mode of a run allows as PNG files, and return their paths.

    Args:
        run_dir: run folder.
        out: folder for the figures; ``run_dir / "figures"`` for None.
        seed: chooses the held-out images and sequences.
        device: where to compute.

    Raises:
        UserError: the run or its data cannot be used, or ``out`` cannot be written.

    Example:
        >>> run("runs/demo")  # doctest: +SKIP
    """
    model = load(run_dir, device=device)
    config = model.config
    data = ffrl.data.load(dataclasses.replace(config.data, download=False), next(model.parameters()).device)
    metrics = read_metrics(Path(run_dir) / METRICS)
    folder = Path(run_dir) / "figures" if out is None else Path(out)
    with reporting("write", folder):
        folder.mkdir(parents=True, exist_ok=True)
    written = [save(figure, folder / f"{name}.png") for name, figure in figures(model, data, seed).items()]
    if metrics:
        warmup = getattr(config, "warmup", None)
        end = None if warmup is None else warmup.fraction * config.steps
        figure = draw_curves(metrics, end, config.steps, Path(run_dir).resolve().name)
        written.append(save(figure, folder / "curves.png"))
    return written


def figures(model: Any, data: SequenceData, seed: int = 0) -> dict[str, Figure]:
    """Draw a model on held-out data, and return the figures by name.

    Unsupervised: ``overview``, ``traversals``, ``raster``, ``alignment``; weak: the same without ``raster``;
    supervised: ``overview`` and ``traversals``.

    Args:
        model: with its ``config``, on the device of ``data``.
        data: sequences under known transformations, with a validation split.
        seed: chooses the held-out images and sequences.

    Raises:
        UserError: there is no validation split.
    """
    with evaluation_mode(model):
        return _figures(model, data, seed)


def _figures(model: Any, data: SequenceData, seed: int) -> dict[str, Figure]:
    mode, names = model.config.mode, data.transformations
    indices = choose(data, SPLIT, min(SEQUENCES, data.size(SPLIT)), seed)
    if mode == "unsupervised":
        batches = mixed_batches(data, SPLIT, indices, seed)
    else:
        which = torch.arange(len(indices), device=indices.device) % len(names)
        batches = single_batches(data, SPLIT, indices, which)
    observed = observe(model, batches)
    drawn: dict[str, Figure] = {}
    if mode == "unsupervised":
        alignment = align(observed.inferred, observed.truth, names)
        roles = aligned_roles(alignment, model.num_fields)
        drawn["alignment"] = draw_alignment(alignment, roles)
        drawn["raster"] = draw_raster(_typical(observed), roles, names, count_distribution(prior_on(model)))
    elif mode == "weak":
        found, true = observed.inferred[:, 0].argmax(-1), observed.truth[:, 0].argmax(-1)
        confused = confusion(found, true, model.num_fields, names)
        roles = confused_roles(confused, model.num_fields)
        drawn["alignment"] = draw_confusion(confused, roles)
    else:
        roles = given_roles(names)
    moved = move_images(model, data, SPLIT, indices[:IMAGES], roles)
    drawn["traversals"] = draw_traversals(moved, roles)
    drawn["overview"] = _overview(model, observed, moved, roles, names)
    return drawn


def _overview(
    model: Any, observed: Observed, moved: list[Traversal], roles: list[FieldRole], names: tuple[str, ...]
) -> Figure:
    """The overview, with the sequence in which most happens."""
    example = eventful(observed.truth[: len(observed.frames)])[0]
    frames, mode = observed.frames[example], model.config.mode
    given = torch.from_numpy(observed.truth[example]).to(frames)
    speeds = given if mode == "supervised" else model.infer(frames[None])[0]
    predicted = model.decode(model.flow(model.encode(frames[:1]), speeds[None]))[0]
    inferred, truth = observed.inferred[example], observed.truth[example]
    return draw_overview(frames.cpu(), predicted.cpu(), inferred, truth, moved, roles, names, mode)


def _typical(observed: Observed) -> Observed:
    """The first few sequences in which at least two transformations act go first; only their frames are kept."""
    several = (observed.truth[: len(observed.frames)] != 0).any(axis=1).sum(-1) >= 2
    order = np.r_[(~several).argsort(kind="stable"), len(several) : len(observed.truth)]
    return Observed(observed.frames[order[:RASTERS]].cpu(), observed.inferred[order], observed.truth[order])
