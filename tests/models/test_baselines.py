"""The baselines: their mathematics against independent computations, and what they share with the other models."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cli_tools import TINY, complaint
from torch import Tensor

from ffrl.config import DataConfig, RunConfig, StillConfig
from ffrl.core.registry import modules_in
from ffrl.data import load
from ffrl.distributions.priors import gaussian_kl
from ffrl.evaluation.likelihood.estimate import bounds, draw, log_weights
from ffrl.fields.potential import Potentials
from ffrl.models.baselines.factor_vae import MODE as FACTOR_VAE
from ffrl.models.baselines.factor_vae import FactorVAEConfig, shuffled
from ffrl.models.baselines.msp import transition_matrix
from ffrl.models.baselines.poflow import wave_terms
from ffrl.models.baselines.slow_vae import slow_kl
from ffrl.models.baselines.tvae import FLOOR, roll
from ffrl.models.displacement import Displacements
from ffrl.models.interface import SequenceModel
from ffrl.objective.elbo import elbo_terms
from ffrl.training.batch import draw_batch
from ffrl.training.step import Forward
from stf.registry import CONFIGS, MODES

IMAGE, STEPS, BATCH, KINDS = (3, 28, 28), 4, 5, 3
LATENT = {"tvae": 12, "msp": 12}
BASELINES = list(modules_in("ffrl.models.baselines", "MODE"))
every_mode = pytest.mark.parametrize("mode", BASELINES)


def small(mode: str, **changes: object) -> RunConfig:
    config = CONFIGS[mode]()
    size = {"latent_dim": LATENT.get(mode, 6), "width": 16, "depth": 1, "potential_width": 8}
    size |= {"tvae": {"capsule_size": 4}, "msp": {"rows": 3}}.get(mode, {})
    model = dataclasses.replace(config.model, **size)
    return dataclasses.replace(config, model=model, data=DataConfig(num_steps=STEPS), batch_size=BATCH, **changes)


def build(mode: str, **changes: object) -> SequenceModel:
    torch.manual_seed(0)
    return MODES[mode].build(small(mode, **changes), IMAGE)


def batch_of(model: SequenceModel, progress: float):
    config = small(model.trained.mode)
    return draw_batch(config, model, load(config.data), "train", torch.arange(BATCH), model.phase(progress), 3)


@every_mode
@pytest.mark.parametrize("progress", [0.1, 0.9])
def test_a_pass_is_deterministic_and_reaches_every_parameter_that_matters(mode: str, progress: float) -> None:
    model = build(mode)
    batch, phase = batch_of(model, progress), model.phase(progress)
    losses = [
        elbo_terms(model(batch.frames, batch.noise, phase, batch.activity), batch.frames, model.trained.objective)
    ]
    losses.append(
        elbo_terms(model(batch.frames, batch.noise, phase, batch.activity), batch.frames, model.trained.objective)
    )
    assert losses[0]["loss"] == losses[1]["loss"]
    if progress > 0.5:
        losses[0]["loss"].backward()
        without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert without == []


@every_mode
def test_half_precision_gives_the_same_loss_but_for_rounding(mode: str) -> None:
    model = build(mode)
    batch, phase = batch_of(model, 0.9), model.phase(0.9)
    full, half = (
        Forward(small(mode), model, precision, elbo_terms)(batch, phase)
        for precision in (torch.float32, torch.bfloat16)
    )
    assert half["loss"].dtype == torch.float32
    torch.testing.assert_close(half["loss"], full["loss"], rtol=1e-3, atol=0.0)
    half["loss"].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@every_mode
def test_training_sees_the_sequences_of_its_supervision(mode: str) -> None:
    model = build(mode)
    batch = batch_of(model, 0.9)
    assert batch.frames.shape == (BATCH, STEPS + 1, *IMAGE)
    expected = {"tvae": "labelled", "poflow": "labelled", "msp": "single"}.get(mode, "mixed")
    assert model.trained.sequences == expected
    assert (batch.activity is not None) == (expected == "labelled")
    if expected == "labelled":
        assert (batch.activity.sum(-1) == 1).all() and (batch.activity == batch.activity[:, :1]).all()


def test_displacements_are_the_least_squares_fit(float64: None) -> None:
    source = torch.Generator().manual_seed(0)
    z = torch.randn(2, 300, 4, generator=source)
    after = z + torch.tanh(z @ torch.randn(4, 4, generator=source)) + 0.1 * torch.randn(2, 300, 4, generator=source)
    affine, constant = Displacements(2, 4), Displacements(2, 4, affine=False)
    affine.estimate(z, after)
    constant.estimate(z, after)
    for k in range(2):
        design = np.concatenate([z[k].numpy(), np.ones((300, 1))], axis=1)
        fit = np.linalg.lstsq(design, (after - z)[k].numpy(), rcond=None)[0]
        np.testing.assert_allclose(affine.matrix[k].numpy(), fit[:4].T, atol=1e-3)
        np.testing.assert_allclose(affine.offset[k].numpy(), fit[4], atol=1e-3)
        np.testing.assert_allclose(constant.offset[k].numpy(), (after - z)[k].mean(0).numpy(), rtol=1e-12)
    assert not constant.matrix.any()
    moved = affine(z[0], torch.tensor([0.0, 2.0]).expand(300, 2))
    torch.testing.assert_close(moved, 2 * (z[0] @ affine.matrix[1].T + affine.offset[1]))


def test_the_estimated_displacements_are_those_of_training_pairs() -> None:
    model = build("vae")
    data = load(DataConfig(num_steps=STEPS))
    assert not model.displacements.matrix.any() and not model.displacements.offset.any()
    model.calibrate(data, images=70)
    images = torch.arange(70)
    before, after = [], []
    with torch.no_grad():
        for j in range(KINDS):
            latents = model.encode(data.single("train", images, torch.full_like(images, j)).frames)
            before.append(latents[:, :-1].reshape(-1, 6))
            after.append(latents[:, 1:].reshape(-1, 6))
    fresh = Displacements(KINDS, 6)
    fresh.estimate(torch.stack(before), torch.stack(after))
    torch.testing.assert_close(model.displacements.matrix, fresh.matrix, rtol=1e-3, atol=1e-5)
    g = torch.zeros(70, STEPS, KINDS)
    g[..., 1] = 1
    moved = model.flow(before[1].view(70, STEPS, 6)[:, 0], g)[:, -1]
    still = before[1].view(70, STEPS, 6)[:, 0]
    goal = after[1].view(70, STEPS, 6)[:, -1]
    assert (moved - goal).norm() < 0.8 * (still - goal).norm()


def test_slow_kl_is_the_expectation_under_both_posteriors(float64: None) -> None:
    source = torch.Generator().manual_seed(1)
    mean, log_variance = torch.randn(2, 3, 2, generator=source), torch.randn(2, 3, 2, generator=source)
    rate, draws = 2.5, 400_000
    z = mean + torch.exp(0.5 * log_variance) * torch.randn(draws, 2, 3, 2, generator=source)
    log_q = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance)).log_prob(z)[:, :, 1:]
    log_p = torch.distributions.Laplace(z[:, :, :-1], 1 / rate).log_prob(z[:, :, 1:])
    sampled = (log_q - log_p).sum((-2, -1))
    error = sampled.std(0) / draws**0.5
    assert ((slow_kl(mean, log_variance, rate) - sampled.mean(0)).abs() < 5 * error).all()


def test_shuffling_keeps_every_dimension_and_breaks_their_ties() -> None:
    codes = torch.arange(200.0)[:, None] + torch.tensor([0.0, 1000.0])
    mixed = shuffled(codes, torch.rand(300, 2, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(mixed.sort(0).values, codes)
    assert abs(np.corrcoef(mixed.T.numpy())[0, 1]) < 0.2


def test_the_total_correlation_moves_the_encoder_and_the_error_the_discriminator() -> None:
    model = build("factor-vae")
    batch, phase = batch_of(model, 0.9), model.phase(0.9)
    encoder, judge = list(model.encoder.parameters()), list(model.discriminator.parameters())

    def moved(name: str, parameters: list) -> bool:
        value = model(batch.frames, batch.noise, phase).penalties[name].sum()
        found = torch.autograd.grad(value, parameters, allow_unused=True)
        return any(gradient is not None and bool(gradient.any()) for gradient in found)

    assert moved("total_correlation", encoder) and not moved("total_correlation", judge)
    assert moved("discriminator", judge) and not moved("discriminator", encoder)


def test_the_discriminator_estimates_the_total_correlation_of_gaussians() -> None:
    torch.manual_seed(0)
    config = FactorVAEConfig(discriminator_width=64, discriminator_depth=2)
    model = FACTOR_VAE.build(
        dataclasses.replace(config, model=dataclasses.replace(config.model, latent_dim=2)), (1, 4, 4)
    )
    correlation = 0.8
    root = torch.linalg.cholesky(torch.tensor([[1.0, correlation], [correlation, 1.0]]))
    optimizer = torch.optim.Adam(model.discriminator.parameters(), 3e-3)
    for _ in range(400):
        codes = torch.randn(512, 2) @ root.T
        told, wrong = model.discriminator(codes), model.discriminator(shuffled(codes, torch.rand(512, 2)))
        loss = torch.nn.functional.softplus(-told).mean() + torch.nn.functional.softplus(wrong).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    estimate = model.discriminator(torch.randn(20_000, 2) @ root.T).mean().item()
    assert estimate == pytest.approx(-0.5 * math.log(1 - correlation**2), abs=0.12)


def test_the_wave_equation_against_automatic_differentiation(float64: None) -> None:
    torch.manual_seed(0)
    potentials = Potentials(2, dim=3, width=5, time_dependent=True)
    z, t, speed = torch.randn(4, 2, 3), torch.tensor([0.4, 0.9]), torch.tensor([0.7, 1.3])

    def value(point: Tensor, time: Tensor, k: int) -> Tensor:
        return potentials(point, time)[k]

    residual, initial = torch.zeros(4), torch.zeros(4)
    for b in range(4):
        for k in range(2):
            for step in range(2):
                bend = torch.func.grad(torch.func.grad(value, 1), 1)(z[b, step], t[step], k)
                laplacian = torch.func.hessian(value, 0)(z[b, step], t[step], k).trace()
                residual[b] += (bend - speed[k] ** 2 * laplacian) ** 2
            initial[b] += torch.func.grad(value, 1)(z[b, 0], torch.tensor(0.0), k) ** 2
    terms = wave_terms(potentials, speed, z, t)
    torch.testing.assert_close(terms["residual"], residual, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(terms["initial"], initial, rtol=1e-10, atol=1e-12)


def test_a_travelling_wave_leaves_no_residual(float64: None) -> None:
    potentials = Potentials(1, dim=3, width=1, activation="sine", time_dependent=True)
    with torch.no_grad():
        potentials.time_weight.copy_(torch.tensor([[[0.6, 0.0, 0.0]]]))
    speed = 0.6 / potentials.weight.detach().norm().view(1)
    z, t = torch.randn(4, 2, 3), torch.tensor([0.5, 1.0])
    assert (wave_terms(potentials, speed, z, t)["residual"] < 1e-25).all()
    assert (wave_terms(potentials, 2 * speed, z, t)["residual"] > 1e-6).all()


def test_the_matrix_of_a_sequence_is_found_again(float64: None) -> None:
    source = torch.Generator().manual_seed(0)
    turn = torch.linalg.matrix_exp(0.3 * torch.randn(2, 3, 3, generator=source))
    latents = [torch.randn(2, 3, 7, generator=source)]
    for _ in range(3):
        latents.append(turn @ latents[-1])
    sequence = torch.stack(latents, 1)
    torch.testing.assert_close(transition_matrix(sequence, 1e-13), turn, rtol=1e-8, atol=1e-8)
    noisy = sequence + 0.3 * torch.randn(sequence.shape, generator=source)
    design, target = noisy[0, :-1].transpose(1, 2).reshape(-1, 3), noisy[0, 1:].transpose(1, 2).reshape(-1, 3)
    expected = np.linalg.lstsq(design.numpy(), target.numpy(), rcond=None)[0].T
    np.testing.assert_allclose(transition_matrix(noisy, 1e-13)[0].numpy(), expected, rtol=1e-7)
    torch.testing.assert_close(transition_matrix(torch.zeros(4, 3, 5), 1e-3), torch.eye(3))


def test_msp_moves_by_its_matrix_and_composes_one_after_the_other(float64: None) -> None:
    model = build("msp").double()
    rows, columns = 3, 4
    z, first, second = torch.randn(2, 12), torch.randn(2, 1, 9), torch.randn(2, 1, 9)
    once = model.flow(z, first)[:, -1]
    expected = (first.view(2, rows, rows) @ z.view(2, rows, columns)).view(2, 12)
    torch.testing.assert_close(once, expected)
    torch.testing.assert_close(model.flow(z, model.compose(first, second))[:, -1], model.flow(once, second)[:, -1])
    frames = torch.rand(2, STEPS + 1, *IMAGE)
    found = model.infer(frames)
    latents = model.encode(frames).unflatten(-1, (rows, columns))
    torch.testing.assert_close(found[:, 0], found[:, -1])
    from_two = transition_matrix(latents[:, :2], model.ridge)
    torch.testing.assert_close(found[:, 0].view(2, rows, rows), from_two)


def test_msp_predicts_from_its_first_frames_alone_in_training() -> None:
    model = build("msp")
    batch, phase = batch_of(model, 0.9), model.phase(0.9)
    other = batch.frames.clone()
    other[:, 2:] = torch.rand_like(other[:, 2:])
    torch.testing.assert_close(model(batch.frames, batch.noise, phase).logits, model(other, batch.noise, phase).logits)
    other[:, 1] = 0.0
    assert not torch.allclose(model(batch.frames, batch.noise, phase).logits, model(other, batch.noise, phase).logits)


def test_msp_draws_nothing_as_it_has_no_variance() -> None:
    noise = build("msp").draw_noise(2, STEPS, None)
    assert noise.latent.numel() == noise.others.numel() == noise.activity.numel() == 0


def test_rolling_by_whole_shifts_and_between() -> None:
    capsules = torch.randn(2, 3, 5)
    for shift in (-6, -1, 0, 1, 5, 7):
        expected = torch.roll(capsules, shift, dims=-1)
        torch.testing.assert_close(roll(capsules, torch.tensor(float(shift))), expected)
    half = 0.75 * torch.roll(capsules, 2, -1) + 0.25 * torch.roll(capsules, 3, -1)
    torch.testing.assert_close(roll(capsules, torch.full((2, 3), 2.25)), half)


def test_capsules_against_plain_loops(float64: None) -> None:
    model = build("tvae").double()
    size, capsules = 4, 3
    latents, which = torch.randn(2, STEPS + 1, 24), torch.tensor([0, 2])
    activity = torch.nn.functional.one_hot(which, KINDS)[:, None].repeat(1, STEPS, 1).double()
    codes = model.codes(latents, activity)
    z, u = latents[..., :12].reshape(2, -1, capsules, size), latents[..., 12:].reshape(2, -1, capsules, size)
    for b in range(2):
        for c in range(capsules):
            rolls = int(c % KINDS == which[b])
            for frame in range(STEPS + 1):
                squares = [
                    [u[b, p, c, (i + n) % size] ** 2 for n in (-1, 0, 1)] for p in range(frame + 1) for i in range(size)
                ]
                pooled = torch.tensor(squares).mean(-1).view(frame + 1, size)
                past = [torch.roll(pooled[p], rolls * (frame - p)) for p in range(frame + 1)]
                spread = (torch.stack(past).mean(0) + FLOOR).sqrt()
                expected = (z[b, frame, c] - model.location) / spread
                torch.testing.assert_close(codes[b, frame, c * size : (c + 1) * size], expected)


def test_capsules_that_roll_are_predicted_exactly(float64: None) -> None:
    model = build("tvae").double()
    activity = torch.zeros(1, STEPS, KINDS)
    activity[..., 1] = 1.0
    first = torch.randn(1, 24)
    parts = first.view(1, 1, 6, 4)
    shift = torch.arange(STEPS + 1.0).view(1, -1, 1) * torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0, 0.0])
    latents = roll(parts.expand(1, STEPS + 1, 6, 4), shift).flatten(2)
    codes = model.codes(latents, activity)
    torch.testing.assert_close(model.flow(codes[:, 0], activity), codes)


def test_capsules_pay_for_the_latents_that_their_decoder_sees_and_no_others() -> None:
    model = build("tvae", predicted=0.5)
    batch, half = batch_of(model, 0.9), BATCH // 2
    batch.frames.requires_grad_()
    outputs = model(batch.frames, batch.noise, model.phase(0.9), batch.activity)
    kl = gaussian_kl(outputs.mean, outputs.log_variance)
    (reached,) = torch.autograd.grad(outputs.logits.sum(), batch.frames)
    seen = reached.flatten(2).abs().sum(-1) > 0
    assert seen[:half, 0].all() and not seen[:half, 1:].any() and seen[half:].all()
    assert torch.equal(kl > 0, seen)


@pytest.mark.parametrize("mode", ["vae", "beta-vae", "factor-vae", "slow-vae", "tvae"])
def test_weights_of_the_bounds_are_the_ratios_of_all_latents(mode: str) -> None:
    model = build(mode).eval()
    data = load(DataConfig(num_steps=STEPS))
    frames, activity = data.single("validation", torch.arange(3), torch.tensor([0, 1, 2]))
    with torch.no_grad():
        draws = draw(model, frames, 6, torch.Generator().manual_seed(0), activity)
        weights = log_weights(model, frames, draws, {"zero": lambda logits, frames: logits.sum((-3, -2, -1)) * 0})
        means, log_variances = model.posterior(frames)
        source = torch.Generator().manual_seed(0)
        z = means + torch.exp(0.5 * log_variances) * torch.randn((6, *means.shape), generator=source)
    log_q = torch.distributions.Normal(means, torch.exp(0.5 * log_variances)).log_prob(z).sum((-2, -1))
    log_p = torch.distributions.Normal(0.0, 1.0).log_prob(z)
    if mode == "slow-vae":
        steps = torch.distributions.Laplace(z[:, :, :-1], 1 / model.rate).log_prob(z[:, :, 1:])
        log_p = torch.cat([log_p[:, :, :1], steps], dim=2)
    expected = (log_p.sum((-2, -1)) - log_q).double()
    torch.testing.assert_close(weights.latent[0], expected, rtol=1e-4, atol=1e-3)
    found = bounds(weights, STEPS + 1)["zero"]
    assert (found["elbo"] <= found["iwae"]).all()


def test_the_bound_of_a_vae_is_below_the_exact_likelihood() -> None:
    """One latent per frame and a table of likelihoods: the integral over z is done by quadrature."""
    grid = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    frames = torch.tensor([0.3, 0.8]).view(1, 2, 1, 1, 1)

    class Toy:
        def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
            return frames[..., 0, 0] * 1.5, torch.full_like(frames[..., 0, 0], -0.5)

        def log_latent_prior(self, z: Tensor) -> Tensor:
            return torch.distributions.Normal(0.0, 1.0).log_prob(z[..., 1:, :]).sum((-2, -1))

        def codes(self, z: Tensor, activity: Tensor) -> Tensor:
            return z

        def decode_logits(self, z: Tensor) -> Tensor:
            return z.unflatten(-1, (1, 1, 1))

    def log_prob(logits: Tensor, frames: Tensor) -> Tensor:
        return -2 * (logits - frames).square().sum((-3, -2, -1))

    log_joint = -2 * (grid[:, None] - frames.view(1, 2).double()).square()
    log_joint = log_joint + torch.distributions.Normal(0.0, 1.0).log_prob(grid)[:, None]
    exact = (log_joint.logsumexp(0) + math.log(grid[1] - grid[0])).sum().item() / 2
    draws = draw(Toy(), frames, 200_000, torch.Generator().manual_seed(0), torch.zeros(1, 1, 1))
    found = bounds(log_weights(Toy(), frames, draws, {"toy": log_prob}), 2)["toy"]
    assert found["elbo"].item() < exact - 0.01
    assert found["iwae"].item() == pytest.approx(exact, abs=0.01)


def test_the_number_of_training_images_is_limited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = load(DataConfig())
    config = small("vae", still=StillConfig(fraction=0.0), steps=6)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, train_images=6))
    from ffrl.training.batch import Feed

    seen: set[int] = set()
    alone: set[int] = set()
    watched = SimpleNamespace(
        size=data.size, device=data.device, streamed=False, transformations=data.transformations, num_steps=STEPS
    )
    watched.mixed = lambda split, indices, source: seen.update(indices.tolist()) or data.mixed(split, indices, source)
    watched.stills = lambda split, indices, count, source: (
        alone.update(indices.tolist()) or data.stills(split, indices, count, source)
    )
    with Feed(config, build("vae", still=StillConfig(fraction=0.0), steps=6), watched, torch.device("cpu")) as feed:
        for step in range(6):
            feed(step)
    assert seen == alone == set(range(6))
    line = complaint(capsys, "train", "--mode=vae", "--data.train-images=8001", "--out", tmp_path / "run", *TINY)
    assert line == "data.train-images: found 8001, expected at most 8,000, all that there are"


def test_configurations_name_their_modes() -> None:
    assert {"vae", "tvae", "msp"} <= set(BASELINES)
    assert all(CONFIGS[mode]().mode == mode for mode in CONFIGS)
