"""The evidence lower bound: its terms against independent computations, and that it bounds."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from exact_tools import awaken
from numpy.polynomial.hermite_e import hermegauss
from torch import Tensor
from torch.distributions import Laplace, Normal, kl_divergence
from torch.func import jacrev, vmap

from ffrl.config import DataConfig, ModelConfig, ObjectiveConfig, SupervisedConfig
from ffrl.distributions.pixels import log_likelihood
from ffrl.fields.hamilton_jacobi import hamilton_jacobi_terms
from ffrl.models.interface import SequenceModel
from ffrl.models.outputs import SequenceNoise, SequenceOutputs
from ffrl.models.supervised import MODE as SUPERVISED
from ffrl.objective.elbo import elbo_terms, flow_kl
from stf.config import SparseModelConfig, UnsupervisedConfig, WeakConfig
from stf.config.modes import UNSUPERVISED, WEAK

pytestmark = pytest.mark.usefixtures("float64")
IMAGE, STEPS, BATCH = (1, 3, 3), 3, 4
SIZE = {"latent_dim": 4, "num_fields": 2, "width": 12, "depth": 1, "potential_width": 6}
PAPER = {"bound": "paper", "likelihood": "gaussian", "likelihood_scale": 0.5}


def build(
    objective: dict | None = None, sparse: bool = False, seed: int = 0, strength: float = 5.0, **size
) -> SequenceModel:
    """A small model in float64 whose fields are strong enough to change the density."""
    torch.manual_seed(seed)
    shared = {"data": DataConfig(num_steps=STEPS), "objective": ObjectiveConfig(**(objective or {}))}
    if sparse:
        extra = {"rotational_width": 6, "rotational_rank": 2}
        config = UnsupervisedConfig(model=SparseModelConfig(**SIZE | extra | size), **shared)
        model = UNSUPERVISED.build(config, IMAGE)
    else:
        model = SUPERVISED.build(SupervisedConfig(model=ModelConfig(**SIZE | size), **shared), IMAGE)
    with torch.no_grad():
        for name, parameter in model.field_model.named_parameters():
            if name.endswith(("scale", "linear")):
                parameter.mul_(strength)
    if sparse:
        awaken(model, random_frames(torch.Generator().manual_seed(0)))
    return model.eval().requires_grad_(False)


def random_frames(generator: torch.Generator) -> Tensor:
    return torch.rand(BATCH, STEPS + 1, *IMAGE, generator=generator)


def run(model: SequenceModel, seed: int = 0) -> tuple[SequenceOutputs, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    frames = random_frames(generator)
    noise = model.draw_noise(BATCH, STEPS, generator)
    noise = SequenceNoise(noise.latent.double(), noise.others.double(), noise.activity.double())
    given = torch.eye(model.num_controls)[torch.arange(BATCH) % model.num_controls]
    activity = None if not model.activity_kind.given else given.unsqueeze(1).repeat(1, STEPS, 1)
    return model(frames, noise, model.phase(1.0), activity), frames


MODES = [pytest.param(False, id="supervised"), pytest.param(True, id="unsupervised")]


@pytest.mark.parametrize("sparse", MODES)
@pytest.mark.parametrize("objective", [{}, PAPER, {"likelihood": "bernoulli"}])
def test_terms_are_finite_scalars_and_the_loss_is_their_sum(sparse: bool, objective: dict) -> None:
    model = build(objective, sparse)
    outputs, frames = run(model)
    terms = elbo_terms(outputs, frames, model.trained.objective)
    expected = {"loss", "reconstruction", "l1", "kl_latent"}
    expected |= {"kl_flow"} if objective.get("bound") == "paper" else set()
    expected |= {"kl_spike", "kl_slab", "agreement"} if sparse else set()
    assert set(terms) == expected
    for value in terms.values():
        assert value.shape == () and value.isfinite()
    subtracted = sum(value for name, value in terms.items() if name.startswith(("kl_", "hj_", "agreement")))
    torch.testing.assert_close(terms["loss"], subtracted - terms["reconstruction"], rtol=1e-12, atol=0.0)


def test_terms_are_per_frame_and_averaged_over_the_batch() -> None:
    model = build({"likelihood": "laplace", "likelihood_scale": 0.2}, sparse=True)
    outputs, frames = run(model)
    terms = elbo_terms(outputs, frames, model.trained.objective)
    images = outputs.logits.sigmoid()
    reconstruction = Laplace(images, 0.2).log_prob(frames).sum() / (BATCH * (STEPS + 1))
    torch.testing.assert_close(terms["reconstruction"], reconstruction, rtol=1e-12, atol=0.0)
    q = Normal(outputs.mean, (0.5 * outputs.log_variance).exp())
    kl = kl_divergence(q, Normal(torch.zeros_like(outputs.mean), 1.0)).sum() / (BATCH * (STEPS + 1))
    torch.testing.assert_close(terms["kl_latent"], kl, rtol=1e-12, atol=0.0)
    activity = sum(model.activity(frames).kl().values()).sum() / (BATCH * (STEPS + 1))
    torch.testing.assert_close(terms["kl_spike"] + terms["kl_slab"], activity, rtol=1e-12, atol=0.0)
    agreement = outputs.penalties["agreement"].sum() / (BATCH * (STEPS + 1))
    torch.testing.assert_close(terms["agreement"], agreement, rtol=1e-12, atol=0.0)
    l1 = (images - frames).abs().sum() / (BATCH * (STEPS + 1))
    torch.testing.assert_close(terms["l1"], l1, rtol=1e-12, atol=0.0)


def test_strict_bound_has_no_third_term() -> None:
    outputs, _ = run(build({"bound": "strict"}))
    assert outputs.log_density_change is None and outputs.log_prior is None
    assert torch.equal(flow_kl(outputs), torch.zeros(BATCH))


def simulated_flow_kl(model: SequenceModel, outputs: SequenceOutputs, method: str) -> Tensor:
    """log q_t by automatic differentiation of the model's own flow, log p_t by simulating the diffusion."""
    std = (0.5 * outputs.log_variance).exp()
    z, total = outputs.latents[:, 0], torch.zeros(BATCH)
    log_q = Normal(outputs.mean, std).log_prob(z).sum(-1)
    sigma, kappa = torch.ones(BATCH), model.log_diffusion.exp()
    for step in range(STEPS):
        g, t = outputs.activity[:, step], torch.tensor((step + 1) / STEPS)

        def velocity(z: Tensor, g: Tensor, t: Tensor = t) -> Tensor:
            gradient, rotation = model.fields(z.unsqueeze(0), t)
            return (g.unsqueeze(-1) * (gradient + rotation)[0]).sum(0)

        if method == "exact":
            jacobian = torch.eye(z.shape[-1]) + vmap(jacrev(velocity))(z, g)
            log_q = log_q - torch.linalg.slogdet(jacobian).logabsdet
        else:
            divergence = vmap(jacrev(velocity))(z, g).diagonal(dim1=-2, dim2=-1).sum(-1)
            log_q = log_q - (divergence if method == "trace" else torch.log(torch.abs(1 + divergence)))
        z = z + vmap(velocity)(z, g)
        torch.testing.assert_close(z, outputs.latents[:, step + 1], rtol=1e-11, atol=1e-12)
        sigma = sigma + (g.abs() * kappa).sum(-1) / sigma
        total = total + log_q - Normal(0.0, sigma.unsqueeze(-1)).log_prob(z).sum(-1)
    return total


@pytest.mark.parametrize("sparse", MODES)
@pytest.mark.parametrize("density", ["exact", "trace", "poster"])
@pytest.mark.parametrize("timed", [False, True])
def test_third_term_of_the_paper_bound(sparse: bool, density: str, timed: bool) -> None:
    model = build(PAPER | {"density": density}, sparse, time_dependent=timed)
    model.log_diffusion.copy_(torch.linspace(-2.0, -0.5, model.num_controls))
    outputs, frames = run(model)
    expected = simulated_flow_kl(model, outputs, density)
    assert (outputs.log_density_change.abs() > 1e-3).any()
    torch.testing.assert_close(flow_kl(outputs), expected, rtol=1e-10, atol=1e-10)
    terms = elbo_terms(outputs, frames, model.trained.objective)
    torch.testing.assert_close(terms["kl_flow"], expected.mean() / (STEPS + 1), rtol=1e-10, atol=1e-11)


def test_the_third_term_is_all_that_tells_the_two_bounds_apart() -> None:
    strict, paper = build(PAPER | {"bound": "strict"}), build(PAPER)
    paper.load_state_dict(strict.state_dict(), strict=False)
    (first, frames), (second, _) = run(strict), run(paper)
    strict_terms = elbo_terms(first, frames, strict.trained.objective)
    paper_terms = elbo_terms(second, frames, paper.trained.objective)
    for name in ("reconstruction", "kl_latent", "l1"):
        torch.testing.assert_close(strict_terms[name], paper_terms[name], rtol=1e-13, atol=0.0)
    difference = paper_terms["loss"] - strict_terms["loss"]
    torch.testing.assert_close(difference, paper_terms["kl_flow"], rtol=1e-10, atol=1e-12)


def gauss_hermite(model: SequenceModel, frames: Tensor, activity: Tensor) -> float:
    """Expectation over z_0 ~ q of minus the loss, times T + 1: the bound on log p(frames | activity)."""
    nodes, weights = (torch.as_tensor(array) for array in hermegauss(60))
    total = 0.0
    for node, weight in zip(nodes, weights / math.sqrt(2 * math.pi), strict=True):
        noise = SequenceNoise(node.reshape(1, 1), torch.zeros(1, STEPS, 1), torch.zeros(1, STEPS, 2, 0))
        outputs = model(frames, noise, model.phase(0.9), activity)
        total -= weight.item() * elbo_terms(outputs, frames, model.trained.objective)["loss"].item() * (STEPS + 1)
    return total


@pytest.mark.parametrize("seed", range(3))
def test_bounds_lie_below_the_log_likelihood_and_the_paper_bound_below_the_strict(seed: int) -> None:
    """One latent dimension, where log p(frames | k) is an integral over z_0 that can be computed."""
    objective = {"likelihood": "gaussian", "likelihood_scale": 0.5}
    strict = build(objective | {"bound": "strict"}, seed=seed, strength=0.5, latent_dim=1)
    paper = build(objective | {"bound": "paper"}, seed=seed, strength=0.5, latent_dim=1)
    paper.load_state_dict(strict.state_dict(), strict=False)
    frames = torch.rand(1, STEPS + 1, *IMAGE)
    activity = torch.tensor([1.0, 0.0]).expand(1, STEPS, 2)

    z0 = torch.linspace(-10, 10, 4001).unsqueeze(-1)
    logits = strict.decode_logits(strict.flow(z0, activity.expand(len(z0), -1, -1)))
    log_joint = (
        log_likelihood(logits, frames.expand_as(logits), "gaussian", 0.5).sum(1) + Normal(0.0, 1.0).log_prob(z0)[:, 0]
    )
    evidence = torch.log(torch.trapezoid(log_joint.exp(), z0[:, 0])).item()

    bounds = [gauss_hermite(model, frames, activity) for model in (paper, strict)]
    assert bounds[0] < bounds[1] < evidence


def test_hamilton_jacobi_terms_are_weighted_and_subtracted() -> None:
    weights = {"hj_weight": 0.3, "hj_initial_weight": 0.7}
    torch.manual_seed(0)
    config = SupervisedConfig(
        data=DataConfig(num_steps=STEPS),
        model=ModelConfig(**SIZE, time_dependent=True),
        objective=ObjectiveConfig(**weights),
    )
    model = SUPERVISED.build(config, IMAGE).requires_grad_(False)
    outputs, frames = run(model)
    terms = elbo_terms(outputs, frames, config.objective)
    without = elbo_terms(dataclasses.replace(outputs, penalties={}), frames, config.objective)
    times = torch.arange(1, STEPS + 1) / STEPS
    unweighted = hamilton_jacobi_terms(model.field_model, model.penalties[0].source, outputs.latents[:, :-1], times)
    for name, weight in (("residual", 0.3), ("initial", 0.7)):
        expected = weight * unweighted[name].mean() / (STEPS + 1)
        assert expected > 0
        torch.testing.assert_close(terms[f"hj_{name}"], expected, rtol=1e-12, atol=0.0)
        assert f"hj_{name}" not in without
    difference = terms["hj_residual"] + terms["hj_initial"]
    torch.testing.assert_close(terms["loss"] - without["loss"], difference, rtol=1e-9, atol=1e-12)


def test_penalties_are_taken_before_each_transition_at_its_time() -> None:
    torch.manual_seed(0)
    config = SupervisedConfig(
        data=DataConfig(num_steps=STEPS),
        model=ModelConfig(**SIZE, time_dependent=True),
        objective=ObjectiveConfig(hj_weight=1.0, hj_source=False),
    )
    model = SUPERVISED.build(config, IMAGE).requires_grad_(False)
    outputs, _ = run(model)
    assert model.penalties[0].source is None
    expected = hamilton_jacobi_terms(
        model.field_model, None, outputs.latents[:, :-1], torch.tensor([1 / 3, 2 / 3, 1.0])
    )
    for name, value in expected.items():
        if name == "residual":
            torch.testing.assert_close(outputs.penalties["hj_residual"], value, rtol=1e-11, atol=0.0)


def test_weak_bound_charges_for_the_unknown_field() -> None:
    torch.manual_seed(0)
    config = WeakConfig(data=DataConfig(num_steps=STEPS), model=SparseModelConfig(**SIZE))
    model, frames = WEAK.build(config, IMAGE), random_frames(torch.Generator().manual_seed(0))
    awaken(model, frames).eval().requires_grad_(False)
    outputs = model(frames, model.draw_noise(BATCH, STEPS, None), model.phase(0.9))
    q = model.activity(frames).probability[:, 0]
    assert torch.equal(q.argmax(-1), outputs.activity[:, 0].argmax(-1)) and (q.amax(-1) < 1).any()
    expected = (q * (q * 2).log()).sum(-1).mean() / (STEPS + 1)
    found = elbo_terms(outputs, frames, config.objective)["kl_spike"]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-14)
