"""Small runs in one or several processes; run as a script it trains them in a process that others join."""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from cli_tools import environment
from engine_tiny import StopAt, TinyData, real_config, real_model, run_tiny

from ffrl.config import StillConfig
from ffrl.data.base import SequenceData
from ffrl.objective.elbo import elbo_terms
from ffrl.training.parallel import join
from ffrl.training.trainer import TrainingResult
from stf.config import DiscoveryConfig, RediscoveryConfig, RefineConfig

SUPPORT = Path(__file__).parent
STAGES = dict(form=8, pairs=2, trial=2, longer=3, settle=4, polish=3)
SEARCH = DiscoveryConfig(
    fraction=0.5, sequences=24, held_out=12, batch_size=8, trial_batch_size=6, starts=2, hopeless=100.0, **STAGES
)
"""A short search for fields."""
POISONED = 21
"""The step of the supervised run that is skipped, counted from 1."""


def small_config(mode: str) -> Any:
    """A run of 60 steps of a real model: 6 on still frames, 30 of discovery, 18 of joint training, 6 of refinement."""
    changes: dict[str, Any] = dict(steps=60, still=StillConfig(fraction=0.1, beside=0.3), log_every=2)
    if mode != "supervised":
        changes |= dict(discovery=SEARCH, rediscovery=RediscoveryConfig(), refine=RefineConfig(fraction=0.1))
    return real_config(mode, **changes | dict(validate_every=20, checkpoint_every=1000))


class PoisonedData(TinyData):
    """Data with one frame that is no number, in the last sequence of the batch of a step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.left = step

    def single(self, split: Any, indices: Any, which: Any, generator: Any = None) -> Any:
        batch = super().single(split, indices, which, generator)
        if split == "train":
            self.left -= 1
            if self.left == 0:
                batch.frames[-1, -1] = float("nan")
        return batch


def run_small(folder: Path, mode: str, resume: bool = False, data: SequenceData | None = None) -> TrainingResult:
    """Train in ``folder``; a supervised run skips one step unless it is given data."""
    config = small_config(mode)
    if data is None and mode == "supervised":
        data = PoisonedData(POISONED - 6)  # still frames come before the sequences
    rank = int(os.environ.get("RANK", 0))
    return run_tiny(folder, config, resume, data, real_model(config, seed=rank), objective=elbo_terms)


def processes(count: int, command: list[str], cwd: Path) -> list[subprocess.Popen[str]]:
    """Start processes with the environment that ``torchrun`` gives them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    known = environment()
    known["PYTHONPATH"] = os.pathsep.join([known["PYTHONPATH"], str(SUPPORT)])
    known |= {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    pipes: dict[str, Any] = dict(cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return [
        subprocess.Popen(command, env=known | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, **pipes)
        for rank in range(count)
    ]


def outcomes(started: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Exit code, standard output and standard error of processes, once they have ended."""
    try:
        texts = [process.communicate(timeout=120) for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, *text) for process, text in zip(started, texts, strict=True)]


def small_runs(folder: Path, *runs: str) -> list[tuple[int, str, str]]:
    """Train in two processes one run after the other, each in the folder of its name.

    Args:
        folder: of the runs.
        runs: ``MODE``; ``MODE:stop=STEP`` for one that a signal to the second process ends, in ``MODE-stopped``; or
            ``MODE-stopped:resume``.

    Returns:
        Exit code, standard output and standard error of both processes.
    """
    return outcomes(processes(2, [sys.executable, __file__, str(folder), *runs], folder))


def complain_of_threads() -> None:
    """Say which threads a process has left after it has left the others: they may abort the interpreter's exit."""
    tasks = Path("/proc/self/task")
    names = [(task / "comm").read_text().strip() for task in tasks.iterdir()] if tasks.exists() else []
    left = [name for name in names if name.startswith(("gloo", "pt_"))]
    if left:
        print("threads at the exit:", *left, file=sys.stderr)


def main(folder: Path, runs: list[str]) -> int:
    """Train as :func:`small_runs` says, and return the exit code of the last run."""
    code = 0
    for run in runs:
        name, _, how = run.partition(":")
        mode, stops = name.removesuffix("-stopped"), how.startswith("stop=")
        data = StopAt(int(how.removeprefix("stop=")), "signal") if stops and not join().first else None
        result = run_small(folder / (f"{mode}-stopped" if stops else name), mode, how == "resume", data)
        code = 128 + result.signal if result.signal else 0
    return code


if __name__ == "__main__":
    atexit.register(complain_of_threads)
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
