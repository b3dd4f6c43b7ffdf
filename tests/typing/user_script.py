"""What a user writes, as the type checker sees it: right lines pass, and every wrong one is an error.

It is checked and never run. An error that is not there makes its ``type: ignore`` one too many, which fails the check.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import stf
from ffrl.config import DataConfig, RunConfig
from ffrl.data.base import SequenceData
from ffrl.models.interface import Probabilistic, SequenceModel, WithFields, WithPosterior

frames = np.zeros((10, 6, 12, 20), np.uint8)
data: SequenceData = stf.data.arrays(frames)
run: stf.Run = stf.fit(data, "unsupervised", steps=10, out="runs/mine", encoder=nn.Identity(), batch_size=8)
model: SequenceModel = stf.load(run.path, step=10, device="cpu")
speeds: Tensor = model.infer(torch.zeros(1, 6, 1, 12, 20))
codes: Tensor = model.encode(torch.zeros(1, 6, 1, 12, 20))
moved: Tensor = model.decode(model.flow(codes[:, 0], speeds))
inferred: Tensor = stf.Run.open("runs/mine", data=data).model.infer(torch.zeros(1, 6, 1, 12, 20))
settings: RunConfig = run.config
if isinstance(model, WithPosterior):
    certain: Tensor = model.activity(torch.zeros(1, 6, 1, 12, 20)).probability
    lasting: Tensor = model.activity(torch.zeros(1, 6, 1, 12, 20)).speeds  # type: ignore[attr-defined]
if isinstance(model, WithFields):
    parts: tuple[Tensor, Tensor] = model.fields(codes[:, 0], t=0.5)
    change: Tensor = model.log_density_change(codes[:, 0], speeds[:, 0], method="trace")
if isinstance(model, Probabilistic):
    mean, log_variance = model.posterior(torch.zeros(4, 1, 12, 20))
figure: Figure = stf.figures(run)["overview"]
fields: list[dict[str, object]] = stf.evaluate(run, sequences=10, split="test")["fields"]
written: list[Path] = run.export("programs")
config = DataConfig(name="mnist", num_steps=8)

stf.fit(data, steps="ten")  # type: ignore[arg-type]
stf.fit(data, encoder="conv")  # type: ignore[arg-type]
stf.fit(Path("clips"))  # type: ignore[arg-type]
stf.data.arrays(frames, activity=Path("speeds"))  # type: ignore[arg-type]
stf.load()  # type: ignore[call-arg]
stf.evaluate(run, split="training")  # type: ignore[arg-type]
stf.fti(data)  # type: ignore[attr-defined]
run.model.activity(frames)  # type: ignore[operator]
run.steps  # type: ignore[attr-defined]  # noqa: B018
DataConfig(num_steps="8")  # type: ignore[arg-type]
name: str = run.step  # type: ignore[assignment]
