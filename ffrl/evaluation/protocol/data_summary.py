"""What a data set holds: sizes, transformations, and statistics of its activity and its pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from ffrl.core.device import widest
from ffrl.core.errors import UserError
from ffrl.data.base import SPLITS, SequenceData, Split
from ffrl.data.features import Features
from ffrl.evaluation.protocol.sequences import choose, mixed_batches

SEQUENCES = 1000
"""Mixed sequences that statistics are taken over, or as many as there are."""


def summarise(data: SequenceData, split: Split = "validation", seed: int = 0) -> dict[str, Any]:
    """Return what a data set holds, as plain numbers.

    Args:
        data: the sequences.
        split: whose images the statistics are taken over.
        seed: chooses the mixed sequences.

    Returns:
        ``name`` and ``title``, ``about`` where there is more to say, ``protocol``, ``splits`` (size by name, None where
        it is not there), ``prescribed`` (whether a transformation can be asked for), ``image_shape``, ``num_steps``,
        ``unit_steps`` in words by transformation, ``activity`` (see :func:`activity_statistics`), ``pixels`` (see
        :func:`pixel_statistics`) or ``features`` (see :func:`feature_statistics`), ``sequences``, ``split`` and
        ``seed``.

    Raises:
        UserError: the split is not there.

    Example:
        >>> from ffrl.config import DataConfig
        >>> from ffrl.data import load
        >>> summarise(load(DataConfig()))["splits"]
        {'train': 8000, 'validation': 2000, 'test': None}
    """
    indices = choose(data, split, min(SEQUENCES, data.size(split)), seed)
    pixels, vectors, activity = _Pixels(), [], []
    for batch in mixed_batches(data, split, indices, seed):
        activity.append(batch.activity.cpu())
        if data.features is None:
            pixels.add(batch.frames)
        else:
            vectors.append(batch.frames.cpu())
    if data.features is None:
        statistics: dict[str, Any] = {"pixels": pixels.statistics()}
    else:
        statistics = {"features": feature_statistics(torch.cat(vectors), data.features)}
    return {
        "name": data.name,
        "title": data.title,
        **({"about": data.about} if data.about else {}),
        "protocol": data.protocol,
        "splits": {name: _size(data, name) for name in SPLITS},
        "prescribed": data.prescribed,
        "image_shape": list(data.image_shape),
        "num_steps": data.num_steps,
        "unit_steps": dict(zip(data.transformations, data.unit_steps, strict=True)),
        "activity": activity_statistics(torch.cat(activity), data.transformations),
        **statistics,
        "sequences": len(indices),
        "split": split,
        "seed": seed,
    }


def _size(data: SequenceData, split: Split) -> int | None:
    try:
        return data.size(split)
    except UserError:
        return None


def activity_statistics(activity: Tensor, transformations: tuple[str, ...]) -> dict[str, Any]:
    """Return statistics of true activity ``(N, T, J)``.

    Returns:
        ``active``: share of the steps at which 0, 1, ..., J transformations act; and by name under ``transformations``:
        ``on`` (share of steps), ``persistence`` (probability that it acts on at the next step, given that it acts) and,
        over the steps at which it acts, the ``mean``, ``least`` and ``largest`` speed. None for what never happens.

    Example:
        >>> activity_statistics(torch.tensor([[[1.0], [3.0], [0.0]]]), ("hue",))["active"]
        [0.3333333432674408, 0.6666666865348816]
    """
    on = activity != 0
    counts = torch.bincount(on.sum(-1).flatten(), minlength=activity.shape[-1] + 1)
    described = {}
    for row, name in enumerate(transformations):
        speeds, before, after = activity[..., row][on[..., row]], on[:, :-1, row], on[:, 1:, row]
        kept, there = (before & after).sum().item(), before.sum().item()
        described[name] = {
            "on": on[..., row].float().mean().item(),
            "persistence": kept / there if there else None,
            "mean": speeds.mean().item() if len(speeds) else None,
            "least": speeds.min().item() if len(speeds) else None,
            "largest": speeds.max().item() if len(speeds) else None,
        }
    return {"active": (counts / counts.sum()).tolist(), "transformations": described}


def pixel_statistics(batches: Iterable[Tensor]) -> dict[str, Any]:
    """Return statistics of frames, batch by batch ``(..., C, H, W)``: mean and standard deviation by channel, and more.

    Returns:
        ``mean`` and ``standard_deviation`` by channel, ``black``, the share of pixels that are 0 in every channel, and
        ``sum``, the mean sum of a frame.

    Example:
        >>> pixel_statistics([torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)])
        {'mean': [0.5], 'standard_deviation': [0.5], 'black': 0.5, 'sum': 0.5}
    """
    pixels = _Pixels()
    for frames in batches:
        pixels.add(frames)
    return pixels.statistics()


def feature_statistics(values: Tensor, features: Features) -> dict[str, dict[str, Any]]:
    """Return statistics of vectors ``(..., F)`` by feature, in its own unit.

    Returns:
        ``period`` (None unless it is periodic), ``mean`` and ``standard_deviation`` (None of a periodic one),
        ``least``, ``largest``, and ``missing``, the share of values that are not there. None where no value is there.

    Example:
        >>> from ffrl.data.features import Feature
        >>> found = feature_statistics(torch.tensor([[1.0], [3.0], [float("nan")]]), Features((Feature("x"),)))
        >>> found["x"]["mean"], found["x"]["standard_deviation"], round(found["x"]["missing"], 2)
        (2.0, 1.0, 0.33)
    """
    found = {}
    for feature, column in zip(features.each, values.reshape(-1, len(features)).double().unbind(1), strict=True):
        known, around = column[~column.isnan()], feature.period is not None
        there = len(known) > 0
        found[feature.name] = {
            "period": feature.period,
            "mean": known.mean().item() if there and not around else None,
            "standard_deviation": known.std(correction=0).item() if there and not around else None,
            "least": known.min().item() if there else None,
            "largest": known.max().item() if there else None,
            "missing": 1 - len(known) / len(column),
        }
    return found


class _Pixels:
    """Sums over pixels, added up in float64."""

    def __init__(self) -> None:
        self.frames, self.black = 0, 0.0
        self.sums = torch.zeros(())

    def add(self, frames: Tensor) -> None:
        """Count frames ``(..., C, H, W)``."""
        frames, kind = frames.flatten(0, -4), widest(frames.device)
        self.frames += len(frames)
        self.black += (frames == 0).all(1).to(kind).mean((1, 2)).sum().item()
        powers = torch.stack([frames, frames.square()])
        self.sums = self.sums + powers.mean((-2, -1), dtype=kind).sum(1).cpu()
        self.size = frames[0, 0].numel()

    def statistics(self) -> dict[str, Any]:
        """See :func:`pixel_statistics`."""
        mean, square = (self.sums / self.frames).unbind(0)
        return {
            "mean": mean.tolist(),
            "standard_deviation": (square - mean.square()).clamp(min=0).sqrt().tolist(),
            "black": self.black / self.frames,
            "sum": mean.sum().item() * self.size,
        }


def print_summary(summary: dict[str, Any], console: Console) -> None:
    """Print the result of :func:`summarise` as a table, and a second one of the activity where it is known."""
    known = summary["activity"]["transformations"]
    if "about" in summary:
        console.print(summary["about"], markup=False, highlight=False)
    table = Table(title=Text(described(summary)), title_justify="left", show_header=False)
    kind, sequences = ("images", "mixed sequences") if summary["prescribed"] else ("clips", "clips")
    for name, size in summary["splits"].items():
        table.add_row(f"{name} {kind}", "not there" if size is None else f"{size:,}")
    steps = summary["num_steps"]
    table.add_row("one sequence", f"T = {steps} transitions, {steps + 1} frames")
    for name, text in (_of_features if "features" in summary else _of_pixels)(summary):
        table.add_row(Text(name), text)
    if summary.get("looked_at"):
        count = len(summary["findings"])
        wrong = f"{count} warning{'s' if count > 1 else ''}" if count else "nothing looks wrong"
        table.add_row("looked through", f"{summary['looked_at']}: {wrong}")
    console.print(table)
    if not known:
        console.print("Which transformations act in these data is not known: no true activity", highlight=False)
        return

    table = Table(title=f"Activity in {summary['sequences']:,} {sequences}", title_justify="left")
    table.add_column("", no_wrap=True)
    table.add_column("one unit step")
    for heading in ("on", "stays\non", "mean\nspeed", "speeds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, entry in known.items():
        mean = "–" if entry["mean"] is None else f"{entry['mean']:.2f}"
        speeds = "–" if entry["least"] is None else f"{entry['least']:.2f} to {entry['largest']:.2f}"
        shares = (_share(entry["on"]), _share(entry["persistence"]))
        table.add_row(*map(Text, (name, summary["unit_steps"][name], *shares, mean, speeds)))
    console.print(table)
    active = summary["activity"]["active"]
    most = max(count for count, share in enumerate(active) if share)
    together = ", ".join(f"{count} at {share:.1%}" for count, share in enumerate(active[: most + 1]))
    console.print(f"Transformations that act at once: {together} of the steps", highlight=False)


def _of_pixels(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is said of images."""
    channels, height, width = summary["image_shape"]
    channel, pixels = "channel" if channels == 1 else "channels", summary["pixels"]
    yield "one image", f"{channels} {channel}, {height} x {width} pixels, values in [0, 1]"
    names = {1: ("grey",), 3: ("red", "green", "blue")}.get(channels, tuple(map(str, range(channels))))
    for name, mean, deviation in zip(names, pixels["mean"], pixels["standard_deviation"], strict=True):
        yield f"channel {name}", f"mean {mean:.3f}, standard deviation {deviation:.3f}"
    yield "black pixels", f"{pixels['black']:.1%}"
    yield "sum of a frame", f"{pixels['sum']:.0f}, the mean L1 error of a black image"


def _of_features(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is said of vectors."""
    yield "one vector", f"{len(summary['features'])} features"
    for name, one in summary["features"].items():
        missing = f", {one['missing']:.1%} missing" if one["missing"] else ""
        if one["least"] is None:
            yield name, "no values"
        elif one["period"] is None:
            mean, deviation = f"mean {one['mean']:.4g}", f"standard deviation {one['standard_deviation']:.4g}"
            yield name, f"{mean}, {deviation}, {one['least']:.4g} to {one['largest']:.4g}{missing}"
        else:
            yield name, f"period {one['period']:.4g}, {one['least']:.4g} to {one['largest']:.4g}{missing}"


def described(summary: dict[str, Any]) -> str:
    """Return what data these are, in words: title, and protocol if there are several.

    Example:
        >>> described({"title": "rendered Shapes3D", "protocol": None})
        'rendered Shapes3D'
    """
    protocol = summary["protocol"]
    return summary["title"] if protocol is None else f"{summary['title']}, protocol {protocol}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
