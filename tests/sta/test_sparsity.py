"""Spikes and slabs: exact KLs against enumeration and integration, relaxed samples against the law they stand for."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import kstest
from torch import Tensor
from torch.distributions import Bernoulli, Laplace, kl_divergence

from stf.sta.sparsity import (
    NEGLIGIBLE,
    SpikeChain,
    bernoulli_kl,
    binary_concrete,
    laplace_kl,
    laplace_log_prob,
    laplace_sample,
    sign_kl,
)

pytestmark = pytest.mark.usefixtures("float64")
DRAWS = 200_000


def uniform(*shape: int, seed: int = 0) -> Tensor:
    tiny = torch.finfo(torch.float64).eps
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)).clamp(tiny, 1 - tiny)


def chain_with_different_rates() -> SpikeChain:
    chain = SpikeChain(3, on_rate=0.1, off_rate=0.3, learned=True)
    rates = torch.tensor([[0.02, 0.4], [0.3, 0.1], [0.5, 0.5]])
    with torch.no_grad():
        chain.rate_logits.copy_(torch.logit(rates))
    return chain


def path_probability(path: tuple[int, ...], on: float, off: float) -> float:
    stationary = on / (on + off)
    probability = stationary if path[0] else 1 - stationary
    for before, after in itertools.pairwise(path):
        switched_on = (1 - off) if before else on
        probability *= switched_on if after else 1 - switched_on
    return probability


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("strength", [1.0, 6.0])
def test_chain_kl_is_the_sum_over_all_paths_of_every_control(steps: int, strength: float) -> None:
    torch.manual_seed(0)
    chain, logits = chain_with_different_rates(), strength * torch.randn(2, steps, 3)
    found, q = chain.kl(logits), logits.sigmoid()
    for sample in range(2):
        expected = 0.0
        for control in range(3):
            on, off = (rate[control].item() for rate in chain.rates())
            for path in itertools.product((0, 1), repeat=steps):
                chosen = [
                    q[sample, t, control].item() if y else 1 - q[sample, t, control].item() for t, y in enumerate(path)
                ]
                weight = math.prod(chosen)
                expected += weight * (math.log(weight) - math.log(path_probability(path, on, off)))
        assert found[sample].item() == pytest.approx(expected, rel=1e-10)


def test_log_prob_of_paths_is_the_product_of_transitions_and_sums_to_one() -> None:
    chain, steps = chain_with_different_rates(), 4
    paths = list(itertools.product((0, 1), repeat=steps))
    spikes = torch.tensor(paths, dtype=torch.float64)
    for control in range(3):
        alone = SpikeChain(1, 0.1, 0.3, learned=True)
        alone.rate_logits = torch.nn.Parameter(chain.rate_logits[control : control + 1].detach())
        log_p = alone.log_prob(spikes.unsqueeze(-1))
        on, off = (rate.item() for rate in alone.rates())
        expected = torch.tensor([path_probability(path, on, off) for path in paths])
        torch.testing.assert_close(log_p.exp(), expected, rtol=1e-12, atol=0.0)
        assert log_p.exp().sum().item() == pytest.approx(1.0, abs=1e-12)
    joint = torch.stack([spikes[3], spikes[9], spikes[14]], dim=-1)
    each = [path_probability(paths[i], *(rate[c].item() for rate in chain.rates())) for c, i in enumerate((3, 9, 14))]
    assert chain.log_prob(joint).item() == pytest.approx(math.log(math.prod(each)), rel=1e-12)


def test_chain_starts_from_its_stationary_law() -> None:
    chain = chain_with_different_rates()
    on, off = chain.rates()
    shape = (2, 1, 3)
    first = chain.log_prob(torch.stack([torch.zeros(1, 3), torch.ones(1, 3)]).reshape(shape))
    assert first.shape == (2,)
    pi = on / (on + off)
    assert first[1].item() == pytest.approx(pi.log().sum().item())
    torch.testing.assert_close(pi * (1 - off) + (1 - pi) * on, pi, rtol=1e-12, atol=0.0)
    frequency = torch.zeros(3)
    for path in itertools.product((0, 1), repeat=6):
        if path[-1]:
            frequency += torch.tensor([path_probability(path, on[c].item(), off[c].item()) for c in range(3)])
    torch.testing.assert_close(frequency, pi, rtol=1e-12, atol=0.0)


def test_rates_are_the_configured_ones_and_sparse_when_on_is_rarer() -> None:
    chain = SpikeChain(4, on_rate=0.05, off_rate=0.3)
    on, off = chain.rates()
    torch.testing.assert_close(on, torch.full((4,), 0.05), rtol=1e-12, atol=0.0)
    torch.testing.assert_close(off, torch.full((4,), 0.3), rtol=1e-12, atol=0.0)
    assert list(chain.parameters()) == [] and "rate_logits" in chain.state_dict()
    silent, active = chain.log_prob(torch.zeros(8, 4)), chain.log_prob(torch.ones(8, 4))
    assert silent > active
    even = SpikeChain(4, on_rate=0.2, off_rate=0.2)
    torch.testing.assert_close(even.log_prob(torch.zeros(8, 4)), even.log_prob(torch.ones(8, 4)), rtol=1e-12, atol=0.0)


def test_learned_rates_receive_the_gradient_of_the_kl() -> None:
    torch.manual_seed(0)
    chain, logits = chain_with_different_rates(), torch.randn(4, 6, 3)
    chain.kl(logits).sum().backward()
    for control, rate in itertools.product(range(3), range(2)):
        shifted = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                chain.rate_logits[control, rate] += step
                shifted.append(chain.kl(logits).sum())
                chain.rate_logits[control, rate] -= step
        slope = ((shifted[0] - shifted[1]) / 2e-6).item()
        assert abs(slope) > 1e-3
        assert chain.rate_logits.grad[control, rate].item() == pytest.approx(slope, rel=1e-5)


def test_spike_kl_carries_its_gradient_to_every_logit() -> None:
    torch.manual_seed(0)
    chain, logits = chain_with_different_rates().requires_grad_(False), torch.randn(2, 5, 3, requires_grad=True)
    assert torch.autograd.gradcheck(chain.kl, logits)
    (gradient,) = torch.autograd.grad(chain.kl(logits).sum(), logits)
    assert (gradient.abs() > 1e-6).all()


@pytest.mark.parametrize("probability", [0.01, 0.5, 0.97])
def test_bernoulli_kl(probability: float) -> None:
    logits = torch.linspace(-6, 6, 25)
    p = torch.tensor(probability)
    expected = kl_divergence(Bernoulli(logits=logits), Bernoulli(probs=p.expand(25)))
    torch.testing.assert_close(bernoulli_kl(logits, p.log(), (1 - p).log()), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kls_stay_finite_for_extreme_logits(dtype: torch.dtype) -> None:
    logits = torch.tensor([-1e4, -200.0, -50.0, 50.0, 200.0, 1e4], dtype=dtype, requires_grad=True)
    chain = SpikeChain(1, 1e-4, 0.3).to(dtype)
    half = torch.tensor(0.5, dtype=dtype).log()
    for kl in (bernoulli_kl(logits, half, half), sign_kl(logits), chain.kl(logits.reshape(-1, 1))):
        (gradient,) = torch.autograd.grad(kl.sum(), logits, retain_graph=True)
        assert kl.isfinite().all() and gradient.isfinite().all()
    torch.testing.assert_close(
        sign_kl(logits).detach(), torch.full((6,), math.log(2), dtype=dtype), rtol=1e-6, atol=0.0
    )


def test_sign_kl_is_log_two_minus_the_entropy() -> None:
    logits = torch.linspace(-5, 5, 21)
    expected = math.log(2) - Bernoulli(logits=logits).entropy()
    torch.testing.assert_close(sign_kl(logits), expected, rtol=1e-10, atol=1e-13)
    assert sign_kl(torch.zeros(1)).item() == pytest.approx(0.0, abs=1e-15)


LAPLACES = [(1.0, 0.1), (1.4, 0.1), (0.2, 0.5), (-0.7, 0.03), (1.0, 1.5)]


@pytest.mark.parametrize(("location", "scale"), LAPLACES)
@pytest.mark.parametrize("prior_scale", [0.1, 0.7])
def test_laplace_kl_is_the_integral(location: float, scale: float, prior_scale: float) -> None:
    q, p = Laplace(location, scale), Laplace(1.0, prior_scale)

    def integrand(x: float) -> float:
        at = torch.tensor(x)
        return (q.log_prob(at).exp() * (q.log_prob(at) - p.log_prob(at))).item()

    edges = sorted({location - 40 * scale, location, 1.0, location + 40 * scale} | {location - scale, location + scale})
    expected = sum(quad(integrand, a, b, epsabs=1e-13, epsrel=1e-11)[0] for a, b in itertools.pairwise(edges))
    found = laplace_kl(torch.tensor(location), torch.tensor(scale), prior_scale).item()
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-10)
    assert found == pytest.approx(kl_divergence(q, p).item(), rel=1e-10, abs=1e-13)


@pytest.mark.parametrize(("location", "scale"), LAPLACES)
def test_laplace_log_prob(location: float, scale: float) -> None:
    x = torch.linspace(-3, 3, 31)
    expected = Laplace(location, scale).log_prob(x)
    torch.testing.assert_close(laplace_log_prob(x, location, scale), expected, rtol=1e-12, atol=1e-13)
    as_tensors = laplace_log_prob(x, torch.tensor(location), torch.tensor(scale))
    torch.testing.assert_close(as_tensors, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("location", "scale"), LAPLACES)
def test_laplace_samples_follow_their_law(location: float, scale: float) -> None:
    drawn = laplace_sample(torch.tensor(location), torch.tensor(scale), uniform(20_000))
    assert kstest(drawn.numpy(), "laplace", args=(location, scale)).pvalue > 0.01
    assert kstest(drawn.numpy(), "laplace", args=(location + 0.1 * scale, scale)).pvalue < 1e-6


def test_laplace_samples_are_reparametrised() -> None:
    location, scale = torch.tensor(1.2, requires_grad=True), torch.tensor(0.3, requires_grad=True)
    noise = torch.tensor([0.1, 0.5, 0.9])
    drawn = laplace_sample(location, scale, noise)
    for value in drawn:
        by_location, by_scale = torch.autograd.grad(value, (location, scale), retain_graph=True)
        assert by_location.item() == pytest.approx(1.0)
        assert by_scale.item() == pytest.approx((value.item() - 1.2) / 0.3, abs=1e-12)


@pytest.mark.parametrize("q", [0.05, 0.5, 0.8])
@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_relaxed_spikes_cut_at_one_half_are_bernoulli(q: float, temperature: float) -> None:
    logit = torch.logit(torch.tensor(q))
    share = (binary_concrete(logit, uniform(DRAWS), temperature) > 0.5).double().mean().item()
    assert share == pytest.approx(q, abs=4 * math.sqrt(q * (1 - q) / DRAWS))


def test_one_gumbel_would_be_wrong() -> None:
    """At q = 1/2 a single Gumbel is above 0 with probability 1 - 1/e = 0.632; the logistic noise used here is not."""
    noise = uniform(DRAWS)
    one_gumbel = (torch.sigmoid(-torch.log(-torch.log(noise))) > 0.5).double().mean().item()
    assert one_gumbel == pytest.approx(1 - 1 / math.e, abs=0.005)
    ours = (binary_concrete(torch.zeros(()), noise, 1.0) > 0.5).double().mean().item()
    assert abs(ours - one_gumbel) > 0.12


def test_relaxed_spikes_follow_the_binary_concrete_law() -> None:
    """P(x <= c) = sigmoid(temperature logit(c) - logit(q)) (Maddison, Mnih and Teh 2017, App. B)."""
    logit, temperature = torch.tensor(-0.7), 0.6
    drawn = binary_concrete(logit, uniform(20_000), temperature).numpy()

    def law(c):
        return torch.sigmoid(temperature * torch.logit(torch.as_tensor(c)) - logit).numpy()

    assert kstest(drawn, law).pvalue > 0.01


def test_cold_relaxed_spikes_are_hard() -> None:
    noise, logits = uniform(20_000), torch.tensor(0.4)
    cold = binary_concrete(logits, noise, 1e-4)
    hard = (noise > 1 - logits.sigmoid()).double()
    assert ((cold - hard).abs() > 1e-6).double().mean() < 2e-3


def test_relaxed_spikes_are_never_denormal() -> None:
    logits = torch.tensor([400.0, 0.0, -400.0, -1e4, 1e4])
    sample = binary_concrete(logits, torch.full_like(logits, 0.3), 0.1)
    assert sample.min() >= 0.99 * torch.tensor(NEGLIGIBLE).exp()
    assert sample.max() == 1.0
