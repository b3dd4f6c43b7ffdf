"""A recording as it is stored, for whoever looks at whole recordings and not at clips."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.typing import NDArray

if TYPE_CHECKING:
    from ffrl.data.base import Split


class Recorded(NamedTuple):
    """One recording, or the part of one that is in a split.

    Args:
        name: what it is called.
        split: that its clips are in.
        length: frames.
        read: takes the first frame and the one after the last, and returns those between as they are stored:
            ``(n, C, H, W)``, bytes or numbers in [0, 1], or vectors ``(n, F)``.
        files: names of its frames, where each is a file of its own.
        begin: frame of the whole recording that is the first of this part.
        quick: whether reading it is a look into memory or a mapped file, and not a call of someone's own code.

    Example:
        >>> import numpy as np
        >>> Recorded("a", "train", 9, lambda first, last: np.zeros((last - first, 2))).read(3, 7).shape
        (4, 2)
    """

    name: str
    split: Split
    length: int
    read: Callable[[int, int], NDArray[Any]]
    files: Callable[[], list[str]] | None = None
    begin: int = 0
    quick: bool = True
