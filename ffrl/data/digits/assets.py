"""Where the files that come with the package are."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from ffrl.core.errors import UserError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


def asset(name: str) -> Path | Traversable:
    """Return the embedded file ``name``: from the installed ``ffrl.assets``, else from ``assets`` beside ``ffrl``.

    Raises:
        UserError: if it is in neither place.

    Example:
        >>> asset("mnist-10k-labels-idx1-ubyte.gz").name
        'mnist-10k-labels-idx1-ubyte.gz'
    """
    try:
        file = resources.files("ffrl.assets") / name
    except ModuleNotFoundError:  # a checkout that is used without installing it
        file = Path(__file__).parents[3] / "assets" / name
    if not file.is_file():
        raise UserError(f"{file}: found no such file, expected the one that comes with the package; reinstall it")
    return file
