"""Build a wheel, install it in an environment outside the clone, and train, evaluate, draw and export there."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOMES = {"ffrl": "ffrl", "stf": "stf", "cli": "stf/cli", "configs": "stf/configs", "assets": "ffrl/assets"}
"""Folders of the clone, and where their files are in the wheel."""
KINDS = (".py", ".toml", ".gz", ".md", ".typed", ".j2", ".css", ".js", ".safetensors")
"""Files of these folders that a wheel has to have."""
SMALL = ["--steps", "6", "--batch-size", "8", "--model.width", "16", "--model.depth", "1", "--model.latent-dim", "8"]
SMALL += ["--model.num-fields", "2"]
FIT = """
import sys
from pathlib import Path

import ffrl, numpy as np, stf, torch

for package in (stf, ffrl, stf.data):
    assert Path(package.__file__).is_relative_to(sys.prefix), package.__file__
frames = np.random.default_rng(0).integers(0, 256, (20, 4, 12, 20), dtype=np.uint8)
run = stf.fit(frames, steps=6, out="arrays", batch_size=8, model={"width": 16, "depth": 1}, quiet=True)
assert run.finished
assert stf.load("arrays").infer(torch.rand(2, 4, 1, 12, 20)).shape[:2] == (2, 3)
assert [path.name for path in run.export("programs")] == ["encoder.pt2", "flow.pt2", "decoder.pt2"]
"""


def call(*arguments: str | Path, cwd: Path) -> None:
    """Run a command, and stop with what it printed if it fails."""
    start = time.perf_counter()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        list(map(str, arguments)), cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    shown = " ".join(map(str, arguments[:4])).splitlines()[0]
    if done.returncode:
        sys.exit(f"{done.stdout}\nwheel: error: {shown}: exit status {done.returncode}")
    print(f"{time.perf_counter() - start:5.1f} s  {shown}", flush=True)


def tracked() -> list[Path]:
    """The files of the clone that git knows and that are there."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()]


def build(work: Path) -> Path:
    """A wheel of the tracked files alone, so that nothing old in a build folder gets into it."""
    source = work / "source"
    for path in tracked():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes((ROOT / path).read_bytes())
    call(sys.executable, "-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps", "-w", work, source, cwd=work)
    (wheel,) = work.glob("*.whl")
    return wheel


def check_contents(wheel: Path) -> None:
    """Stop unless the wheel has every file of the packages, and no other."""
    expected = {
        "/".join((HOMES[path.parts[0]], *path.parts[1:]))
        for path in tracked()
        if path.parts[0] in HOMES and path.suffix in KINDS
    }
    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    if found != expected:
        sys.exit(f"wheel: error: missing {sorted(expected - found)}, not expected {sorted(found - expected)}")
    print(f"{wheel.name}: {len(found)} files, {wheel.stat().st_size / 2**20:.1f} MiB")


def install(wheel: Path, work: Path) -> Path:
    """An environment with the wheel, whose dependencies are those that this Python has."""
    venv = work / "venv"
    call(sys.executable, "-m", "venv", "--without-pip", venv, cwd=work)
    python = venv / "bin" / "python"
    call(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel, cwd=work)
    (packages,) = venv.glob("lib/python*/site-packages")
    shared = [path for path in sys.path if Path(path).name == "site-packages"]
    (packages / "dependencies.pth").write_text("\n".join(shared) + "\n")
    return venv / "bin"


def main() -> None:
    """Everything, in a folder that is removed again."""
    with tempfile.TemporaryDirectory(prefix="stf-wheel-") as name:
        work = Path(name)
        wheel = build(work)
        check_contents(wheel)
        programs, elsewhere = install(wheel, work), work / "elsewhere"
        elsewhere.mkdir()
        stf = programs / "stf"
        call(stf, "train", "--mode", "unsupervised", "--out", "run", *SMALL, cwd=elsewhere)
        call(stf, "evaluate", "run", "--sequences", "8", "--json", "result.json", cwd=elsewhere)
        call(stf, "visualize-fields", "run", "--motion", "none", cwd=elsewhere)
        call(programs / "python", "-c", FIT, cwd=elsewhere)
        for path in ("result.json", "run/figures/report.html", "arrays/run.json", "programs/flow.pt2"):
            if not (elsewhere / path).exists():
                sys.exit(f"wheel: error: found no {path}")


if __name__ == "__main__":
    main()
