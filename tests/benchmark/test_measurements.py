"""The plain model of the benchmark computes the same loss and gradients as the project's."""

from __future__ import annotations

import pytest
import torch

from benchmarks.naive import NaiveModel
from ffrl.config import DataConfig, ModelConfig, ObjectiveConfig, SupervisedConfig
from ffrl.objective.elbo import elbo_terms
from stf.registry import MODES

IMAGE, STEPS, BATCH = (3, 4, 4), 3, 2


@pytest.mark.parametrize(
    ("bound", "density"), [("strict", "exact"), ("paper", "trace"), ("paper", "exact")], ids=lambda value: value
)
def test_plain_model_agrees(float64: None, bound: str, density: str) -> None:
    torch.manual_seed(0)
    config = SupervisedConfig(
        data=DataConfig(num_steps=STEPS),
        model=ModelConfig(latent_dim=5, width=8, potential_width=6, activation="softplus", time_dependent=True),
        objective=ObjectiveConfig(bound=bound, density=density),
    )
    ours, plain = MODES["supervised"].build(config, IMAGE), NaiveModel(config, IMAGE)
    plain.copy_from(ours)
    frames, activity = torch.rand(BATCH, STEPS + 1, *IMAGE), torch.rand(BATCH, STEPS, 3)
    losses = []
    for model in (ours, plain):
        noise = model.draw_noise(BATCH, STEPS, torch.Generator().manual_seed(1))
        outputs = model(frames, noise, model.phase(0.5), activity)
        losses.append(elbo_terms(outputs, frames, config.objective)["loss"])
        losses[-1].backward()
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-11, atol=0.0)
    for k, potential in enumerate(plain.potentials):
        expected = ours.field_model.weight.grad[k]
        torch.testing.assert_close(potential.hidden.weight.grad[:, :-1], expected, rtol=1e-9, atol=1e-13)
        scale = ours.field_model.scale.grad[k]
        torch.testing.assert_close(potential.output.weight.grad[0], scale, rtol=1e-9, atol=1e-13)
