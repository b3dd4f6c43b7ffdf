"""Models with exact activity: what they infer follows their fields, and fields may be permuted, dead or separate."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from exact_tools import turned_mean
from inference_tools import generator
from torch import Tensor

from ffrl.config import DataConfig
from ffrl.evaluation.likelihood.estimate import draw
from ffrl.models.interface import SequenceModel
from stf.config import JointConfig, SparseModelConfig, SparsityConfig, UnsupervisedConfig, WeakConfig
from stf.config.modes import UNSUPERVISED, WEAK
from stf.models.sparse_flow import JointSettings

STEPS, SHAPE = 4, (1, 8, 8)


def small(mode: str, seed: int = 0, activity: str = "mean", sparsity: dict[str, Any] | None = None, **model) -> Any:
    """A random model whose fields are large enough for activity to be inferred."""
    torch.manual_seed(seed)
    size = {"latent_dim": 6, "num_fields": 4, "width": 8, "depth": 1, **model}
    data, joint = DataConfig(num_steps=STEPS), JointConfig(activity=activity)
    if mode == "weak":
        made = WEAK.build(WeakConfig(data=data, model=SparseModelConfig(**size), joint=joint), SHAPE)
    else:
        config = UnsupervisedConfig(
            data=data, model=SparseModelConfig(**size), joint=joint, sparsity=SparsityConfig(**(sparsity or {}))
        )
        made = UNSUPERVISED.build(config, SHAPE)
    made = made.double().requires_grad_(False)
    made.activity_model.variance.fill_(2e-3)
    made.activity_model.misfit.fill_(0.1)
    return made


def frames_of(seed: int = 0, batch: int = 5) -> Tensor:
    return torch.rand(batch, STEPS + 1, *SHAPE, generator=generator(seed), dtype=torch.float64)


def permuted(model: SequenceModel, order: list[int]) -> SequenceModel:
    """The same model with its fields in another order."""
    other = copy.deepcopy(model)
    for name, parameter in other.field_model.named_parameters():
        if parameter.ndim and parameter.shape[0] == len(order):
            parameter.copy_(dict(model.field_model.named_parameters())[name][order])
    return other


@pytest.mark.parametrize("mode", ["weak", "unsupervised"])
@pytest.mark.parametrize("timed", [False, True])
def test_permuted_fields_give_permuted_activity(mode: str, timed: bool) -> None:
    model, order = small(mode, time_dependent=timed), [2, 0, 3, 1]
    other = permuted(model, order)
    z = torch.randn(3, 6, generator=generator(1), dtype=torch.float64)
    moved, turned = (sum(made.fields(z, 0.5)) for made in (model, other))
    assert torch.allclose(moved[:, order], turned), "the fields themselves"
    found, expected = other.activity(frames_of()), model.activity(frames_of())
    assert found.probability.std() > 0.1, "nothing depends on the fields"
    assert torch.allclose(found.probability, expected.probability[..., order])
    assert torch.allclose(found.speed, expected.speed[..., order], atol=1e-6)
    assert torch.allclose(other.infer(frames_of()), model.infer(frames_of())[..., order], atol=1e-6)
    assert torch.allclose(found.log_evidence(), expected.log_evidence())


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("separate", [False, True])
def test_the_posterior_is_that_of_the_mean_velocities(timed: bool, separate: bool) -> None:
    model = small("unsupervised", time_dependent=timed, control="separate" if separate else "single")
    frames = frames_of()
    means = model.encode(frames)
    controls = 8 if separate else 4
    assert model.num_controls == controls
    parts = []
    for t in range(STEPS):
        ends = []
        for code in (means[:, t], means[:, t + 1]):
            curl_free, divergence_free = model.fields(code, (t + 1) / STEPS if timed else None)
            ends.append(torch.cat([curl_free, divergence_free], 1) if separate else curl_free + divergence_free)
        parts.append(turned_mean(*ends))
    expected = model.activity_model.posterior(means, torch.stack(parts, 1))
    found = model.activity(frames)
    assert found.probability.shape == (5, STEPS, controls)
    assert torch.allclose(found.probability, expected.probability, atol=1e-8)
    assert torch.allclose(found.log_evidence(), expected.log_evidence(), atol=1e-6)


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("activity", ["mean", "draw"])
@pytest.mark.parametrize("enumerated", [2, 8])
def test_dead_fields_never_act(separate: bool, activity: str, enumerated: int) -> None:
    sparsity = {"most": 2, "enumerated": enumerated}
    model = small("unsupervised", 0, activity, sparsity, control="separate" if separate else "single")
    model.adopt([1, 3], torch.full((6,), 2e-3).double(), torch.tensor(0.1).double())
    dead = [0, 2, 4, 6] if separate else [0, 2]
    assert model.fields_alive == [1, 3]
    assert model.activity_model.places == ([1, 3, 5, 7] if separate else [1, 3])
    assert "2 of 4" in model.summary()["fields"]
    found = model.activity(frames_of())
    drawn = draw(model, frames_of(), 20, generator(0)).activity
    noise = model.draw_noise(5, STEPS, generator(1))
    outputs = model.train()(frames_of(), type(noise)(*(x.double() for x in vars(noise).values())), model.phase(0.99))
    for value in (found.probability, model.infer(frames_of()), drawn.g, outputs.activity):
        assert (value[..., dead] == 0).all()
    assert drawn.g.ne(0).any() and drawn.log_ratio.isfinite().all()
    assert outputs.activity.isfinite().all()


@pytest.mark.parametrize("mode", ["weak", "unsupervised"])
@pytest.mark.parametrize("activity", ["mean", "draw"])
def test_training_follows_the_batches_and_evaluation_does_not(mode: str, activity: str) -> None:
    model = small(mode, activity=activity)
    noise = model.draw_noise(5, STEPS, generator(0))
    noise = type(noise)(*(x.double() for x in vars(noise).values()))
    before = {name: value.clone() for name, value in model.activity_model.named_buffers()}
    first = model.eval()(frames_of(), noise, model.phase(0.99))
    assert all(torch.equal(value, before[name]) for name, value in model.activity_model.named_buffers())
    second = model.train()(frames_of(), noise, model.phase(0.99))
    assert torch.equal(first.activity, second.activity)
    changed = {n for n, value in model.activity_model.named_buffers() if not torch.equal(value, before[n])}
    assert changed >= {"variance", "misfit"} and "alive" not in changed
    assert ("counts" in changed) == (mode == "unsupervised")
    found = model.activity(frames_of())
    assert set(first.activity_kl) == set(found.kl())
    assert all((value >= 0).all() and value.shape == (5,) for value in first.activity_kl.values())


def test_the_mean_is_what_infer_says() -> None:
    for mode in ("weak", "unsupervised"):
        model = small(mode).eval()
        noise = model.draw_noise(5, STEPS, generator(0))
        noise = type(noise)(*(x.double() for x in vars(noise).values()))
        outputs = model(frames_of(), noise, model.phase(0.99))
        assert torch.equal(outputs.activity, model.infer(frames_of()))


@pytest.mark.parametrize("slab", ["positive", "signed", "unit"])
def test_signs_and_speeds_are_those_of_the_slab(slab: str) -> None:
    model = small("unsupervised", sparsity={"slab": slab})
    g = draw(model, frames_of(), 200, generator(0)).activity.g
    if slab == "unit":
        assert set(g.unique().tolist()) <= {0.0, 1.0}
    assert slab == "positive" or (g < 0).any() == (slab == "signed")


@pytest.mark.parametrize("dead", [False, True])
def test_draws_of_the_weak_model_enumerate_its_fields(dead: bool) -> None:
    """Each field that is alive is a case, weighted by the softmax of its log evidence."""
    model = small("weak")
    if dead:
        model.adopt([0, 3], model.activity_model.variance.clone(), torch.tensor(0.1).double())
    places = model.activity_model.places
    drawn = draw(model, frames_of(), 3, generator(0)).activity
    assert drawn.g.shape == (len(places), 3, 5, STEPS, 4)
    for case, place in enumerate(places):
        expected = torch.zeros(4, dtype=torch.float64)
        expected[place] = 1
        assert torch.equal(drawn.g[case], expected.expand(3, 5, STEPS, 4))
    assert torch.allclose(drawn.log_case.exp().sum(0), torch.ones(5).double())
    assert torch.allclose(drawn.log_ratio + drawn.log_case.unsqueeze(1), torch.tensor(-math.log(len(places))).double())
    assert torch.allclose(drawn.log_case.exp().T, model.activity(frames_of()).probability[:, 0][:, places])


def test_the_agreement_is_the_expected_distance_of_codes_and_flow() -> None:
    model = small("unsupervised")
    model.joint = JointSettings(JointConfig(agreement=2.0))
    noise = model.draw_noise(5, STEPS, generator(0))
    outputs = model.eval()(frames_of(), type(noise)(*(x.double() for x in vars(noise).values())), model.phase(0.99))
    means, posterior = model.encode(frames_of()), model.activity(frames_of())
    space, found, expected = posterior.space, posterior.found, 0.0
    for t in range(STEPS):
        ends = (sum(model.fields(code, (t + 1) / STEPS)) for code in (means[:, t], means[:, t + 1]))
        fields = turned_mean(*ends) / (2 * 2e-3) ** 0.5
        delta = (means[:, t + 1] - means[:, t]) / (2 * 2e-3) ** 0.5
        for state in range(space.num_states):
            members = [k for k in space.members[state].tolist() if k < model.num_fields]
            here, size = fields[:, members], len(members)
            left = delta - (found.mean[:size, state, :, t].T.unsqueeze(-1) * here).sum(1)
            covariance = found.covariance[:size, :size, state, :, t].movedim(-1, 0)
            spread = (covariance * (here @ here.mT)).sum((-2, -1))
            expected = expected + posterior.marginal[state, :, t] * (left.square().sum(-1) + spread)
    assert torch.allclose(outputs.penalties["agreement"], 2.0 * 0.5 * expected, rtol=1e-6)
