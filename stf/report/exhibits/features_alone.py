"""Vectors moved by each field alone: every feature over the steps."""

from __future__ import annotations

from stf.plot.compute.observed import move_images
from stf.plot.features import draw_features_alone
from stf.report.exhibit import ALONE, Exhibit
from stf.report.exhibits import Shown

VECTORS = 5


def features_alone(shown: Shown) -> Exhibit | None:
    """Draw what each field does to the features of held-out vectors; nothing of images."""
    if shown.data.features is None:
        return None
    moved = move_images(shown.model, shown.data, "validation", shown.found.indices[:VECTORS], shown.found.roles)
    if not moved:
        return None
    frames, first = [one.frames.numpy() for one in moved], moved[0]
    figure = draw_features_alone(frames, first.steps, [one.role for one in moved], shown.data.features, first.trained)
    caption = "A field should change some features and leave the others as they are, in the same way from any vector."
    alt = "A column per field: lines of each feature over the steps that a vector is moved by that field alone."
    return Exhibit("features-alone", ALONE, "Features under each field", figure, caption, alt)


FIGURE = features_alone
