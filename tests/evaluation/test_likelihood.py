"""Reported bounds against likelihoods that are known exactly, in all three modes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from evaluation_standins import (
    Enumeration,
    Inferred,
    LinearGaussian,
    enumerate_fields,
    enumerate_spikes,
    enumerate_states,
    sample_frames,
    spiking,
)
from torch import Tensor

import ffrl.evaluation.likelihood.estimate
from ffrl.config import DataConfig, ModelConfig, ObjectiveConfig, SupervisedConfig
from ffrl.distributions.pixels import gaussian_upper_bound
from ffrl.distributions.priors import gaussian_kl
from ffrl.evaluation.likelihood.bounds import elbo, iwae
from ffrl.evaluation.likelihood.estimate import LogWeights, bounds, draw, legacy_score, log_weights
from ffrl.evaluation.likelihood.pixels import PixelLikelihood, likelihoods
from ffrl.models.activity import GivenActivity
from ffrl.models.interface import SequenceModel
from ffrl.objective.elbo import flow_kl as training_flow_kl
from ffrl.objective.paper_bound import flow_kl
from stf.config import SparseModelConfig, UnsupervisedConfig, WeakConfig
from stf.registry import MODES

SAMPLES = 20480


@dataclass
class Case:
    """A small model, sequences, what they say exactly, and many draws.

    Args:
        exact: log p(frames), or log p(frames | activity), per sequence ``(B,)``.
        expected_elbo: in closed form, per sequence ``(B,)``.
    """

    model: LinearGaussian
    frames: Tensor
    activity: Tensor | None
    exact: Tensor
    expected_elbo: Tensor
    weights: LogWeights

    @property
    def log_weight(self) -> Tensor:
        return self.weights.pixels["known"] + self.weights.latent


def build_case(kind: str, seed: int) -> Case:
    activity_model, steps = {
        "supervised": lambda: (GivenActivity(3), 3),
        "weak": lambda: (Inferred("unit", 3, constant=True), 3),
        "unit": lambda: (Inferred("unit", 2), 3),
        "positive-1": lambda: (Inferred("positive", 1), 1),
        "positive-2": lambda: (Inferred("positive", 1), 2),
        "signed": lambda: (Inferred("signed", 1), 1),
        "sta-unit": lambda: (spiking("unit", 2), 3),
        "sta-positive-2": lambda: (spiking("positive", 1), 2),
        "sta-signed": lambda: (spiking("signed", 1), 1),
    }[kind]()
    model = LinearGaussian(activity_model, seed, steps)
    # sequences of the model itself, each under some activity that it believes in
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(activity_model.num_controls, (4,), generator=generator)
    truth = torch.eye(activity_model.num_controls).double()[which].unsqueeze(1).repeat(1, steps, 1)
    if kind not in ("supervised", "weak"):
        truth = truth * (torch.rand(truth.shape, generator=generator) < 0.6)
    frames = sample_frames(model, truth, seed)
    means = model.encode(frames)
    if kind == "supervised":
        given = truth
        nothing = torch.zeros(4, 4).fill_diagonal_(0.0).double()
        chosen = torch.full((4, 4), -torch.inf).fill_diagonal_(0.0).double()
        every = Enumeration(truth, nothing[0], chosen, torch.zeros(4).double())
        exact = model.exact(frames, truth).diagonal()
    else:
        given = None
        every = enumeration(kind)(activity_model, means)
        exact = (every.log_p.unsqueeze(1) + model.exact(frames, every.g)).logsumexp(0)
    reconstruction = (every.log_q.exp() * model.expected_reconstruction(frames, every.g)).sum(0)
    latent_kl = gaussian_kl(*(x[:, 0] for x in model.posterior(frames)))
    draws = draw(model, frames, SAMPLES, torch.Generator().manual_seed(seed), given)
    weights = log_weights(model, frames, draws, {"known": model.log_prob})
    return Case(model, frames, given, exact, reconstruction - latent_kl - every.kl, weights)


def enumeration(kind: str) -> Callable[..., Enumeration]:
    """What lists all activities of a kind of model."""
    if kind.startswith("sta-"):
        return enumerate_spikes
    return enumerate_fields if kind == "weak" else enumerate_states


KINDS = ("supervised", "weak", "unit", "positive-1", "positive-2", "signed", "sta-unit", "sta-positive-2", "sta-signed")


@pytest.fixture(scope="module", params=[f"{kind}/{seed}" for kind in KINDS for seed in (0, 2)])
def case(request: pytest.FixtureRequest) -> Case:
    kind, seed = request.param.split("/")
    return build_case(kind, int(seed))


def repeated(case: Case, samples: int) -> Tensor:
    """Independent estimates of the bound with ``samples`` draws each, ``(repeats, B)``."""
    blocks = case.log_weight.unflatten(1, (-1, samples)).permute(0, 2, 1, 3)
    cases, _, repeats, batch = blocks.shape
    log_case = case.weights.log_case.unsqueeze(1).expand(cases, repeats, batch)
    return iwae(blocks.flatten(2), log_case.flatten(1)).view(repeats, batch)


def test_elbo_is_below_iwae_is_below_the_exact_log_likelihood(case: Case) -> None:
    """In expectation over the draws, for every sequence; and more samples make the bound tighter."""
    lower = elbo(case.log_weight, case.weights.log_case)
    assert (case.exact - case.expected_elbo > 0.05).all(), "the posterior is too good for this test"
    for samples in (4, 16, 64, 512):
        estimates = repeated(case, samples)
        mean, error = estimates.mean(0), estimates.std(0) / math.sqrt(len(estimates))
        assert (mean <= case.exact + 4 * error).all()
        assert (mean > lower + 1e-3).all()
        lower = mean


def test_iwae_converges_to_the_exact_log_likelihood(case: Case) -> None:
    total = case.weights.log_case.unsqueeze(1) + case.log_weight
    per_sample = total.logsumexp(0)
    relative = (per_sample - per_sample.amax(0)).exp()
    error = relative.std(0) / relative.mean(0) / math.sqrt(SAMPLES)
    assert (error < 0.05).all(), "too few samples for this test"
    assert ((iwae(case.log_weight, case.weights.log_case) - case.exact).abs() < 4 * error + 3e-4).all()


def test_elbo_is_the_expected_reconstruction_minus_the_analytic_kls(case: Case) -> None:
    per_sample = (case.weights.log_case.exp().unsqueeze(1) * case.log_weight).sum(0)
    error = per_sample.std(0) / math.sqrt(SAMPLES)
    found = elbo(case.log_weight, case.weights.log_case)
    assert (error < 0.15).all(), "too few samples for this test"
    assert ((found - case.expected_elbo).abs() < 4 * error + 1e-4).all()


def test_bounds_are_per_frame(case: Case) -> None:
    frames = case.frames.shape[1]
    found = bounds(case.weights, frames)["known"]
    assert set(found) == {"elbo", "iwae"}
    assert torch.allclose(found["elbo"] * frames, elbo(case.log_weight, case.weights.log_case))
    assert torch.allclose(found["iwae"] * frames, iwae(case.log_weight, case.weights.log_case))


def test_iwae_takes_one_logarithm_per_sequence() -> None:
    log_weight = torch.tensor([[[0.0, -1.0], [1.0, -1.0]], [[2.0, -1.0], [3.0, -1.0]]]).double()
    log_case = torch.tensor([[0.25, 0.5], [0.75, 0.5]]).double().log()
    mean = (0.25 * (1 + math.e) + 0.75 * (math.e**2 + math.e**3)) / 2
    expected = torch.tensor([math.log(mean), -1.0]).double()
    assert torch.allclose(iwae(log_weight, log_case), expected)
    assert torch.allclose(elbo(log_weight, log_case), torch.tensor([2.0, -1.0]).double())


@pytest.mark.parametrize("kind", ["supervised", "weak", "unit", "sta-unit"])
def test_the_paper_bound_subtracts_the_kl_of_the_moved_posterior(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the closed-form KL of two Gaussians at each step; it is never above the strict bound."""
    case = build_case(kind, seed=2)
    monkeypatch.setattr("ffrl.objective.paper_bound.TRANSITIONS", 2**16)
    draws = draw(case.model, case.frames, 4096, torch.Generator().manual_seed(5), case.activity)
    weights = log_weights(case.model, case.frames, draws, {"known": case.model.log_prob}, paper=True)
    frames = case.frames.shape[1]
    found = bounds(weights, frames)["known"]
    gap = (found["elbo"] - found["paper"]) * frames
    if kind == "supervised":
        expected = case.model.expected_flow_kl(case.frames, case.activity)
    else:
        every = enumeration(kind)(case.model.activity_model, case.model.encode(case.frames))
        kls = torch.stack(
            [case.model.expected_flow_kl(case.frames, g.expand(len(case.frames), -1, -1)) for g in every.g]
        )
        expected = (every.log_q.exp() * kls).sum(0)
    error = (weights.log_case.exp().unsqueeze(1) * weights.flow_kl).sum(0).std(0) / math.sqrt(4096)
    assert (error < 0.1).all() and (expected > 0.1).all()
    assert ((gap - expected).abs() < 4 * error + 1e-4).all()


def small(mode: str, bound: str = "strict", density: str = "exact", **model: object) -> SequenceModel:
    """A random model of pictures of 4 x 4 pixels."""
    objective = ObjectiveConfig(bound=bound, density=density, likelihood="gaussian", likelihood_scale=0.5)
    data, size = DataConfig(num_steps=4), {"latent_dim": 3, "num_fields": 2, "width": 8, "depth": 1, **model}
    kind = {"supervised": SupervisedConfig, "weak": WeakConfig, "unsupervised": UnsupervisedConfig}[mode]
    sizes = ModelConfig(**size) if mode == "supervised" else SparseModelConfig(**size)
    config = kind(data=data, model=sizes, objective=objective)
    return MODES[mode].build(config, (1, 4, 4)).requires_grad_(False)


def small_frames(seed: int = 0, batch: int = 5) -> Tensor:
    return torch.rand(batch, 5, 1, 4, 4, generator=torch.Generator().manual_seed(seed))


def given_activity(mode: str, batch: int = 5) -> Tensor | None:
    return torch.eye(2)[torch.arange(batch) % 2].unsqueeze(1).repeat(1, 4, 1) if mode == "supervised" else None


@pytest.mark.parametrize("mode", ["supervised", "weak", "unsupervised"])
@pytest.mark.parametrize("integrator", ["euler", "rk4"])
def test_the_flow_term_is_the_one_that_training_subtracts(mode: str, integrator: str) -> None:
    torch.manual_seed(0)
    model = small(mode, "paper", integrator=integrator, time_dependent=True)
    frames, activity = small_frames(), given_activity(mode)
    noise = model.draw_noise(5, 4, torch.Generator().manual_seed(0))
    outputs = model(frames, noise, model.phase(0.9), activity)
    scaled = noise.latent.square() + outputs.log_variance + math.log(2 * math.pi)
    found = flow_kl(model, outputs.latents, outputs.activity, -0.5 * scaled.sum(-1))
    assert torch.allclose(found.float(), training_flow_kl(outputs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", ["supervised", "weak", "unsupervised"])
@pytest.mark.parametrize("seed", range(4))
def test_gaussian_likelihoods_stay_below_what_any_model_can_reach(mode: str, seed: int) -> None:
    torch.manual_seed(seed)
    model = small(mode)
    frames = (torch.rand(5, 5, 1, 4, 4) < 0.5).float()
    scores = likelihoods(model.trained.objective)
    assert [score.name for score in scores] == ["gaussian-1", "gaussian-0.5", "bernoulli"]
    draws = draw(model, frames, 32, torch.Generator().manual_seed(seed), given_activity(mode))
    found = bounds(log_weights(model, frames, draws, {score.name: score for score in scores}), 5)
    for score in scores:
        assert (found[score.name]["iwae"] < score.upper_bound(16)).all()
        assert (found[score.name]["elbo"] < found[score.name]["iwae"]).all()


def test_upper_bounds_are_reached_by_a_perfect_decoder_and_stated() -> None:
    assert math.isclose(PixelLikelihood("gaussian").upper_bound(3 * 28 * 28), -2161.34, abs_tol=0.005)
    assert math.isclose(PixelLikelihood("gaussian").upper_bound(3 * 64 * 64), -11291.92, abs_tol=0.005)
    logits = torch.randn(3, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for score in (PixelLikelihood("gaussian"), PixelLikelihood("gaussian", 0.3), PixelLikelihood("laplace", 0.1)):
        best = torch.full((3,), score.upper_bound(32), dtype=torch.float64)
        assert torch.allclose(score(logits, logits.sigmoid()), best)
        assert (score(logits, (logits + 0.1).sigmoid()) < best).all()
    black = PixelLikelihood("bernoulli")(torch.full((1, 2, 4, 4), -100.0), torch.zeros(1, 2, 4, 4))
    assert black.item() == PixelLikelihood("bernoulli").upper_bound(32) == 0.0


def test_each_likelihood_is_scored_once() -> None:
    def names(kind: str, scale: float) -> list[str]:
        return [score.name for score in likelihoods(ObjectiveConfig(likelihood=kind, likelihood_scale=scale))]

    assert names("gaussian", 1.0) == ["gaussian-1", "bernoulli"]
    assert names("bernoulli", 0.1) == ["gaussian-1", "bernoulli"]
    assert names("laplace", 0.05) == ["gaussian-1", "laplace-0.05", "bernoulli"]


def test_the_legacy_score_can_exceed_what_any_model_can_reach_and_the_bounds_cannot() -> None:
    """A narrow posterior and a perfect decoder: the reversed KL is a gain."""
    torch.manual_seed(0)
    model = small("supervised")
    encoder, decoder = model.encoder[-1], model.decoder[-2]
    encoder.weight.zero_(), decoder.weight.zero_(), decoder.bias.zero_()
    encoder.bias.copy_(torch.tensor([0.0, 0.0, 0.0, -8.0, -8.0, -8.0]))
    frames, activity = torch.full((5, 5, 1, 4, 4), 0.5), given_activity("supervised")
    draws = draw(model, frames, 64, torch.Generator().manual_seed(0), activity)
    best = gaussian_upper_bound(16)
    noise = (draws.z0[0] / math.exp(-4)).double()
    expected = best + 0.5 * (8 - noise.square() + draws.z0[0].double().square()).sum(-1)
    legacy = legacy_score(model, frames, draws)
    assert torch.allclose(legacy, expected, atol=1e-4)
    assert (legacy > best).all()
    found = bounds(log_weights(model, frames, draws, {"known": PixelLikelihood("gaussian")}), 5)["known"]
    assert (found["elbo"] < best).all() and (found["iwae"] < best).all()


@pytest.mark.parametrize("mode", ["supervised", "weak", "unsupervised"])
def test_the_memory_limit_does_not_change_the_numbers(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model, frames = small(mode, "paper"), small_frames()
    draws = draw(model, frames, 7, torch.Generator().manual_seed(0), given_activity(mode))
    log_probs = {"known": PixelLikelihood("gaussian"), "other": PixelLikelihood("bernoulli")}
    whole = log_weights(model, frames, draws, log_probs, paper=True)
    sizes = []
    decode = model.decode_logits
    monkeypatch.setattr(model, "decode_logits", lambda z: sizes.append(len(z)) or decode(z))
    monkeypatch.setattr(ffrl.evaluation.likelihood.estimate, "PIXELS", 2 * frames.numel())
    monkeypatch.setattr("ffrl.objective.paper_bound.TRANSITIONS", 3)
    parts = log_weights(model, frames, draws, log_probs, paper=True)
    assert max(sizes) == 10 and sum(sizes) == whole.pixels["known"].numel()
    for name in log_probs:
        assert torch.allclose(whole.pixels[name], parts.pixels[name], rtol=1e-6)
    assert torch.allclose(whole.flow_kl, parts.flow_kl, rtol=1e-4, atol=1e-4)
    assert torch.equal(whole.latent, parts.latent)


def test_draws_pair_every_case_with_the_same_latents_and_the_right_sample() -> None:
    """Each (case, sample) is scored with its own activity: swapping the samples swaps the weights."""
    torch.manual_seed(0)
    model, frames = small("unsupervised"), small_frames()
    draws = draw(model, frames, 6, torch.Generator().manual_seed(0))
    order = torch.tensor([5, 2, 0, 1, 4, 3])
    swapped = replace(
        draws,
        z0=draws.z0[order],
        log_q=draws.log_q[order],
        log_p=draws.log_p[order],
        activity=replace(draws.activity, g=draws.activity.g[:, order], log_ratio=draws.activity.log_ratio[:, order]),
    )
    first, second = (log_weights(model, frames, x, {"known": PixelLikelihood("gaussian")}) for x in (draws, swapped))
    assert torch.allclose(first.pixels["known"][:, order], second.pixels["known"], rtol=1e-6)
    assert first.pixels["known"].std(1).min() > 1e-4
    assert torch.allclose(first.latent[:, order], second.latent)


def test_a_given_activity_needs_the_first_frame_alone() -> None:
    torch.manual_seed(0)
    model, activity = small("supervised"), given_activity("supervised")
    frames = small_frames()
    changed = torch.cat([frames[:, :1], small_frames(seed=1)[:, 1:]], 1)
    first, second = (draw(model, x, 3, torch.Generator().manual_seed(0), activity) for x in (frames, changed))
    assert torch.equal(first.z0, second.z0)
    assert torch.equal(first.activity.g, activity.expand(1, 3, -1, -1, -1))
    assert not first.activity.log_ratio.any() and not first.activity.log_case.any()
