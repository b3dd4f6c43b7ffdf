"""Images per second of the Shapes3D renderer.

Run ``python benchmarks/render_shapes3d.py``; the best of several repeats counts, wall time and processor time.
"""

from __future__ import annotations

import argparse
import time

import torch

from ffrl.data.shapes3d.render import SIZES, render


def best_seconds(factors: torch.Tensor, repeats: int) -> tuple[float, float]:
    """Least wall time and least processor time of rendering ``factors`` once."""
    wall, cpu = [], []
    for _ in range(repeats):
        start, busy = time.perf_counter(), time.process_time()
        render(factors)
        if factors.is_cuda:
            torch.cuda.synchronize()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - busy)
    return min(wall), min(cpu)


def main() -> None:
    """Time random factors, with one line per number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=576, help="images per call (default 576)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads (default 1 2)")
    parser.add_argument("--repeats", type=int, default=20, help="calls, of which the best counts (default 20)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    factors = torch.rand(options.images, len(SIZES), generator=generator) * (torch.tensor(SIZES) - 1)
    factors = factors.to(options.device)
    for threads in options.threads:
        torch.set_num_threads(threads)
        render(factors)
        wall, cpu = best_seconds(factors, options.repeats)
        print(
            f"{threads} thread(s) on {options.device}: {options.images / wall:,.0f} images/s, "
            f"{1e6 * wall / options.images:.0f} µs an image (processor time {1e6 * cpu / options.images:.0f} µs)"
        )


if __name__ == "__main__":
    main()
