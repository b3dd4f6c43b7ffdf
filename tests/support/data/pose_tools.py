"""Poses of animals that walk and turn, and files of DeepLabCut with them."""

from __future__ import annotations

import csv
import pickle
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from ffrl.config import DataConfig, PosesConfig

NODES = ("head", "thorax", "left wing", "tail-tip")
BODY = np.array([[4.0, 0.0], [0.0, 0.0], [-2.0, 3.0], [-5.0, 0.5]])
"""Where the nodes of an animal are that stands at the origin and looks along the x axis."""


def walk(frames: int, seed: int = 0) -> NDArray[np.float64]:
    """Points ``(frames, nodes, 2)`` of one animal."""
    source = np.random.default_rng(seed)
    angle = source.uniform(-np.pi, np.pi) + 0.1 * source.normal(size=frames).cumsum()
    place = 200 + source.normal(size=(frames, 2)).cumsum(0)
    turned = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], -1).reshape(frames, 2, 2)
    return np.einsum("fij,nj->fni", turned, BODY) + place[:, None] + 0.1 * source.normal(size=(frames, 4, 2))


def columns(animals: Sequence[str], nodes: Sequence[str] = NODES) -> list[tuple[str, ...]]:
    """Names of the columns of DeepLabCut; those of a single animal for none."""
    individuals = [(animal,) for animal in animals] or [()]
    return [
        ("DLC_resnet50", *individual, node, coord)
        for individual in individuals
        for node in nodes
        for coord in ("x", "y", "likelihood")
    ]


def table(points: Sequence[NDArray[np.float64]], scores: float | NDArray[np.float64] = 0.9) -> NDArray[np.float64]:
    """What stands in the columns of animals with points ``(S, nodes, 2)``."""
    parts = [np.concatenate([one, np.broadcast_to(scores, one.shape[:2])[..., None]], -1) for one in points]
    return np.stack(parts, 1).reshape(len(parts[0]), -1)


def write_csv(
    path: Path,
    points: Sequence[NDArray[np.float64]],
    animals: Sequence[str] = (),
    nodes: Sequence[str] = NODES,
    scores: float | NDArray[np.float64] = 0.9,
    first: int = 0,
) -> Path:
    """A file as analyze_videos writes it with save_as_csv; nothing stands where a number is missing."""
    names = ["scorer", *(["individuals"] if animals else []), "bodyparts", "coords"]
    rows = [[name, *level] for name, level in zip(names, zip(*columns(animals, nodes), strict=True), strict=True)]
    for frame, row in enumerate(table(points, scores)):
        rows.append([str(first + frame), *("" if np.isnan(value) else repr(float(value)) for value in row)])
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def write_hdf5(
    path: Path,
    points: Sequence[NDArray[np.float64]],
    animals: Sequence[str] = (),
    nodes: Sequence[str] = NODES,
    kind: bytes | None = None,
) -> Path:
    """A file as analyze_videos writes it: a table of pandas in the layout of PyTables, the names of columns pickled."""
    values = table(points)
    rows = np.zeros(len(values), [("index", "<i8"), ("values_block_0", "<f8", (values.shape[1],))])
    rows["index"], rows["values_block_0"] = np.arange(len(values)), values
    with h5py.File(path, "w") as file:
        made = file.create_group("df_with_missing").create_dataset("table", data=rows)
        made.attrs["values_block_0_kind"] = np.bytes_(
            pickle.dumps(columns(animals, nodes), 0) if kind is None else kind
        )
    return path


def config(root: Path, num_steps: int = 4, **options: object) -> DataConfig:
    """The configuration of poses at a place."""
    return DataConfig(name="poses", root=root, num_steps=num_steps, poses=PosesConfig(**options))
