"""What a data set holds: sizes, transformations, and statistics of its activity and its pixels."""

from __future__ import annotations

from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ffrl.data.base import SequenceData, Split
from ffrl.data.mnist import SPLITS
from ffrl.errors import UserError
from ffrl.evaluation.sequences import choose, mixed_batches

SEQUENCES = 1000
"""Mixed sequences that statistics are taken over, or as many as there are."""
UNIT_STEPS = {
    "ffrl": ("scale + 0.1", "10° to the left", "hue + 20°"),
    "sta": ("scale × 1.1", "20° to the left", "hue + 20°"),
}
"""What one unit step of scaling, rotation and hue means, by protocol (see :func:`ffrl.data.transform.parameters`)."""


def summarise(data: SequenceData, split: Split = "validation", seed: int = 0) -> dict[str, Any]:
    """Return what a data set holds, as plain numbers.

    Args:
        data: the sequences.
        split: whose images the statistics are taken over.
        seed: chooses the mixed sequences.

    Returns:
        ``splits`` (size by name, None where it is not there), ``image_shape``, ``num_steps``, ``unit_steps`` in words
        by transformation, ``activity`` (see :func:`activity_statistics`), ``pixels`` (see :func:`pixel_statistics`),
        ``sequences``, ``split`` and ``seed``.

    Raises:
        UserError: the split is not there.

    Example:
        >>> from ffrl.config import DataConfig
        >>> from ffrl.data import load
        >>> summarise(load(DataConfig()))["splits"]
        {'train': 8000, 'validation': 2000, 'test': None}
    """
    indices = choose(data, split, min(SEQUENCES, data.size(split)), seed)
    batches = [(batch.activity.cpu(), batch.frames.cpu()) for batch in mixed_batches(data, split, indices, seed)]
    activity, frames = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return {
        "name": data.name,
        "protocol": data.protocol,
        "splits": {name: _size(data, name) for name in SPLITS},
        "image_shape": list(data.image_shape),
        "num_steps": data.num_steps,
        "unit_steps": dict(zip(data.transformations, UNIT_STEPS[data.protocol], strict=True)),
        "activity": activity_statistics(activity, data.transformations),
        "pixels": pixel_statistics(frames),
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


def pixel_statistics(frames: Tensor) -> dict[str, Any]:
    """Return statistics of frames ``(N, T+1, C, H, W)``: mean and standard deviation by channel, and the black share.

    Example:
        >>> pixel_statistics(torch.tensor([0.0, 1.0]).view(1, 2, 1, 1, 1))
        {'mean': [0.5], 'standard_deviation': [0.5], 'black': 0.5, 'sum': 0.5}
    """
    dims = (0, 1, 3, 4)
    return {
        "mean": frames.mean(dims).tolist(),
        "standard_deviation": frames.double().var(dims, correction=0).sqrt().tolist(),
        "black": (frames == 0).all(2).double().mean().item(),
        "sum": frames.sum((-3, -2, -1)).mean().item(),
    }


def print_summary(summary: dict[str, Any], console: Console) -> None:
    """Print the result of :func:`summarise` as two tables."""
    table = Table(title=f"{summary['name']}, protocol {summary['protocol']}", title_justify="left", show_header=False)
    for name, size in summary["splits"].items():
        table.add_row(f"{name} images", "not there (--data.root)" if size is None else f"{size:,}")
    channels, height, width = summary["image_shape"]
    table.add_row("one image", f"{channels} channels, {height} x {width} pixels, values in [0, 1]")
    steps = summary["num_steps"]
    table.add_row("one sequence", f"T = {steps} transitions, {steps + 1} frames")
    pixels = summary["pixels"]
    names = ("red", "green", "blue") if channels == 3 else tuple(map(str, range(channels)))
    for name, mean, deviation in zip(names, pixels["mean"], pixels["standard_deviation"], strict=True):
        table.add_row(f"channel {name}", f"mean {mean:.3f}, standard deviation {deviation:.3f}")
    table.add_row("black pixels", f"{pixels['black']:.1%}")
    table.add_row("sum of a frame", f"{pixels['sum']:.0f}, the mean L1 error of a black image")
    console.print(table)

    table = Table(title=f"Activity in {summary['sequences']:,} mixed sequences", title_justify="left")
    for heading in ("", "one unit step", "on", "stays on", "mean speed", "speeds"):
        table.add_column(heading, justify="left" if heading in ("", "one unit step") else "right")
    activity = summary["activity"]
    for name, entry in activity["transformations"].items():
        mean = "–" if entry["mean"] is None else f"{entry['mean']:.2f}"
        speeds = "–" if entry["least"] is None else f"{entry['least']:.2f} to {entry['largest']:.2f}"
        shares = (_share(entry["on"]), _share(entry["persistence"]))
        table.add_row(name, summary["unit_steps"][name], *shares, mean, speeds)
    console.print(table)
    shares = ", ".join(f"{count} at {share:.1%}" for count, share in enumerate(activity["active"]))
    console.print(f"Transformations that act at once: {shares} of the steps", highlight=False)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
