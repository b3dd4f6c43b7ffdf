"""Activity of a model: given, or inferred exactly by the fields that are alive, under the rates that were counted."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ffrl.models.activity import GivenActivity, Phase
from stf.inference.activity import PSEUDO, ExactActivity
from stf.inference.evidence import FLOOR
from stf.inference.posterior import ActivityPosterior
from stf.inference.prior import ActivityPrior
from stf.models.sparse_flow import enumerated

pytestmark = pytest.mark.usefixtures("float64")
FIELDS, DIM, BATCH, STEPS = 3, 5, 4, 6
CONSTANT = ActivityPrior("unit", most=1, constant=True)


def activity(prior: ActivityPrior | None = None, learn_rates: bool = True, controls: int = FIELDS) -> ExactActivity:
    return ExactActivity(controls, DIM, prior or ActivityPrior(most=2), 0.1, 0.3, learn_rates).double()


def scene(
    model: ExactActivity, batch: int = BATCH, seed: int = 0, size: float = 4.0
) -> tuple[Tensor, Tensor, Tensor, ActivityPosterior]:
    """Latent means that fields of typical whitened length ``size`` move, with the noise of the model; what is inferred.

    Returns:
        means ``(B, T+1, D)``, velocities ``(B, T, C, D)``, true activity ``(B, T, C)``, and the posterior.
    """
    source = torch.Generator().manual_seed(seed)
    unit = model.unit
    shape = (batch, STEPS, model.num_controls)
    velocities = torch.randn(*shape, DIM, generator=source) * size / DIM**0.5 / unit
    g = torch.zeros(shape)
    which = torch.randint(model.num_controls, (batch, STEPS), generator=source)
    g.scatter_(-1, which.unsqueeze(-1), 1 + 0.3 * torch.randn(batch, STEPS, 1, generator=source))
    g *= (torch.rand(batch, STEPS, 1, generator=source) < 0.5).double()
    noise = torch.randn(batch, STEPS, DIM, generator=source) * FLOOR**0.5 / unit
    moved = (g.unsqueeze(-1) * velocities).sum(-2) + noise
    means = torch.cat([torch.zeros(batch, 1, DIM), moved.cumsum(1)], 1)
    return means, velocities, g, model.posterior(means, velocities[:, :, model.places])


def test_given_activity_infers_nothing() -> None:
    given, means = GivenActivity(3), torch.zeros(BATCH, STEPS + 1, DIM)
    with pytest.raises(ValueError, match="pass activity"):
        given(means, means, Phase())
    with pytest.raises(ValueError, match="infers no activity"):
        given.infer(means)
    with pytest.raises(ValueError, match="infers no activity"):
        given.draws(means, 1, None)
    assert given.phase(0.1) == given.phase(0.9)


def test_exact_activity_needs_the_fields_of_its_model() -> None:
    model, means = activity(), torch.zeros(BATCH, STEPS + 1, DIM)
    for call in (lambda: model(means, means, Phase()), lambda: model.infer(means), lambda: model.draws(means, 1, None)):
        with pytest.raises(TypeError, match="with the fields of its model"):
            call()


def test_one_field_throughout_is_enumerated_with_its_probability() -> None:
    model, samples = activity(CONSTANT), 2
    model.misfit.fill_(0.1)
    _, _, _, found = scene(model, size=0.5)
    q, draws = found.paths.marginal[:, 0], enumerated(found, samples)
    assert q.min() > 1e-6 and q.max() < 0.999
    assert draws.g.shape == (FIELDS, samples, BATCH, STEPS, FIELDS)
    torch.testing.assert_close(draws.log_case.exp(), q.T, rtol=1e-12, atol=0.0)
    torch.testing.assert_close(draws.log_case.exp().sum(0), torch.ones(BATCH), rtol=1e-12, atol=0.0)
    for case in range(FIELDS):
        assert torch.equal(draws.g[case], torch.eye(FIELDS)[case].expand(samples, BATCH, STEPS, FIELDS))
        expected = -math.log(FIELDS) - q[:, case].log()
        torch.testing.assert_close(draws.log_ratio[case], expected.expand(samples, BATCH), rtol=1e-12, atol=1e-12)
    kl = -(draws.log_case.exp() * draws.log_ratio[:, 0]).sum(0)
    assert set(found.kl()) == {"spike"}
    torch.testing.assert_close(found.kl()["spike"], kl, rtol=1e-9, atol=1e-12)
    best = torch.eye(FIELDS)[q.argmax(-1)].unsqueeze(1).expand(BATCH, STEPS, FIELDS)
    assert torch.equal(found.mean_on(), best)


def test_one_field_throughout_multiplies_the_evidence_of_all_steps() -> None:
    model = activity(CONSTANT)
    means, velocities, _, found = scene(model, size=0.5)
    residual = (means.diff(dim=1).unsqueeze(2) - velocities) * model.unit
    scale = FLOOR + model.misfit * (means.diff(dim=1) * model.unit).square().mean(-1, keepdim=True)
    log = -0.5 * (residual.square().sum(-1) / scale + DIM * (2 * math.pi * scale).log())
    torch.testing.assert_close(found.paths.marginal[:, 0], log.sum(1).softmax(-1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("prior", [ActivityPrior(most=2), ActivityPrior("unit", most=2), CONSTANT])
def test_fields_that_are_not_alive_are_never_on_and_leave_no_trace(prior: ActivityPrior) -> None:
    model, small = activity(prior, controls=4), activity(prior, controls=2)
    variance, misfit = torch.linspace(0.5, 2.0, DIM), torch.tensor(0.2)
    model.adopt([3, 1], variance, misfit)
    small.adopt([0, 1], variance, misfit)
    means, velocities, _, found = scene(model, size=2.0)
    alone = small.posterior(means, velocities[:, :, [1, 3]])
    for name in ("probability", "speed", "deviation"):
        both, few = getattr(found, name), getattr(alone, name)
        torch.testing.assert_close(both[..., [1, 3]], few, rtol=1e-12, atol=1e-14)
    assert not found.probability[..., [0, 2]].any() and not found.mean_on()[..., [0, 2]].any()
    torch.testing.assert_close(found.log_evidence(), alone.log_evidence(), rtol=1e-12, atol=0.0)
    assert model.prior_on()[[0, 2]].tolist() == [0.0, 0.0] and (model.prior_on()[[1, 3]] > 0).all()
    assert model.places == [1, 3] and model.index.tolist() == [1, 3]


def test_what_was_loaded_is_alive() -> None:
    model, other = activity(), activity()
    model.adopt([2], torch.ones(DIM), torch.tensor(0.5))
    assert other.places == [0, 1, 2]
    other.load_state_dict(model.state_dict())
    assert other.places == [2] and other.index.tolist() == [2]


def test_the_prior_is_that_of_the_chains() -> None:
    model = activity()
    on, off = model.rates()
    torch.testing.assert_close(on, torch.full((FIELDS,), 0.1), rtol=1e-6, atol=0.0)
    torch.testing.assert_close(off, torch.full((FIELDS,), 0.3), rtol=1e-6, atol=0.0)
    torch.testing.assert_close(model.prior_on(), torch.full((FIELDS,), 0.25), rtol=1e-6, atol=0.0)
    constant = activity(CONSTANT)
    torch.testing.assert_close(constant.prior_on(), torch.full((FIELDS,), 1 / FIELDS))


def test_rates_are_those_of_the_counts_with_some_of_the_configuration() -> None:
    model = activity()
    model.counts[0] = torch.tensor([[60.0, 40.0], [10.0, 90.0]])
    pseudo = torch.tensor([[0.75 * 0.9, 0.75 * 0.1], [0.25 * 0.3, 0.25 * 0.7]]) * PSEUDO
    total = model.counts[0] + pseudo
    on, off = model.rates()
    assert on[0].item() == pytest.approx((total[0, 1] / total[0].sum()).item())
    assert off[0].item() == pytest.approx((total[1, 0] / total[1].sum()).item())
    assert on[1].item() == pytest.approx(0.1) and off[2].item() == pytest.approx(0.3)


def test_fixed_rates_and_constant_activity_count_nothing() -> None:
    for model in (activity(learn_rates=False), activity(CONSTANT)):
        means, _, _, found = scene(model)
        model.follow(found, means, torch.ones_like(means))
        assert not model.counts.any() and model.misfit != 1.0
