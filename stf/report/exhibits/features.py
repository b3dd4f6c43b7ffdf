"""Sequences of vectors: every feature over time, under the activity that moves it."""

from __future__ import annotations

import torch

from stf.plot.compute.roles import activity_rows
from stf.plot.features import draw_feature_sequences
from stf.report.exhibit import GLANCE, Exhibit
from stf.report.exhibits import Shown

SEQUENCES = 3


def features(shown: Shown) -> Exhibit | None:
    """Draw some held-out sequences of vectors; nothing of images."""
    model, observed = shown.model, shown.found.observed
    if shown.data.features is None:
        return None
    first = observed.example
    order = [first, *(place for place in range(len(observed.frames)) if place != first)][:SEQUENCES]
    frames, truth, inferred = observed.frames[order], observed.truth[order], observed.inferred[order]
    true = torch.from_numpy(truth).float().to(frames.device)
    speeds = true if model.activity_kind.given else model.infer(frames)
    predicted = model.decode(model.flow(model.encode(frames[:, 0]), speeds))
    sure = None if observed.certainty is None else [observed.certainty[place] for place in order]
    rows = activity_rows(shown.found.roles, shown.data.transformations)
    figure = draw_feature_sequences(frames, predicted, inferred, truth, rows, shown.data.features, sure)
    caption = (
        "The first vector of each sequence is moved by the speeds above and decoded; where the dashed line follows the "
        "black one, the fields that act explain what the features do."
    )
    alt = (
        "Sequences side by side: speeds of each field over time, under them true and predicted values of the features."
    )
    return Exhibit("features", GLANCE, "Features over time", figure, caption, alt)


FIGURE = features
