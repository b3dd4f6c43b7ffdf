"""Poses in files of SLEAP and DeepLabCut; nothing read can execute code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ffrl.config import DataConfig
from ffrl.config.data import PosesConfig
from ffrl.core.errors import UserError, require
from ffrl.core.files import reporting
from ffrl.data.poses import deeplabcut, sleap
from ffrl.data.poses.sequences import PoseSequences, Stance, stance
from ffrl.data.poses.tracks import Tracked, confident, pieces
from ffrl.data.recordings.array_files import damage_named
from ffrl.data.recordings.pictures import natural_key
from ffrl.data.recordings.split import clip_count, held_out
from ffrl.data.skeleton import Skeleton, joined
from ffrl.data.vectors.sequences import Recording, VectorSequences

KINDS = (".slp", ".h5", ".csv")
"""Suffixes of files, the first ones being taken where a recording has several."""


class Piece(NamedTuple):
    """Vectors of one animal ``(S, F)`` without a gap, from a frame on, counted after the stride."""

    name: str
    first: int
    values: Tensor


def find_poses(root: Path) -> list[Path]:
    """The file that ``root`` is, or all below it, in natural order; hidden ones are left out.

    Of what DeepLabCut writes as .h5 and as .csv, the first is taken.

    Raises:
        UserError: there is none, it cannot be read, or there are two of one recording.
    """
    expected = f"a file of poses ({', '.join(KINDS)}), or a folder of them"
    with reporting("read", root):
        if not root.exists():
            raise UserError(f"data.root: found nothing at {root}, expected {expected}")
        every = sorted(root.rglob("*"), key=lambda path: natural_key(str(path))) if root.is_dir() else [root]
        paths = [
            path
            for path in every
            if path.suffix.lower() in KINDS
            and path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(root).parts)
        ]
    paths = [path for path in paths if path.suffix.lower() != ".csv" or path.with_suffix(".h5") not in paths]
    require(bool(paths), "data.root", f"no poses in {root}", expected)
    taken: dict[Path, Path] = {}
    for path in paths:
        recording = path.with_name(path.stem.removesuffix(".analysis").removesuffix("_filtered"))
        other = taken.setdefault(recording, path)
        require(other == path, "data.root", f"{other.name} and {path.name}", "one file of each recording")
    return paths


def read_poses(path: Path) -> list[Tracked]:
    """The animals in every video of a file.

    Raises:
        UserError: it cannot be read, is damaged, or is of another kind.
    """
    with reporting("read", path), damage_named(path):
        return [deeplabcut.read_deeplabcut(path)] if _by_deeplabcut(path) else sleap.read_sleap(path)


def skeleton_of(path: Path) -> Skeleton:
    """Nodes and edges of a file, without its poses.

    Raises:
        UserError: as :func:`read_poses`.
    """
    with reporting("read", path), damage_named(path):
        return (deeplabcut if _by_deeplabcut(path) else sleap).skeleton_of(path)


def sequences(config: DataConfig, device: Any = "cpu") -> PoseSequences:
    """The poses that ``config.root`` is or holds; ``device`` is ignored, batches are made on the CPU.

    Of several videos whole ones are held out; a single one is divided in time, all its animals at the same frame.

    Raises:
        UserError: none there, unreadable ones, nodes that are not there, or too few poses.
    """
    if config.root is None:
        raise UserError("data.root: found none, expected a file of poses or a folder of them")
    root, chosen, length = config.root, config.poses, config.num_steps + 1
    paths = find_poses(root)
    videos = [video for path in paths for video in read_poses(path)]
    how = _stance(videos[0].skeleton, chosen)
    names = [video.name for video in videos]
    if len(set(names)) < len(names):  # files of the same name in several folders
        videos = [video._replace(name=f"{place + 1}: {video.name}") for place, video in enumerate(videos)]
    cut = [_pieces(video, how, chosen) for video in videos]
    hop = chosen.hop or max(1, length // 2)
    divided = _divided([video.name for video in videos], cut, length, hop, chosen.validation)
    train, validation = ([Recording(one.values, None, one.name) for one in part] for part in divided)
    title = f"poses of {root.resolve().name}"
    inner = VectorSequences(
        train, config.num_steps, hop, validation, how.features, None, (), (), title=title, name="poses"
    )
    data = PoseSequences(inner, how)
    data.about += _left_out(videos, cut, length)
    return data


def frame_shape(config: DataConfig) -> tuple[int]:
    """(F,) of the first file; (1,) while it is not known where the files are.

    Raises:
        UserError: none there, or it cannot be read.
    """
    if config.root is None:
        return (1,)
    return (len(_stance(skeleton_of(find_poses(config.root)[0]), config.poses).features),)


def _by_deeplabcut(path: Path) -> bool:
    """Whether a file is one of DeepLabCut."""
    if path.suffix.lower() != ".h5":
        return path.suffix.lower() == ".csv"
    import h5py

    with h5py.File(path, "r") as file:
        return not {"metadata", "track_occupancy"} & set(file)


def _stance(found: Skeleton, chosen: PosesConfig) -> Stance:
    """The nodes that are taken, joined, and how they are aligned."""
    if chosen.edges:
        found = joined(_pairs(chosen.edges, found.nodes), found.nodes, "data.poses.edges")
    part = found.part(_words(chosen.nodes), "data.poses.nodes")
    return stance(part, chosen.align, chosen.centre, chosen.heading, "data.poses.")


def _pairs(text: str, nodes: Sequence[str]) -> list[tuple[str, str]]:
    """Names of joined nodes, from ``NAME-NAME`` with commas between them; a name may have a hyphen."""
    made = []
    for word in _words(text):
        cuts = [(word[:place].strip(), word[place + 1 :].strip()) for place, sign in enumerate(word) if sign == "-"]
        fits = [pair for pair in cuts if set(pair) <= set(nodes)]
        require(len(fits) == 1, "data.poses.edges", word, f"NAME-NAME of {', '.join(nodes):.300}")
        made += fits
    return made


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _pieces(video: Tracked, how: Stance, chosen: PosesConfig) -> list[Piece]:
    """The tracks of a video, cut where a pose is missing altogether."""
    missing = [name for name in how.skeleton.nodes if name not in video.skeleton.nodes]
    require(not missing, video.name, f"no node {', '.join(missing)}", "those of the first file")
    nodes = [video.skeleton.nodes.index(name) for name in how.skeleton.nodes]
    made = []
    for one in video.tracks:
        skipped = -one.first % chosen.stride
        points = torch.from_numpy(confident(one, chosen.confidence)[skipped :: chosen.stride, nodes])
        begin = (one.first + skipped) // chosen.stride
        values = how.vectors(points)
        for first, end in pieces(values.numpy()[..., None]):
            name = f"{video.name}: {one.name} from frame {(begin + first) * chosen.stride}"
            made.append(Piece(name, begin + first, values[first:end]))
    return made


def _divided(
    names: list[str], cut: list[list[Piece]], length: int, hop: int, share: float
) -> tuple[list[Piece], list[Piece]]:
    """Pieces long enough for a clip, of the training and of the validation split."""
    clips = [sum(clip_count(len(one.values), length, hop) for one in video) for video in cut]
    there = [place for place, count in enumerate(clips) if count]
    expected = f"an animal that is followed for {length} frames, T + 1"
    require(bool(there), names[0], "none", expected)
    if len(there) == 1:
        video = cut[there[0]]
        border = shared_border([(one.first, len(one.values)) for one in video], length, hop, share, names[there[0]])
        train = [one._replace(values=one.values[: max(0, border - one.first)]) for one in video]
        validation = [one._replace(values=one.values[max(0, border - one.first) :]) for one in video]
    else:
        held = {there[place] for place in held_out([names[i] for i in there], [clips[i] for i in there], share)}
        train = [one for place in there if place not in held for one in cut[place]]
        validation = [one for place in sorted(held) for one in cut[place]]
    long = [[one for one in part if len(one.values) >= length] for part in (train, validation)]
    return long[0], long[1]


def shared_border(spans: Sequence[tuple[int, int]], length: int, hop: int, share: float, source: str) -> int:
    """Return b so that clips of frames before b are for training and clips of those from b on for validation.

    The share of the validation clips is as near as possible to ``share``, at least one clip on each side.

    Args:
        spans: first frame and number of frames of every piece.
        length: frames of a clip.
        hop: frames between the starts of two clips.
        share: of validation clips.
        source: of the frames, for messages.

    Raises:
        UserError: there is no such border.

    Example:
        >>> shared_border([(0, 100), (0, 100)], length=9, hop=4, share=0.2, source="flies.slp")
        76
    """
    borders = np.arange(min(first for first, _ in spans), max(first + size for first, size in spans) + 1)
    train, validation = np.zeros((2, len(borders)), dtype=np.int64)
    for first, size in spans:
        before = np.clip(borders - first, 0, size)
        train += np.maximum(0, (before - length) // hop + 1)
        validation += np.maximum(0, (size - before - length) // hop + 1)
    fits = (train > 0) & (validation > 0)
    expected = f"frames for a clip of {length} before some frame and for one after it, to train on and to validate on"
    require(bool(fits.any()), source, "too few", expected)
    wrong = np.where(fits, np.abs(validation / np.maximum(train + validation, 1) - share), np.inf)
    return int(borders[np.lexsort((-(train + validation), wrong))[0]])


def _left_out(videos: list[Tracked], cut: list[list[Piece]], length: int) -> str:
    """What of the files is in no clip, in words; empty if nothing is."""
    short = sum(len(one.values) < length for video in cut for one in video)
    loose = sum(video.loose for video in videos)
    text = f", {short} pieces of tracks left out that are shorter than a clip" if short else ""
    return text + (f", {loose} poses left out that belong to no track" if loose else "")
