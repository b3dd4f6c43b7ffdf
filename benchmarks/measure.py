"""Time and memory of one case, measured in a process of its own so that no other case leaves traces in it."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BOUNDS = {"strict": ("strict", "exact"), "paper-trace": ("paper", "trace"), "paper-exact": ("paper", "exact")}


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    Args:
        kind: ``ours`` and ``naive`` are supervised steps, ``unsupervised`` is a step of the sparse model.
        bound: a key of :data:`BOUNDS`.
        batch, dim, steps, fields: B, D, T, K.
        budget: seconds to spend on repeats; at least one is made.
        most: repeats after which to stop.
        seed: of weights, digits and noise.
    """

    kind: str
    bound: str = "strict"
    batch: int = 128
    dim: int = 324
    steps: int = 8
    fields: int = 3
    budget: float = 60.0
    most: int = 15
    seed: int = 0


@dataclass(frozen=True)
class Result:
    """What a case took.

    Args:
        seconds: wall time of each repeat.
        cpu_seconds: processor time of each repeat, over all threads; on a busy machine the steadier of the two.
        warmed_up: whether a first step was taken before those.
        resting_bytes, peak_bytes: resident memory before the first step, and at its highest.
        loss: of the first step.
    """

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    warmed_up: bool = True
    resting_bytes: int = 0
    peak_bytes: int = 0
    loss: float = float("nan")

    @property
    def wall(self) -> float:
        """Median wall time of a step in seconds."""
        return statistics.median(self.seconds)

    @property
    def cpu(self) -> float:
        """Median processor time of a step in seconds."""
        return statistics.median(self.cpu_seconds)


def resident_bytes(highest: bool) -> int:
    """Resident memory of this process, now or at its highest; 0 on Windows, which is not asked.

    From /proc where there is one: the maximum of ``getrusage`` includes that of the process we were forked from.
    """
    found = resident_bytes_of("self", highest)
    if found is not None:
        return found
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def resident_bytes_of(process: int | str, highest: bool) -> int | None:
    """Resident memory of a process, now or at its highest; None if it has ended, or there is no /proc."""
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return None
    found = re.search(rf"{'VmHWM' if highest else 'VmRSS'}:\s+(\d+) kB", text)
    return 1024 * int(found[1]) if found else None


def processor_seconds_of(process: int | str) -> float | None:
    """Processor time of a process, over all threads; None if it has ended, or there is no /proc."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def in_own_process(case: Case, threads: int) -> Result:
    """Measure ``case`` in a fresh interpreter with ``threads`` computing threads.

    Raises:
        RuntimeError: with the child's last words if it failed.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = os.environ | {name: str(threads) for name in names}
    command = [sys.executable, __file__, json.dumps(dataclasses.asdict(case)), str(threads)]
    child = subprocess.run(command, env=environment, capture_output=True, text=True)
    if child.returncode:
        raise RuntimeError(f"{case} exited with {child.returncode}: {child.stderr.strip()[-2000:]}")
    return Result(**json.loads(child.stdout.splitlines()[-1]))


def machine(threads: int) -> dict[str, Any]:
    """What the numbers were taken on."""
    from importlib.metadata import version

    import torch

    from ffrl.storage.machine import memory

    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    model = re.search(r"model name\s*:\s*(.+)", text)
    return {
        "cpu": model.group(1).strip() if model else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_bytes": memory(torch.device("cpu")) or 0,
        "threads": threads,
        "precision": "float32",
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def repeat(action: Callable[[], object], budget: float, most: int) -> tuple[list[float], list[float], bool]:
    """Wall and processor seconds of each repeat, after one to warm up unless that takes over a third of ``budget``."""
    wall, cpu, started = [], [], time.perf_counter()
    while len(wall) <= most and (not wall or time.perf_counter() - started < budget):
        before = time.perf_counter(), time.process_time()
        action()
        wall.append(time.perf_counter() - before[0])
        cpu.append(time.process_time() - before[1])
    warmed_up = len(wall) > 1 and wall[0] < budget / 3
    return wall[warmed_up:], cpu[warmed_up:], warmed_up


def measure(case: Case) -> Result:
    """Measure ``case`` in this process."""
    import torch

    from ffrl.data import load
    from ffrl.objective.elbo import elbo_terms
    from ffrl.training.step import build_optimizer, update

    torch.manual_seed(case.seed)
    config = _configuration(case)
    data = load(config.data, "cpu")
    model = _model(case, config, data.image_shape)
    generator = torch.Generator().manual_seed(case.seed)
    indices = torch.randint(data.size("train"), (case.batch,), generator=generator)
    if case.kind == "unsupervised":
        frames, activity = data.mixed("train", indices, generator).frames, None
    else:
        which = torch.randint(min(case.fields, 3), (case.batch,), generator=generator)
        frames = data.single("train", indices, which).frames
        activity = torch.eye(case.fields)[which].unsqueeze(1).repeat(1, case.steps, 1)
    noise = model.draw_noise(case.batch, case.steps, generator)
    optimizer = build_optimizer(config, model)
    phase = model.phase(0.9)
    losses: list[float] = []

    def step() -> None:
        loss = elbo_terms(model(frames, noise, phase, activity), frames, config.objective)["loss"]
        update(model, optimizer, loss, config.optimizer.gradient_clip)
        losses.append(loss.item())

    resting = resident_bytes(highest=False)
    wall, cpu, warmed_up = repeat(step, case.budget, case.most)
    peak = resident_bytes(highest=True)
    return Result(wall, cpu, warmed_up, resting, peak, losses[0])


def _configuration(case: Case) -> Any:
    from ffrl.config import DataConfig, ModelConfig, ObjectiveConfig, SupervisedConfig
    from stf.config import SparseModelConfig, UnsupervisedConfig

    bound, density = BOUNDS[case.bound]
    shared = {"data": DataConfig(num_steps=case.steps), "objective": ObjectiveConfig(bound=bound, density=density)}
    if case.kind == "unsupervised":
        return UnsupervisedConfig(model=SparseModelConfig(latent_dim=case.dim, num_fields=case.fields), **shared)
    size = ModelConfig(latent_dim=case.dim, num_fields=case.fields, activation="softplus", time_dependent=True)
    return SupervisedConfig(model=size, **shared)


def _model(case: Case, config: Any, image_shape: tuple[int, int, int]) -> Any:
    from stf.run import build_model

    if case.kind == "naive":
        from naive import NaiveModel

        return NaiveModel(config, image_shape)
    return build_model(config, image_shape)


if __name__ == "__main__":
    import torch

    torch.set_num_threads(int(sys.argv[2]))
    print(json.dumps(dataclasses.asdict(measure(Case(**json.loads(sys.argv[1]))))))
