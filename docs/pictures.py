"""Draw the pictures of the README from a trained run: ``python docs/pictures.py RUN``."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from rich.console import Console

from ffrl.core.errors import UserError
from stf.api import report as visualize
from stf.transfer.run import Request
from stf.transfer.run import run as transfer

DOCS = Path(__file__).parent
STILL = ("overview", "field-planes", "composition", "transfer")
WIDEST = 1250
"""Pixels; wider pictures are made smaller by a whole number of times."""


def main(run: Path) -> None:
    """Draw into a temporary folder, and keep smaller copies of a few figures and one animation here."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        drawn = visualize(run, folder, motion="png", console=Console(stderr=True))
        transfer(run, Request(), folder / "transfer")
        (folder / "transfer" / "transfer.png").rename(folder / "transfer.png")
        for name in STILL:
            with Image.open(folder / f"{name}.png") as image:
                small = image.convert("RGB").reduce(-(-image.width // WIDEST))
                small.save(DOCS / f"{name}.png", optimize=True)
        motion = next(path for path in drawn if path.name.startswith("motion-"))
        (DOCS / "motion.png").write_bytes(motion.read_bytes())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/pictures.py RUN")
    try:
        main(Path(sys.argv[1]))
    except UserError as error:
        sys.exit(f"pictures: error: {error}")
