"""What figures and reports call frames: images, or vectors."""

from __future__ import annotations

import re
from collections.abc import Collection

from matplotlib.figure import Figure
from matplotlib.text import Text

VECTORS = {
    r"channels and pixels of images in \[0, 1\]": "features, in standard deviations",
    "larger in the picture": "larger in the features",
    "the pictures of each field": "the figures of each field",
    "Rows of pictures": "Rows of bars",
    r"\breal image": "held-out image",
    r"\bReal image": "Held-out image",
    r"\b([Aa])n (image|picture)\b": r"\1 vector",
    r"\b(I|P)(mage|icture)(s?)\b": r"Vector\3",
    r"\b(image|picture)(s?)\b": r"vector\2",
}
"""What is said of images, and what of vectors in its place; one after the other."""


def of_vectors(text: str, names: Collection[str] = ()) -> str:
    """Return what is said of images as it is said of vectors; names in it stay as they are.

    Example:
        >>> of_vectors("An image, and the real images of sensor image", ["sensor image"])
        'A vector, and the held-out vectors of sensor image'
    """
    kept = sorted((name for name in names if name), key=len, reverse=True)
    parts = re.split(rf"(?<!\w)({'|'.join(map(re.escape, kept))})(?!\w)", text) if kept else [text]
    for place in range(0, len(parts), 2):
        for said, instead in VECTORS.items():
            parts[place] = re.sub(said, instead, parts[place])
    return "".join(parts)


def draw_of_vectors(figure: Figure, names: Collection[str] = ()) -> Figure:
    """Return ``figure`` with all of its text as it is said of vectors; see :func:`of_vectors`.

    Example:
        >>> figure = Figure()
        >>> word = figure.text(0, 0, "Other images")
        >>> draw_of_vectors(figure).texts[0].get_text()
        'Other vectors'
    """
    for text in figure.findobj(Text):
        if isinstance(text, Text):
            text.set_text(of_vectors(text.get_text(), names))
    return figure
