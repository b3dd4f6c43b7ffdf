"""The training recipe: phases, weights of the KLs, and numbers that stay clear of the denormal range."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import ffrl.data
from ffrl.activity import NEGLIGIBLE, Phase, gumbel_softmax
from ffrl.config import DataConfig, ModelConfig, RunConfig, StillConfig, SupervisedConfig, WeakConfig
from ffrl.engine.batch import draw_batch
from ffrl.engine.seed import generator
from ffrl.likelihood import log_likelihood
from ffrl.objective import elbo_terms
from stf.activity import SpikeSlabActivity
from stf.config import SparseModelConfig, SparseWarmupConfig, SparsityConfig, UnsupervisedConfig
from stf.run import build_model


def activity(**changes: float) -> SpikeSlabActivity:
    torch.manual_seed(0)
    prior = SparsityConfig(slab_weight=1.0, **changes)
    return SpikeSlabActivity(4, 4, 6, prior, SparseWarmupConfig(fraction=0.5, slab_weight=7.0))


def test_the_weight_of_the_sparse_prior_falls_geometrically_to_one() -> None:
    model = activity(weight=16.0)
    assert model.phase(0.49).exclusive and not model.phase(0.5).exclusive
    weights = [model.phase(progress).sparsity_weight for progress in (0.5, 0.75, 1.0)]
    assert weights == pytest.approx([16.0, 4.0, 1.0])


def test_weights_multiply_the_exact_kls() -> None:
    model = activity()
    means = torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(1))
    uniform = torch.rand(3, 5, 4, 4, generator=torch.Generator().manual_seed(2))
    plain = model(means, uniform, Phase(exclusive=False)).kl
    torch.testing.assert_close(plain["spike"] + plain["slab"], model.kl(means))
    heavy = model(means, uniform, Phase(exclusive=False, sparsity_weight=3.0)).kl
    for name in ("spike", "slab"):
        torch.testing.assert_close(heavy[name], 3 * plain[name])
    warm = model(means, uniform, Phase(exclusive=True, chain_weight=2.0)).kl
    light = model(means, uniform, Phase(exclusive=True, chain_weight=1.0)).kl
    torch.testing.assert_close(warm["chain"], 2 * light["chain"])
    torch.testing.assert_close(warm["slab"], light["slab"])
    model.warmup = SparseWarmupConfig(slab_weight=14.0)
    torch.testing.assert_close(model(means, uniform, Phase(exclusive=True)).kl["slab"], 2 * light["slab"])


def test_relaxed_activity_is_never_denormal() -> None:
    logits = torch.tensor([[400.0, 0.0, -400.0], [-1e4, 1e4, 0.0]])
    uniform = torch.full_like(logits, 0.3)
    sample = gumbel_softmax(logits, uniform, 0.1)
    assert sample.min() >= 0.99 * torch.tensor(NEGLIGIBLE).exp()
    assert sample.max() == 1.0
    torch.testing.assert_close(sample.sum(-1), torch.ones(2))


SMALL = dict(latent_dim=8, width=16, depth=1)
RUNS = (
    UnsupervisedConfig(model=SparseModelConfig(**SMALL), data=DataConfig(num_steps=3)),
    WeakConfig(model=ModelConfig(**SMALL), data=DataConfig(num_steps=3)),
    SupervisedConfig(model=ModelConfig(**SMALL), data=DataConfig(num_steps=3)),
)


@pytest.mark.parametrize("config", RUNS, ids=lambda config: config.mode)
def test_still_frames_are_sequences_of_length_one(config: RunConfig) -> None:
    model = build_model(config, (3, 28, 28))
    frames = torch.rand(5, 4, 3, 28, 28, generator=torch.Generator().manual_seed(3))
    noise = model.draw_noise(5, 3, torch.Generator().manual_seed(4))
    phase = replace(model.phase(0.06), latent_weight=1.0)
    assert phase.still and not phase.exclusive
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
