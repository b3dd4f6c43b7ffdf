"""A mode that an installed package adds in one file: trained, opened again and measured by its name."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import stf
from stf.registry import CONFIGS, MODES

CODE = '''
from dataclasses import dataclass
from typing import Literal

import torch

from ffrl.config import RunConfig
from ffrl.models.activity import ActivityKind
from ffrl.models.autoencoder import VariationalAutoencoder
from ffrl.models.mode import Mode
from ffrl.models.outputs import SequenceNoise


@dataclass(frozen=True)
class StillConfig(RunConfig):
    """Nothing ever moves."""

    mode: Literal["standstill"] = "standstill"


class Standstill(VariationalAutoencoder):
    """Its latents stay where they are."""

    activity_kind = ActivityKind.OPAQUE
    prediction = "the first frame, encoded and decoded"
    num_controls = 1

    def __init__(self, config, networks):
        super().__init__(networks, config.model.num_fields, config.data.num_steps, config.still)

    def draw_noise(self, batch_size, num_steps, generator, device="cpu"):
        return SequenceNoise.draw((batch_size, num_steps), self.latent_dim, (1, 0), generator, device)

    def infer(self, frames):
        return frames.new_zeros(len(frames), frames.shape[1] - 1, 1)

    def flow(self, z0, g):
        return z0.unsqueeze(1).expand(-1, g.shape[1] + 1, -1)

    def conditional(self):
        return False

    def codes(self, latents, activity):
        return latents

    def log_latent_prior(self, latents):
        return torch.distributions.Normal(0.0, 1.0).log_prob(latents[..., 1:, :]).sum((-2, -1))

    def forward(self, frames, noise, phase, activity=None):
        return self.alone(*self.posterior(frames), noise, phase)


MODE = Mode(StillConfig, Standstill)
'''


@pytest.fixture
def standstill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An installed package with an entry point of the group ``stf.models``."""
    info = tmp_path / "standstill-1.0.dist-info"
    info.mkdir()
    (tmp_path / "standstill_mode.py").write_text(CODE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: standstill\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[stf.models]\nstandstill = standstill_mode:MODE\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    MODES.__dict__.pop("_added", None)
    yield
    MODES.__dict__.pop("_added", None)
    MODES._loaded.pop("standstill", None)
    sys.modules.pop("standstill_mode", None)


def test_a_package_of_one_file_is_a_mode(standstill: None, tmp_path: Path) -> None:
    assert "standstill" in CONFIGS and MODES.source("standstill") == "standstill"
    frames = np.random.default_rng(0).integers(0, 255, (16, 5, 8, 8), dtype=np.uint8)
    data = stf.data.arrays(frames)
    size = {"latent_dim": 4, "width": 8, "depth": 1}
    run = stf.fit(data, "standstill", steps=6, out=tmp_path / "run", device="cpu", quiet=True, model=size)
    again = stf.Run.open(tmp_path / "run", data=data)
    weights = run.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in again.model.state_dict().items())
    measured = again.evaluate(sequences=2)
    assert measured["model"]["mode"] == "standstill" and measured["likelihood"]["quantity"] == "log p(frames)"
