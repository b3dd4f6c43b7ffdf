"""Whether the fields of a run on poses follow how the animals move: forward, sideways, and turning.

python benchmarks/poses.py RUN [--centre thorax] [--heading head]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

import stf
from ffrl.data.poses.align import moved
from ffrl.data.poses.sequences import PoseSequences

MOTIONS = ("forward", "sideways", "turning")


def body_speeds(points: Tensor, centre: int, heading: int) -> Tensor:
    """Forward and sideways displacement of the centre, as seen from the pose before it, and change of the heading.

    Args:
        points: ``(B, T+1, nodes, 2)``.
        centre, heading: places of these nodes.

    Returns:
        ``(B, T, 3)``, in the unit of the points and in radians, per transition; NaN where a node is missing.

    Example:
        >>> turn = torch.tensor([[[[0.0, 0.0], [1.0, 0.0]], [[2.0, 1.0], [2.0, 2.0]]]])
        >>> body_speeds(turn, 0, 1).round(decimals=3).tolist()
        [[[2.0, 1.0, 1.571]]]
    """
    middle, ahead = points[..., centre, :], points[..., heading, :]
    seen = moved(torch.stack([middle, ahead], -2)[:, 1:], middle[:, :-1], ahead[:, :-1])
    now = seen[..., 1, :] - seen[..., 0, :]
    return torch.cat([seen[..., 0, :], torch.atan2(now[..., 1], now[..., 0]).unsqueeze(-1)], -1)


def apart(data: PoseSequences) -> Tensor:
    """Held-out clips that share no transition."""
    chosen: list[int] = []
    end = -1
    firsts = data.inner._starts[data.parts["validation"]].tolist()
    for place, first in enumerate(firsts):
        if first >= end:
            chosen.append(place)
            end = first + data.num_steps
    return torch.tensor(chosen)


def correlations(found: Tensor, measured: Tensor) -> Tensor:
    """Pearson's r of every field with every motion, ``(N, K)`` and ``(N, M)`` -> ``(K, M)``, where none is missing."""
    known = ~measured.isnan().any(1)
    return torch.corrcoef(torch.cat([found[known], measured[known]], 1).T)[: found.shape[1], found.shape[1] :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--centre", default="thorax")
    parser.add_argument("--heading", default="head")
    given = parser.parse_args()
    run = stf.Run.open(given.run)
    data = run.data
    assert isinstance(data, PoseSequences)
    clips = apart(data)
    frames = data.mixed("validation", clips).frames
    skeleton = data.stance.skeleton
    places = skeleton.nodes.index(given.centre), skeleton.nodes.index(given.heading)
    speeds = body_speeds(skeleton.points(frames, data.features.names), *places)
    found = run.model.infer(frames).double()
    r = correlations(found.flatten(0, 1), speeds.flatten(0, 1))
    known = int((~speeds.isnan().any(-1)).sum())
    print(f"{known} held-out transitions in {len(clips)} clips that share none; r with every field's inferred speed")
    print("field  active  " + "  ".join(f"{name:>9}" for name in MOTIONS))
    for field, row in enumerate(r):
        active = (found[..., field] != 0).double().mean()
        if active > 0:
            print(f"{field:5}  {active:6.0%}  " + "  ".join(f"{value:9.2f}" for value in row))
    best = r.nan_to_num().abs().amax(0)
    print("best |r|       " + "  ".join(f"{value:9.2f}" for value in best))


if __name__ == "__main__":
    with torch.no_grad():
        main()
