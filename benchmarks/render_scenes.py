"""Time of an image of the scenes that MuJoCo renders, and how much of it changes with a unit step of each factor.

Run ``python benchmarks/render_scenes.py``; with ``--strips FOLDER`` it also draws nine frames of every factor.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ffrl.data.grids.factors import Factors
from ffrl.data.rendered.falcor3d import RenderedFalcor3D
from ffrl.data.rendered.isaac3d import RenderedIsaac3D
from ffrl.data.rendered.sequences import scene_numbers
from ffrl.data.rendered.stage import Stage

FRAMES = 9


def digits_along(factors: Factors, column: int, images: int, seed: int) -> torch.Tensor:
    """Digits ``(images, FRAMES, F)`` of random images that go through the values of one factor."""
    generator = torch.Generator().manual_seed(seed)
    digits = (torch.rand(images, 1, len(factors.sizes), generator=generator) * torch.tensor(factors.sizes)).floor()
    digits = digits.repeat(1, FRAMES, 1)
    digits[..., column] = torch.arange(FRAMES)
    return digits


def main() -> None:
    """Print a line for each factor of each scene."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24, help="random images per factor (default 24)")
    parser.add_argument("--size", type=int, default=64, help="pixels of a side (default 64)")
    parser.add_argument("--seed", type=int, default=0, help="of the images (default 0)")
    parser.add_argument("--strips", type=Path, help="folder for the drawings")
    options = parser.parse_args()
    for data in (RenderedIsaac3D, RenderedFalcor3D):
        stage, strips, busy, count = Stage(data.scene, options.size), [], 0.0, 0
        print(data.title)
        for column in data.columns:
            digits = digits_along(data.grid, column, options.images, options.seed)
            numbers = scene_numbers(data.grid, digits.flatten(0, 1))
            start = time.process_time()
            frames = np.stack([stage.draw(row) for row in numbers]).reshape(*digits.shape[:2], 3, options.size, -1)
            busy, count = busy + time.process_time() - start, count + len(numbers)
            change = np.abs(np.diff(frames.astype(float), axis=1)).sum((2, 3, 4)) / 255
            print(f"  {data.grid.names[column]:20} L1 of a unit step {change.mean():4.0f}, least {change.min():4.0f}")
            strips.append(np.concatenate(list(frames[0].transpose(0, 2, 3, 1)), axis=1))
        stage.close()
        print(f"  {1000 * busy / count:.1f} ms of processor time an image of {options.size} x {options.size} pixels")
        if options.strips is not None:
            options.strips.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.concatenate(strips)).save(options.strips / f"{data.name}.png")


if __name__ == "__main__":
    main()
