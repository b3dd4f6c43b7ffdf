"""What tells a grid of pictures that was rendered from the published one: a file beside its pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypedDict

from ffrl.config import DataConfig
from ffrl.core.errors import UserError
from ffrl.core.reading import read_json_object
from ffrl.core.schema import check
from ffrl.data.grids.factors import Factors

MARK = "rendered.json"
FORMAT = 1


class Made(NamedTuple):
    """A rendered grid: how many values each factor has, and the pixels of a side."""

    sizes: tuple[int, ...]
    size: int


class _Mark(TypedDict):
    format: int
    sizes: list[int]
    size: int


def mark_of(made: Made) -> dict[str, object]:
    """Return what the file says.

    Example:
        >>> mark_of(Made((2, 3), 64))
        {'format': 1, 'sizes': [2, 3], 'size': 64}
    """
    return {"format": FORMAT, "sizes": list(made.sizes), "size": made.size}


def made(root: Path | None) -> Made | None:
    """Return what is said of the rendered grid in a folder; None of any other folder.

    Raises:
        UserError: the file that says it is damaged, or of a version that is not known.

    Example:
        >>> made(None) is None
        True
    """
    if root is None or not (path := Path(root, MARK)).is_file():
        return None
    content = read_json_object(path)
    check(content, _Mark, str(path))
    sizes, size = tuple(content["sizes"]), content["size"]
    if content["format"] != FORMAT or min(sizes, default=0) < 1 or not 4 <= size <= 4096:
        found = f"format {content['format']} with sizes {sizes} and pictures of {size}"
        raise UserError(f"{path}: found {found}, expected format {FORMAT}, sizes from 1 and pictures from 4 to 4096")
    return Made(sizes, size)


def grid_of(config: DataConfig, factors: Factors) -> Factors:
    """Return the grid of the pictures in a folder: the published one, or with as many values as were rendered.

    Raises:
        UserError: the folder is that of another data set, or has more values than the published grid.

    Example:
        >>> grid_of(DataConfig(), Factors(("x", "y"), (8, 4))).sizes
        (8, 4)
    """
    found = made(config.root)
    if found is None:
        return factors
    if len(found.sizes) != len(factors.sizes):
        expected = f"{len(factors.sizes)}, those of {config.name}"
        raise UserError(f"{config.root}/{MARK}: found {len(found.sizes)} factors, expected {expected}")
    if any(size > most for size, most in zip(found.sizes, factors.sizes, strict=True)):
        raise UserError(f"{config.root}/{MARK}: found sizes {found.sizes}, expected at most {factors.sizes}")
    return replace(factors, sizes=found.sizes)


def side(config: DataConfig, published: int = 128) -> int:
    """Return the pixels of a side: of rendered images as the configuration or the folder says, else as published.

    Example:
        >>> side(DataConfig(name="isaac3d")), side(DataConfig(name="isaac3d", root=Path("there")))
        (64, 128)
    """
    if config.root is None:
        return config.rendered.size
    found = made(config.root)
    return published if found is None else found.size


RENDERED_STEPS = 8
"""T of sequences that are rendered as they are needed: nine frames go through all of a factor's range."""


def steps(config: DataConfig, published: int, kept: int) -> int:
    """Return T of a data set: of a grid with fewer values than the published one, as many as it has room for.

    Args:
        config: whose ``root`` is a folder, or None for sequences that are rendered as they are needed.
        published: T of the published protocol.
        kept: how many factors, the first ones, no transformation moves.

    Example:
        >>> steps(DataConfig(), 3, 1), steps(DataConfig(root=Path("there")), 3, 1)
        (8, 3)
    """
    if config.root is None:
        return RENDERED_STEPS
    found = made(config.root)
    return published if found is None else max(1, min(published, *(size - 1 for size in found.sizes[kept:])))
