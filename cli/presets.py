"""Configuration files: TOML on disk, or one of the presets that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ffrl.core.errors import UserError
from ffrl.core.reading import read_toml

FOLDER = Path(__file__).parents[1] / "configs"
"""The presets: ``stf/configs`` beside ``stf/cli`` when installed, ``configs`` beside ``cli`` in a checkout."""


def presets() -> list[str]:
    """Return the names of the presets.

    Example:
        >>> "compact" in presets()
        True
    """
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find(name: str) -> Path:
    """Return the file that ``--config name`` means: a preset by its bare name, else a path.

    Raises:
        UserError: a bare name of no preset and no file.
    """
    path = Path(name)
    if path.suffix == ".toml" or path.is_file() or path.name != name:
        return path
    if name in presets():
        return FOLDER / f"{name}.toml"
    raise UserError(f"--config: found {name!r}, expected a TOML file or one of the presets {', '.join(presets())}")


def read(path: Path) -> dict[str, Any]:
    """Return the contents of a TOML file, see :func:`ffrl.core.reading.read_toml`.

    Raises:
        UserError: it cannot be read, or is not TOML; the message has the position.
    """
    try:
        return read_toml(path)
    except UserError as error:
        raise UserError(f"--config: {error}") from None
