"""Draw a transfer, which the gallery has not, from a trained run: ``docs/scripts/pictures.py RUN``."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from ffrl.core.errors import UserError
from stf.transfer.run import Request
from stf.transfer.run import run as transfer

DOCS = Path(__file__).parents[1]
WIDEST, COLOURS = 1250, 64
"""Pixels, beyond which pictures are made smaller by a whole number of times, and colours that they keep."""


def main(run: Path) -> None:
    """Draw into a temporary folder, and keep a smaller copy of the figure here."""
    with TemporaryDirectory() as name:
        folder = Path(name, "transfer")
        transfer(run, Request(), folder)
        with Image.open(folder / "transfer.png") as image:
            small = image.convert("RGB").reduce(-(-image.width // WIDEST))
            small.quantize(COLOURS, dither=Image.Dither.NONE).save(DOCS / "transfer.png", optimize=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/scripts/pictures.py RUN")
    try:
        main(Path(sys.argv[1]))
    except UserError as error:
        sys.exit(f"pictures: error: {error}")
