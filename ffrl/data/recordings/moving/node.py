"""The way of one point of an animal, from a file of poses beside its recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ffrl.core.errors import UserError, require
from ffrl.data.poses.files import KINDS, read_poses

FLAG = "--data.sequences.follow-node"


def poses_beside(path: Path) -> Path:
    """Return the file of poses that has the name of a recording: the first kind of :data:`KINDS` that there is.

    Raises:
        UserError: there is none.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "walk.csv").touch()
        ...     poses_beside(Path(folder, "walk.mp4")).name
        'walk.csv'
    """
    names = [path.with_name(path.stem + kind) for kind in KINDS]
    there = [name for name in names if name != path and name.is_file()]
    if not there:
        expected = ", ".join(name.name for name in names if name != path)
        raise UserError(f"{path}: found no file of poses beside it, expected one of {expected} ({FLAG})")
    return there[0]


def way_of(path: Path, node: str, frames: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return y and x of a point in frames of a recording, ``(n, 2)`` in pixels; NaN where it was not found.

    Of several animals it is the one of which the point was found most often, the first of equal ones.

    Args:
        path: the recording.
        node: name of the point.
        frames: numbers of the frames, from 0.

    Raises:
        UserError: no file of poses beside it, or none that can be read; several videos in it; or no such point.

    Example:
        >>> import tempfile
        >>> head = "scorer,DLC,DLC,DLC\\nbodyparts,nose,nose,nose\\ncoords,x,y,likelihood\\n"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "walk.csv").write_text(head + "0,5,6,0.9\\n1,7,8,0.9\\n")
        ...     way_of(Path(folder, "walk.mp4"), "nose", np.arange(3)).tolist()
        [[6.0, 5.0], [8.0, 7.0], [nan, nan]]
    """
    file = poses_beside(path)
    videos = read_poses(file)
    require(len(videos) == 1, str(file), f"poses of {len(videos)} videos", "of one")
    nodes = videos[0].skeleton.nodes
    require(node in nodes, "data.sequences.follow-node", node, f"one of {', '.join(nodes):.300}, as in {file}")
    ways = []
    for track in videos[0].tracks:
        way = np.full((int(frames.max()) + 1, 2), np.nan)
        points = track.points[: max(0, len(way) - track.first), nodes.index(node), ::-1]
        way[track.first : track.first + len(points)] = points
        ways.append(way[frames])
    return max(ways, key=lambda way: int((~np.isnan(way).any(1)).sum()))
