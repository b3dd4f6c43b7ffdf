"""The training recipe: still frames first, in every mode, and the schedule of each mode."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import ffrl.data
from ffrl.config import DataConfig, ModelConfig, RunConfig, StillConfig, SupervisedConfig
from ffrl.core.seed import generator
from ffrl.distributions.pixels import log_likelihood
from ffrl.models.activity import Phase
from ffrl.objective.elbo import elbo_terms
from ffrl.training.batch import draw_batch
from ffrl.training.phases import span_at
from stf.config import SparseModelConfig, UnsupervisedConfig, WeakConfig
from stf.registry import CONFIGS
from stf.run import build_model

SMALL = dict(latent_dim=8, width=16, depth=1)
RUNS = (
    UnsupervisedConfig(model=SparseModelConfig(**SMALL), data=DataConfig(num_steps=3)),
    WeakConfig(model=SparseModelConfig(**SMALL), data=DataConfig(num_steps=3)),
    SupervisedConfig(model=ModelConfig(**SMALL), data=DataConfig(num_steps=3)),
)


@pytest.mark.parametrize("config", RUNS, ids=lambda config: config.mode)
def test_still_frames_are_sequences_of_length_one(config: RunConfig) -> None:
    model = build_model(config, (3, 28, 28))
    frames = torch.rand(5, 4, 3, 28, 28, generator=torch.Generator().manual_seed(3))
    noise = model.draw_noise(5, 3, torch.Generator().manual_seed(4))
    phase = replace(model.phase(0.06), latent_weight=1.0)
    assert phase.still
    outputs = model(frames, noise, phase)
    terms = elbo_terms(outputs, frames, config.objective)
    assert not outputs.activity.any() and outputs.activity_kl == {}
    assert set(terms) == {"reconstruction", "kl_latent", "cross_entropy", "loss", "l1"}
    normal = torch.cat([noise.latent[:, None], noise.others], dim=1)
    losses = []
    for t in range(4):
        single = model.draw_noise(5, 0, None)
        object.__setattr__(single, "latent", normal[:, t])
        alone = model(frames[:, t : t + 1], single, Phase(still=True, cross_entropy_weight=1.0))
        losses.append(elbo_terms(alone, frames[:, t : t + 1], config.objective)["loss"])
    torch.testing.assert_close(terms["loss"], torch.stack(losses).mean())
    terms["loss"].backward()
    assert all(p.grad is None for p in model.field_model.parameters())
    assert all(p.grad is not None for p in model.encoder.parameters())


def test_cross_entropy_is_added_to_the_loss_of_still_frames_only() -> None:
    config = RUNS[0]
    model = build_model(config, (3, 28, 28))
    frames = torch.rand(2, 4, 3, 28, 28, generator=torch.Generator().manual_seed(3))
    noise = model.draw_noise(2, 3, torch.Generator().manual_seed(4))
    losses = []
    for weight in (0.0, 2.0):
        outputs = model(frames, noise, Phase(still=True, cross_entropy_weight=weight))
        losses.append(elbo_terms(outputs, frames, config.objective)["loss"])
    images = outputs.logits.sigmoid()
    entropy = -(frames * images.log() + (1 - frames) * (1 - images).log()).sum((-3, -2, -1)).mean()
    torch.testing.assert_close(losses[1] - losses[0], 2 * entropy, rtol=1e-4, atol=0.0)
    assert "cross_entropy" not in elbo_terms(model(frames, noise, Phase()), frames, config.objective)


def test_black_pixels_pull_back_through_the_cross_entropy_alone() -> None:
    """The gradient of a saturated sigmoid vanishes, that of the cross-entropy does not: why it is there."""
    logits = torch.full((1, 1, 1, 1), -12.0, requires_grad=True)
    gradients = {}
    for kind in ("laplace", "bernoulli"):
        (gradients[kind],) = torch.autograd.grad(log_likelihood(logits, torch.ones(1, 1, 1, 1), kind, 0.3), logits)
    assert gradients["laplace"] < 1e-4 and gradients["bernoulli"] > 0.99


@pytest.mark.parametrize("config", RUNS, ids=lambda config: config.mode)
def test_every_mode_starts_with_still_frames(config: RunConfig) -> None:
    config = replace(config, still=StillConfig(fraction=0.2, cross_entropy=3.0))
    model = build_model(config, (3, 28, 28))
    phases = [model.phase(progress) for progress in (0.0, 0.05, 0.1, 0.2, 0.9)]
    assert [phase.latent_weight for phase in phases] == pytest.approx([0.0, 0.25, 0.5, 1.0, 1.0])
    assert [phase.still for phase in phases] == [True, True, True, False, False]
    assert [phase.cross_entropy_weight for phase in phases] == [3.0, 3.0, 3.0, 0.0, 0.0]
    assert not build_model(replace(config, still=StillConfig(fraction=0.0)), (3, 28, 28)).phase(0.0).still


@pytest.mark.parametrize("config", RUNS, ids=lambda config: config.mode)
def test_training_on_still_frames_sees_a_few_of_each_mixed_sequence(config: RunConfig) -> None:
    model, data = build_model(config, (3, 28, 28)), ffrl.data.load(config.data, torch.device("cpu"))
    indices = torch.tensor([3, 5])
    batch = draw_batch(config, model, data, "train", indices, Phase(still=True), step=7)
    frames = data.mixed("train", indices, generator("cpu", config.seed, "data", 7)).frames
    assert torch.equal(batch.frames, frames[:, [0, 2, 3]])
    assert batch.activity is None and batch.noise.others.shape == (2, 2, 8)


@pytest.mark.parametrize("config", RUNS, ids=lambda config: config.mode)
def test_still_frames_of_the_model_are_those_of_the_schedule(config: RunConfig) -> None:
    for steps, fraction in ((10, 0.3), (7, 0.3), (100, 0.07), (3, 0.2), (1, 0.4)):
        config = replace(config, steps=steps, still=StillConfig(fraction=fraction))
        model = build_model(config, (3, 28, 28))
        still = [model.phase(step / steps).still for step in range(steps)]
        assert still == [span_at(config, step).phase.name == "still" for step in range(steps)]


def test_fields_are_discovered_where_activity_is_inferred_exactly() -> None:
    names = {mode: [phase.name for phase in config().schedule] for mode, config in CONFIGS.items()}
    discovering = {mode for mode, phases in names.items() if "discovery" in phases}
    assert discovering == {"unsupervised", "weak"}
    phases = ["still", "discovery", "first-joint", "rediscovery", "joint", "refine"]
    assert all(names[mode] == phases for mode in discovering)
    assert all(phases == ["still", "joint"] for mode, phases in names.items() if mode not in discovering)
    for config in CONFIGS.values():
        assert sum(phase.fraction for phase in config().schedule) == pytest.approx(1.0)
        by_gradient = [phase.name for phase in config().schedule if phase.by_gradient]
        assert by_gradient in (["still", "joint"], ["still", "first-joint", "joint"])
