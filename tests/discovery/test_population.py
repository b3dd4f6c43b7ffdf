"""Candidates that learn side by side: gradients against autograd, independence, dead fields, held-out evidence."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from discovery_tools import DIM, helmholtz, line, planted, rotation, setting
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from ffrl.fields.potential import Potentials
from stf.discovery import population as module
from stf.discovery.population import (
    FLOOR,
    Population,
    Setting,
    annealed,
    by_candidate,
    by_transition,
    gather,
    rows_of,
    tempering,
    with_rows,
)
from stf.fields.helmholtz import HelmholtzFields
from stf.inference.chain import factorial_prior
from stf.inference.encoded import Encoded

FIELDS = [rotation(0, 1), line(2)]
SETTINGS = {
    "positive": lambda: setting(),
    "signed": lambda: setting(slab="signed"),
    "unit": lambda: setting(slab="unit"),
    "few at once": lambda: setting(most=1),
    "weak": lambda: setting(slab="unit", most=1, constant=True),
    "timed": lambda: setting(timed=True),
}
every_setting = pytest.mark.parametrize("kind", SETTINGS)


def sequences(count: int = 12, noise: float = 0.3) -> Encoded:
    """Encoded sequences of such noise that no state is certain."""
    encoded = planted(FIELDS, count, seed=7, noise=noise).encoded
    default = torch.get_default_dtype()
    return Encoded(encoded.means.to(default), encoded.unit.to(default))


def rows(count: int, seed: int, timed: bool = False) -> dict[str, Tensor]:
    return rows_of(helmholtz(count, seed, width=6, timed=timed))


def population(kind: str, candidates: int = 1, size: int = 3, alive: Tensor | None = None) -> Population:
    """Random candidates."""
    shared = SETTINGS[kind]()
    template = helmholtz(size, width=6, timed=shared.timed)
    alive = torch.ones(candidates, size) if alive is None else alive
    sets = [(rows(size, 20 + c, shared.timed), alive[c]) for c in range(candidates)]
    return gather(sets, template, torch.tensor(0.2), shared)


def log_evidence(found: Population, batch: Encoded) -> Tensor:
    """Mean log evidence per transition and candidate, from dense covariances and the forward recursion: ``(C,)``."""
    velocities, shared = found.velocities(batch), found.setting
    space = shared.prior.space(found.size, velocities)
    rates = torch.full((2, found.size), shared.on_rate)
    rates[1] = shared.off_rate
    identity, total = torch.eye(DIM), []
    for c in range(found.count):
        log = []
        for values in space.values:
            fields = velocities[:, :, c] * values.abs().unsqueeze(-1)
            noise = FLOOR + found.misfit[c] * batch.displacement.square().sum(-1) / DIM
            covariance = noise[..., None, None] * identity + shared.prior.speed_spread**2 * (fields.mT @ fields)
            law = MultivariateNormal((values.unsqueeze(-1) * fields).sum(-2), covariance)
            log.append(law.log_prob(batch.displacement))
        likelihood = torch.stack(log, -1)  # B, T, M
        if shared.prior.constant:
            whole = likelihood.sum(1).logsumexp(-1) - math.log(found.size)
        else:
            paths = factorial_prior(space, *rates)
            whole = paths.initial + likelihood[:, 0]
            for step in range(1, likelihood.shape[1]):
                whole = (whole.unsqueeze(-1) + paths.transition).logsumexp(-2) + likelihood[:, step]
            whole = whole.logsumexp(-1)
        total.append(whole.mean() / batch.displacement.shape[1])
    return torch.stack(total)


def complete_data_misfit(
    found: Population, batch: Encoded, other: Tensor | None = None, displacement: Tensor | None = None
) -> Tensor:
    """Half the expected squared residual over tau at a posterior that is held, by explicit sums over all states.

    Of the mean fields and the displacements of the batch, unless ``other`` fields and ones are given.
    """
    velocities = found.velocities(batch)
    moved = velocities if other is None else other
    displacement = batch.displacement if displacement is None else displacement
    total = []
    for c in range(found.count):
        with torch.no_grad():
            alone = velocities[:, :, c : c + 1]
            posterior = found.infer(batch, alone, found.alive[c : c + 1], found.misfit[c : c + 1])
        value, space, evidence = 0.0, posterior.space, posterior.found
        for state in range(space.num_states):
            members = [k for k in space.members[state].tolist() if k < found.size]
            speed = evidence.mean[: len(members), state].movedim(0, -1)  # B, T, m
            covariance = evidence.covariance[: len(members), : len(members), state].movedim((0, 1), (-2, -1))
            fields = moved[:, :, c, members]
            residual = displacement - (speed.unsqueeze(-1) * fields).sum(-2)
            spread = (covariance * (fields @ fields.mT)).sum((-2, -1))
            weight = posterior.marginal[state] / evidence.noise
            value = value + 0.5 * (weight * (residual.square().sum(-1) + spread)).mean()
        total.append(value)
    return torch.stack(total)


def rollout_misfit(found: Population, batch: Encoded) -> Tensor:
    """The same along rollouts, step by step and stage by stage, for one candidate; without gradient through z."""
    shared, unit = found.setting, batch.unit
    posterior = found.infer(batch, found.velocities(batch).detach(), found.alive, found.misfit)
    speeds = posterior.statistics().first.movedim(0, -1)
    h = 1 / shared.substeps
    z, moved, starts = batch.means[:, 0], [], []

    def fields(points: Tensor, step: int) -> Tensor:
        time = torch.tensor((step + 1) / shared.num_steps) if shared.timed else None
        return found.fields.units().per_control(points, time)

    def combined(points: Tensor, step: int) -> Tensor:
        return (speeds[:, step, :, None] * fields(points, step)).sum(1)

    for step in range(speeds.shape[1]):
        starts.append(z)
        mean = 0.0
        for _ in range(shared.substeps):
            with torch.no_grad():
                if shared.integrator == "euler":
                    stages = [(1.0, z)]
                elif shared.integrator == "midpoint":
                    stages = [(1.0, z + h / 2 * combined(z, step))]
                else:
                    second = z + h / 2 * combined(z, step)
                    third = z + h / 2 * combined(second, step)
                    stages = [(1 / 6, z), (1 / 3, second), (1 / 3, third), (1 / 6, z + h * combined(third, step))]
                z = z + h * sum(share * combined(point, step) for share, point in stages)
            mean = mean + h * sum(share * fields(point, step) for share, point in stages)
        moved.append(mean * unit)
    displacement = (batch.means[:, 1:] - torch.stack(starts, 1)) * unit
    return complete_data_misfit(found, batch, torch.stack(moved, 1).unsqueeze(2), displacement)


def taken_gradient(
    found: Population, batch: Encoded, monkeypatch: pytest.MonkeyPatch, rollout: float = 0.0
) -> dict[str, Tensor]:
    """The gradient with which a step moves the fields, not clipped."""
    monkeypatch.setattr(module, "CLIP", math.inf)
    found.step(batch, learning_rate=0.0, rollout=rollout)
    return {name: p.grad for name, p in found.fields.named_parameters() if p.grad is not None}


def gradient_of(loss: Tensor, found: Population) -> dict[str, Tensor]:
    named = dict(found.fields.named_parameters())
    grads = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {name: grad for name, grad in zip(named, grads, strict=True) if grad is not None}


def close(a: dict[str, Tensor], b: dict[str, Tensor], tolerance: float) -> None:
    assert a.keys() == b.keys() and a
    norm = torch.stack([value.norm() for value in b.values()]).norm()
    for name in a:
        assert (a[name] - b[name]).norm() < tolerance * norm, name
    assert norm > 1e-3


# -- gradients ---------------------------------------------------------------------------------------------------------


@every_setting
def test_a_step_follows_the_gradient_of_the_expected_complete_data_misfit(kind, float64, monkeypatch):
    batch = sequences()
    found, same = population(kind, candidates=2), population(kind, candidates=2)
    expected = gradient_of(complete_data_misfit(same, batch).sum(), same)
    close(taken_gradient(found, batch, monkeypatch), expected, 1e-10)


@pytest.mark.parametrize("integrator,substeps", [("euler", 1), ("midpoint", 1), ("midpoint", 2), ("rk4", 1)])
@pytest.mark.parametrize("kind", ["positive", "weak", "timed"])
def test_rollouts_add_the_gradient_of_the_misfit_along_them(kind, integrator, substeps, float64, monkeypatch):
    batch = sequences()
    found, same = population(kind), population(kind)
    for each in (found, same):
        each.setting = replace(each.setting, integrator=integrator, substeps=substeps)
    loss = complete_data_misfit(same, batch) + 0.7 * rollout_misfit(same, batch)
    close(taken_gradient(found, batch, monkeypatch, rollout=0.7), gradient_of(loss.sum(), same), 1e-10)


def test_a_step_along_rollouts_holds_the_unit_of_speed(float64):
    """Fields whose speeds are larger than 1 on average grow, by a tenth of the excess."""
    batch, found = sequences(), population("positive")
    before = found.velocities(batch).detach()
    excess = found.infer(batch, before, found.alive, found.misfit).mean_excess().clamp(-0.5, 0.5)
    found.step(batch, learning_rate=0.0, rollout=0.3)
    expected = before * (1 + 0.1 * excess).unsqueeze(-1)
    assert torch.allclose(found.velocities(batch), expected)
    assert excess.abs().max() > 0.01
    unit = population("unit")
    before = unit.velocities(batch).detach()
    unit.step(batch, learning_rate=0.0, rollout=0.3)
    assert torch.equal(unit.velocities(batch), before)


@every_setting
@pytest.mark.parametrize("misfit", [1e-12, 0.5])
def test_a_step_follows_the_gradient_of_the_log_evidence(misfit, kind, float64, monkeypatch):
    batch = sequences()
    found, same = population(kind, candidates=2), population(kind, candidates=2)
    for each in (found, same):
        each.misfit = torch.full((2,), misfit)
    expected = gradient_of(-log_evidence(same, batch).sum(), same)
    close(taken_gradient(found, batch, monkeypatch), expected, 1e-8)


def test_a_step_reports_evidence_residual_and_misfit(float64):
    batch, found = sequences(), population("positive", candidates=2)
    evidence = log_evidence(found, batch).detach()
    velocities = found.velocities(batch).detach()
    before = found.misfit.clone()
    posterior = found.infer(batch, velocities, found.alive, found.misfit)
    residual = posterior.statistics().misfit(posterior.data).view(2, -1).mean(-1) / DIM
    terms = found.step(batch, 0.01)
    assert torch.allclose(terms["log_evidence"], evidence)
    assert torch.allclose(terms["residual"], residual)
    relative = torch.maximum(residual - FLOOR, 0.01 * residual) / batch.displacement.square().mean()
    assert torch.allclose(terms["misfit"], 0.97 * before + 0.03 * relative)
    assert all(value.shape == (2,) and not value.requires_grad for value in terms.values())


def test_a_misfit_that_is_given_counts_in_place_of_the_own_one(float64, monkeypatch):
    batch, gradients = sequences(), []
    for own, given in ((1.0, torch.tensor(0.2)), (0.2, None), (1.0, None)):
        found = population("positive")
        found.misfit = torch.tensor([own])
        monkeypatch.setattr(module, "CLIP", math.inf)
        found.step(batch, learning_rate=0.0, misfit=given)
        gradients.append({name: p.grad for name, p in found.fields.named_parameters() if p.grad is not None})
        assert found.misfit != own, "it is followed all the same"
    close(gradients[0], gradients[1], 1e-12)
    with pytest.raises(AssertionError):
        close(gradients[0], gradients[2], 0.1)


def test_the_gradient_of_each_candidate_is_clipped_on_its_own(float64, monkeypatch):
    batch, whole = sequences(), []
    for limit in (math.inf, None):
        found = population("positive", candidates=2)
        if limit is None:
            norms = torch.cat(whole, 1).norm(dim=1)
            limit = norms.mean().item()
        monkeypatch.setattr(module, "CLIP", limit)
        found.step(batch, 0.0)
        grads = [p.grad.reshape(2, -1).clone() for p in found.fields.parameters()]
        if not whole:
            whole = grads
    factor = (limit / norms).clamp(max=1.0)
    assert (factor < 1).sum() == 1
    for clipped, grad in zip(grads, whole, strict=True):
        assert torch.allclose(clipped, grad * factor.unsqueeze(-1), rtol=1e-5)


def test_a_candidate_whose_gradient_is_not_finite_stays_as_it_is():
    found = population("positive", candidates=2)
    with torch.no_grad():
        for parameter in found.fields.parameters():
            parameter[:3] = math.nan
    before = {name: value.clone() for name, value in found.candidate(1).items()}
    found.step(sequences(), 0.01)
    assert all(value.isfinite().all() for value in found.candidate(1).values())
    assert any((value != before[name]).any() for name, value in found.candidate(1).items())
    assert found.misfit[1].isfinite()
    batch = sequences()
    batch.means[0, 0, 0] = math.inf
    healthy = population("positive", candidates=2)
    before = {name: value.clone() for name, value in healthy.candidate(0).items()}
    healthy.step(batch, 0.01)
    assert all(torch.equal(value, before[name]) for name, value in healthy.candidate(0).items())
    assert healthy.misfit.isfinite().all()


# -- side by side ------------------------------------------------------------------------------------------------------


@every_setting
def test_candidates_side_by_side_learn_what_each_learns_alone(kind, float64):
    alive = torch.tensor([[1.0, 1, 1], [1, 0, 1], [0, 1, 1]])
    together = population(kind, 3, alive=alive)
    alone = []
    for c in range(3):
        one = population(kind, 3, alive=alive)
        single = gather([(one.candidate(c), alive[c])], one.fields, torch.tensor(0.2), one.setting)
        alone.append(single)
    data = sequences(30)
    for step in range(12):
        batch = data[torch.randint(30, (10,), generator=torch.Generator().manual_seed(step))]
        terms = together.step(batch, annealed(step, 12, 0.02), tempering(step, 12, 0.1))
        for c, one in enumerate(alone):
            mine = one.step(batch, annealed(step, 12, 0.02), tempering(step, 12, 0.1))
            for name, value in terms.items():
                assert torch.allclose(value[c], mine[name][0], rtol=1e-9, atol=1e-9)
    for c, one in enumerate(alone):
        for name, value in together.candidate(c).items():
            assert torch.allclose(value, one.candidate(0)[name], rtol=1e-7, atol=1e-9)
    assert torch.allclose(together.held_out(data), torch.cat([one.held_out(data) for one in alone]))


def test_dead_fields_get_no_gradient_and_never_act():
    alive = torch.tensor([[1.0, 0, 1], [1, 1, 0]])
    found = population("positive", 2, alive=alive)
    before = {name: value.clone() for name, value in rows_of(found.fields).items()}
    dead = (alive == 0).flatten()
    data = sequences()
    for step in range(5):
        found.step(data, 0.02, temper=0.1 * (step + 1))
        for parameter in found.fields.parameters():
            assert (parameter.grad[dead] == 0).all()
    for name, value in rows_of(found.fields).items():
        assert torch.equal(value[dead], before[name][dead])
        assert (value[~dead] != before[name][~dead]).any()
    velocities = found.velocities(data).detach()
    posterior = found.infer(data, velocities, found.alive, found.misfit)
    on = posterior.probability.unflatten(0, (2, -1))
    assert (on[0, ..., 1] == 0).all() and (on[1, ..., 2] == 0).all() and (on[0, ..., 0] > 0).all()


def test_a_step_with_learning_rate_zero_leaves_the_fields_and_follows_the_misfit():
    found = population("positive")
    before = {name: value.clone() for name, value in rows_of(found.fields).items()}
    found.step(sequences(), 0.0)
    assert all(torch.equal(value, before[name]) for name, value in rows_of(found.fields).items())
    assert found.misfit[0] != 0.2


# -- held-out evidence -------------------------------------------------------------------------------------------------


def really_without(found: Population, alive: Tensor) -> Population:
    kept = {name: value[alive > 0] for name, value in found.candidate(0).items()}
    return gather([(kept, torch.ones(int(alive.sum())))], found.fields, found.misfit[0], found.setting)


def held_out_agrees(found: Population, masks: Tensor, data: Encoded) -> None:
    evidence = found.held_out(data, found.misfit[0], masks)
    expected = torch.cat([really_without(found, mask).held_out(data) for mask in masks])
    assert evidence.shape == (len(masks),) and torch.allclose(evidence, expected, rtol=1e-9)


@every_setting
def test_held_out_with_a_mask_is_held_out_without_the_fields(kind, float64):
    masks = torch.tensor([[1.0, 1, 1, 1], [1, 0, 1, 1], [0, 1, 0, 1], [0, 0, 1, 0]])
    held_out_agrees(population(kind, size=4), masks, sequences(70))


@pytest.mark.parametrize("kind", ["positive", "signed", "few at once"])
@pytest.mark.parametrize("enumerated", [3, 4, 5])
def test_so_it_is_where_only_some_fields_are_enumerated(kind, enumerated, float64):
    found = population(kind, size=6)
    found.setting = replace(found.setting, prior=replace(found.setting.prior, enumerated=enumerated))
    masks = torch.ones(5, 6)
    masks[1, 2] = masks[2, 0] = masks[3, :2] = masks[4, 1:5] = 0
    held_out_agrees(found, masks, sequences(40))


def test_a_field_that_does_nothing_costs_the_silence_of_its_chain(float64):
    found = population("positive", size=3)
    with torch.no_grad():
        for name in ("potentials.scale", "rotational.scale", "rotational.linear"):
            found.fields.get_parameter(name)[2] = 0
    masks = torch.tensor([[1.0, 1, 1], [1, 1, 0]])
    data = sequences()
    found.setting = replace(found.setting, prior=replace(found.setting.prior, most=1), on_rate=1e-9)
    evidence = found.held_out(data, found.misfit[0], masks)
    assert evidence[0].item() == pytest.approx(evidence[1].item(), abs=1e-6)


def test_held_out_is_the_mean_over_chunks(float64):
    found, data = population("positive", 2), sequences(70)
    assert torch.allclose(found.held_out(data), log_evidence(found, data).detach())


# -- rows --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timed", [False, True])
def test_rows_and_fields_are_there_and_back(timed):
    fields = helmholtz(4, timed=timed)
    made = with_rows(fields, rows_of(fields))
    points, times = torch.randn(5, 3, DIM), torch.tensor([0.1, 0.5, 0.9]) if timed else None
    assert torch.equal(made.units().per_control(points, times), fields.units().per_control(points, times))
    assert all(a is not b for a, b in zip(made.parameters(), fields.parameters(), strict=True))
    with torch.no_grad():
        next(made.parameters()).zero_()
    assert (next(fields.parameters()) != 0).any()


@pytest.mark.parametrize("index", [[2], [3, 0], [1, 1, 1, 1, 0]])
def test_rows_may_be_fewer_more_or_the_same_twice(index):
    fields = helmholtz(4)
    made = with_rows(fields, {name: value[index] for name, value in rows_of(fields).items()})
    points = torch.randn(6, DIM)
    expected = fields.units().per_control(points)[:, index]
    assert torch.allclose(made.units().per_control(points), expected, rtol=1e-5, atol=1e-6)
    assert made.num_controls == made.num_fields == made.potentials.num_fields == len(index)
    assert fields.num_controls == 4


@pytest.mark.parametrize("without", ["potentials", "rotational"])
def test_fields_of_one_part_only(without):
    torch.manual_seed(0)
    width = 0 if without == "potentials" else 6
    turning = None if without == "rotational" else helmholtz(3).rotational
    fields: nn.Module = HelmholtzFields(Potentials(3, DIM, width), turning)
    shared: Setting = setting()
    found = gather([(rows_of(fields), torch.ones(3))] * 2, fields, torch.tensor(1.0), shared)
    before = {name: value.clone() for name, value in rows_of(found.fields).items()}
    found.step(sequences(), 0.01)
    changed = {name for name, value in rows_of(found.fields).items() if (value != before[name]).any()}
    assert changed and found.misfit.isfinite().all()


def test_gather_puts_candidates_one_after_the_other():
    template, shared = helmholtz(3), setting()
    sets = [(rows(3, 1), torch.tensor([1.0, 0, 1])), (rows(3, 2), torch.ones(3))]
    template = helmholtz(3, width=6)
    found = gather(sets, template, torch.tensor(0.3), shared)
    assert (found.count, found.size, found.complete) == (2, 3, False)
    for c, (given, alive) in enumerate(sets):
        assert all(torch.equal(found.candidate(c)[name], value) for name, value in given.items())
        assert torch.equal(found.alive[c], alive)
    assert found.misfit.tolist() == pytest.approx([0.3, 0.3])
    data = sequences()
    velocities = found.velocities(data)
    for c, (given, _) in enumerate(sets):
        alone = shared.mean_velocities(with_rows(template, given), data)
        assert torch.allclose(velocities[:, :, c], alone, rtol=1e-4, atol=1e-5)
    assert gather(sets[1:], template, torch.tensor(0.3), shared).complete


def test_reshaping_by_candidate_and_back():
    values = torch.randn(2, 5, 4, 3)
    assert by_candidate(values).shape == (2, 15, 4)
    assert torch.equal(by_candidate(values)[:, 5:10], values[..., 1])
    assert torch.equal(by_transition(by_candidate(values), 3), values)


def test_learning_rates_and_tempers():
    rates = [annealed(step, 100, 0.02) for step in range(100)]
    assert rates[0] == pytest.approx(0.002) and max(rates) <= 0.02 and 0.002 <= rates[-1] < 0.0021
    assert max(rates) == pytest.approx(0.02, rel=0.05)
    weights = [tempering(step, 100, 0.05) for step in range(100)]
    assert weights[0] == pytest.approx(0.05) and weights == sorted(weights) and weights[60:] == [1.0] * 40
    assert tempering(0, 100, 1.0) == 1.0
