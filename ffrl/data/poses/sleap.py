"""Files of SLEAP: labels (.slp) and its analysis files (.h5), through sleap-io."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

from ffrl.core.errors import UserError, require
from ffrl.core.files import PACKAGE
from ffrl.data.poses.tracks import Tracked, track
from ffrl.data.recordings.array_files import require_all_stored
from ffrl.data.skeleton import Skeleton

OLD_FORMAT = 1.0
"""What a file is that does not say its format: one from before formats had numbers."""
ONLY = "animal"
"""Name of the animal in a video in which nothing is tracked, since there is only one."""


def skeleton_of(path: Path) -> Skeleton:
    """Nodes and edges of a file, without its poses.

    Raises:
        UserError: sleap-io is not installed, or there is more than one skeleton.
    """
    return _skeleton(_labels(path, lazy=True), path)


def read_sleap(path: Path) -> list[Tracked]:
    """The animals of every video of a file; a pose that somebody has corrected stands for the predicted one.

    Raises:
        UserError: sleap-io is not installed, there is more than one skeleton, or nothing says which animal is which.
    """
    labels = _labels(path)
    skeleton = _skeleton(labels, path)
    found: list[Tracked] = []
    for place, video in enumerate(labels.videos):
        name = path.name if len(labels.videos) == 1 else f"{path.name}, video {place + 1}"
        followed: dict[str, dict[int, Any]] = {}
        loose: dict[int, list[Any]] = {}
        for frame in labels.labeled_frames:
            if frame.video is not video:
                continue
            number = int(frame.frame_idx)
            for animal, pose in _poses(frame):
                if animal is None:
                    loose.setdefault(number, []).append(pose)
                elif number in followed.setdefault(animal, {}):
                    raise UserError(f"{path}: frame {number}: found two poses of track {animal!r}, expected one")
                else:
                    followed[animal][number] = pose
        count = sum(map(len, loose.values()))
        if not followed and loose:
            crowded = [number for number, poses in loose.items() if len(poses) > 1][:1]
            expected = "tracks, which say which animal is which: SLEAP's tracker makes them"
            found_here = f"{len(loose[crowded[0]])} poses without a track in frame {crowded[0]}" if crowded else ""
            require(not crowded, str(path), found_here, expected)
            followed, count = {ONLY: {number: poses[0] for number, poses in loose.items()}}, 0
        tracks = [track(animal, poses, len(skeleton.nodes)) for animal, poses in followed.items()]
        if tracks:
            found.append(Tracked(name, skeleton, tracks, count))
    require(bool(found), str(path), "no poses", "some")
    return found


def _poses(frame: Any) -> Iterator[tuple[str | None, tuple[Any, Any]]]:
    """Name of the track, points and scores of the poses in a frame."""
    corrected = list(frame.user_instances)
    animals = {_animal(one) for one in corrected}
    for one in corrected:
        yield _animal(one), (one.numpy(), None)
    for one in frame.predicted_instances:
        if _animal(one) not in animals:
            yield _animal(one), (one.numpy(), one.points["score"])


def _animal(instance: Any) -> str | None:
    return None if instance.track is None else str(instance.track.name)


def _skeleton(labels: Any, path: Path) -> Skeleton:
    count = len(labels.skeletons)
    require(count == 1, str(path), f"{count} skeletons", "one")
    nodes = list(labels.skeletons[0].node_names)
    return Skeleton(tuple(nodes), tuple((first, last) for first, last in labels.skeletons[0].edge_inds))


def _labels(path: Path, lazy: bool = False) -> Any:
    """What sleap-io makes of a file; no video is opened."""
    try:
        import sleap_io
    except ImportError:
        expected = f"it for files of SLEAP: pip install '{PACKAGE}[poses]'"
        raise UserError(f"{path}: found no package sleap-io, expected {expected}") from None
    import h5py

    with h5py.File(path, "r") as file:
        require_all_stored(file, path)
        if "track_occupancy" in file:
            return sleap_io.load_analysis_h5(str(path))
        old = "format_id" not in file["metadata"].attrs
    with _with_format(path) if old else nullcontext(path) as readable:
        return sleap_io.load_slp(str(readable), open_videos=False, lazy=lazy)


@contextmanager
def _with_format(path: Path) -> Iterator[Path]:
    """A copy that says its format, which sleap-io asks for."""
    import h5py

    with TemporaryDirectory() as folder:
        copy = Path(folder, "labels.slp")
        copyfile(path, copy)
        with h5py.File(copy, "r+") as file:
            file["metadata"].attrs["format_id"] = OLD_FORMAT
        yield copy
