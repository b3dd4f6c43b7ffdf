"""One optimisation step: exact skipping, exact clipping, no waiting for the device, compiled equals eager."""

from __future__ import annotations

import copy
import functools
from dataclasses import replace

import pytest
import torch
from engine_tiny import (
    MODES,
    STEPS,
    TinyData,
    TinyModel,
    TinyOutputs,
    real_config,
    real_model,
    tiny_config,
    tiny_objective,
)
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ffrl.config import OptimizerConfig, StillConfig
from ffrl.config.optimizer import learning_rate
from ffrl.core.errors import UserError
from ffrl.fields.protocol import indices
from ffrl.fields.ridge import _rows
from ffrl.models.activity import Phase
from ffrl.objective.elbo import elbo_terms
from ffrl.training import step as step_module
from ffrl.training.batch import Feed, draw_batch
from ffrl.training.step import Forward, TrainingStep, build_optimizer, update
from ffrl.training.window import Window

CPU = torch.device("cpu")


def state_of(model, optimizer):
    """Copies of all parameters, moments and step counts."""
    moments = [value.clone() for state in optimizer.state.values() for value in state.values()]
    return [parameter.detach().clone() for parameter in model.parameters()] + moments


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("where", ["loss", "one gradient"])
def test_a_non_finite_step_changes_nothing(poison, where):
    config = tiny_config(optimizer=OptimizerConfig(weight_decay=0.1))
    model = network()
    optimizer = build_optimizer(config, model)
    data = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    for _ in range(3):
        update(model, optimizer, model(data).square().mean(), 1.0)
    before = state_of(model, optimizer)
    loss = model(data).square().mean()
    if where == "loss":
        loss = loss * poison
    else:
        model[0].bias.register_hook(lambda gradient: gradient.index_fill(0, torch.tensor([1]), poison))
        loss = model(data).square().mean()
    _, finite = update(model, optimizer, loss, 1.0)
    assert not finite
    after = state_of(model, optimizer)
    assert len(before) == 4 * 4
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_skipped_step_leaves_no_trace_in_later_steps():
    def run(poisoned):
        model = network()
        optimizer = build_optimizer(tiny_config(), model)
        for step in range(6):
            data = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
            if poisoned and step == 3:
                update(model, optimizer, model(data * float("nan")).square().mean(), 1.0)
            update(model, optimizer, model(data).square().mean(), 1.0)
        return state_of(model, optimizer)

    assert all(torch.equal(a, b) for a, b in zip(run(True), run(False), strict=True))


@pytest.mark.parametrize("clip", [1e-3, 1e3])
def test_clipping_equals_that_of_torch(clip):
    ours, theirs = network(), network()
    data = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    config = tiny_config(optimizer=OptimizerConfig(learning_rate=1e-3))
    optimizer = build_optimizer(config, ours)
    norm, finite = update(ours, optimizer, ours(data).square().sum(), clip)
    reference = torch.optim.AdamW(theirs.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
    theirs(data).square().sum().backward()
    assert torch.equal(norm, torch.nn.utils.clip_grad_norm_(theirs.parameters(), clip))
    reference.step()
    assert finite
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad) and torch.equal(a, b)


def test_weight_decay_spares_vectors():
    model = network()
    optimizer = build_optimizer(tiny_config(optimizer=OptimizerConfig(weight_decay=0.5)), model)
    before = copy.deepcopy(model)
    optimizer.zero_grad()
    (sum(p.sum() for p in model.parameters()) * 0.0).backward()
    optimizer.step()
    for old, new in zip(before.parameters(), model.parameters(), strict=True):
        assert torch.equal(old, new) == (old.ndim < 2)


def test_a_step_uses_the_learning_rate_of_the_schedule():
    config = tiny_config(optimizer=OptimizerConfig(warmup_steps=10))
    model = TinyModel()
    take = build_step(config, model, tiny_objective)
    for step in (0, 20, 29):
        before = model.velocities.detach().clone()
        take(step)
        moved = (model.velocities - before).abs().max().item()
        rate = learning_rate(config.optimizer, step, config.steps)
        assert 0.2 * rate < moved < 5 * rate
        assert [group["lr"] for group in take.optimizer.param_groups] == [rate]


def test_fields_learn_at_a_rate_of_their_own():
    model = real_model(real_config("unsupervised"))
    config = tiny_config(optimizer=OptimizerConfig(field_factor=5.0, weight_decay=0.1))
    take = build_step(config, model, elbo_terms)
    take(3)
    rate = learning_rate(config.optimizer, 3, config.steps)
    fields = {id(parameter) for parameter in model.field_model.parameters()}
    seen = 0
    for group in take.optimizer.param_groups:
        for parameter in group["params"]:
            assert group["lr"] == (5 * rate if id(parameter) in fields else rate)
            assert group["weight_decay"] == (0.1 if parameter.ndim >= 2 else 0.0)
            seen += 1
    assert seen == len(list(model.parameters()))


def test_frozen_parameters_stay_out_of_the_optimiser():
    model = network()
    model[0].weight.requires_grad_(False)
    optimizer = build_optimizer(tiny_config(), model)
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert len(held) == 3 and all(parameter.requires_grad for parameter in held)


def test_window_means_count_each_term_over_its_own_steps():
    window = Window(CPU)
    yes, no = torch.tensor(True), torch.tensor(False)
    window.add({"loss": torch.tensor(1.0), "chain": torch.tensor(5.0)}, yes)
    window.add({"loss": torch.tensor(float("nan")), "chain": torch.tensor(1.0)}, no)
    window.add({"loss": torch.tensor(3.0)}, yes)
    copied = Window(CPU)
    copied.load(window.tensors())
    for one in (window, copied):
        assert one.counts() == (1, 0)
        assert one.means() == {"loss": 2.0, "chain": 5.0}
        assert one.means() == {}
        one.add({"loss": torch.tensor(float("inf"))}, no)
        one.add({"loss": torch.tensor(float("inf"))}, no)
        assert one.counts() == (3, 2)
        assert one.means() == {}


class NoWaiting(TorchDispatchMode):
    """Fails on every operation through which the host reads the device."""

    FORBIDDEN = ("_local_scalar_dense", "is_nonzero", "nonzero", "equal", "item", "masked_select", "unique")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert name not in self.FORBIDDEN, f"aten::{name} waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.fixture
def no_waiting(monkeypatch):
    def refuse(self, *args, **kwargs):
        raise AssertionError("the host reads a tensor")

    for name in ("tolist", "numpy", "cpu", "__bool__", "item", "__float__", "__int__", "__index__"):
        monkeypatch.setattr(torch.Tensor, name, refuse)
    return NoWaiting()


def build_step(config, model, objective):
    forward = Forward(config, model, torch.float32, objective)
    return TrainingStep(config, model, Feed(config, model, TinyData(), CPU), forward, Window(CPU))


@pytest.mark.parametrize("step", [0, 29])
@pytest.mark.parametrize("mode", MODES)
def test_a_training_step_never_waits_for_the_device(mode, step, no_waiting):
    config = real_config(mode, still=StillConfig(fraction=0.0))
    take = build_step(config, real_model(config), elbo_terms)
    with no_waiting:
        take(step)
        take(step)


@pytest.mark.parametrize("control", ["single", "separate"])
def test_a_step_with_fields_that_are_not_alive_never_waits(control, no_waiting):
    config = real_config("unsupervised", still=StillConfig(fraction=0.0))
    config = replace(config, model=replace(config.model, control=control))
    model = real_model(config)
    like = model.activity_model
    model.adopt([1], torch.ones_like(like.variance), torch.full_like(like.misfit, 0.1))
    take = build_step(config, model, elbo_terms)
    take.feed(20)
    model.field_model.of_controls(like.places, torch.zeros(1, 6))  # what is made once for the fields alive
    model._moving(torch.zeros(1, 1, model.num_controls))[0].velocity(
        torch.zeros(1, 6), torch.zeros(1, len(like.places))
    )
    with no_waiting:
        take(20)


def test_training_goes_on_after_inference_mode():
    """What was made once for the fields alive, while gradients were off for good, is used again."""
    config = real_config("unsupervised", still=StillConfig(fraction=0.0))
    model = real_model(config)
    like = model.activity_model
    model.adopt([0, 2], torch.ones_like(like.variance), torch.full_like(like.misfit, 0.1))
    take = build_step(config, model, elbo_terms)
    indices.cache_clear()
    _rows.cache_clear()
    with torch.inference_mode():
        model.infer(take.feed(20).frames.clone())
    take(20)
    assert take.window.counts()[0] == 0


@pytest.mark.parametrize("mode", MODES)
def test_the_loss_is_that_of_sequences_and_of_frames_alone(mode, monkeypatch):
    """The gradient of a step is the sum of both, the second with its weight; the KL of a frame alone has its share."""
    config = real_config(mode, still=StillConfig(fraction=0.0, beside=0.7))
    model, step = real_model(config), 20
    take = build_step(config, model, elbo_terms)
    batch, phase = take.feed(step), model.phase(step / config.steps)
    beside = Phase(still=True, latent_weight=phase.latent_weight / (STEPS + 1), cross_entropy_weight=1.0)
    losses = []
    for frames, noise, activity, at in ((*batch[:3], phase), (*batch.alone[:3], beside)):
        losses.append(elbo_terms(copy.deepcopy(model)(frames, noise, at, activity), frames, config.objective)["loss"])
    taken = []
    monkeypatch.setattr(
        step_module, "update", lambda *values: taken.append(values[2]) or (torch.ones(()), torch.tensor(True))
    )
    take(step)
    assert torch.allclose(taken[0], losses[0] + 0.7 * losses[1])
    means = take.window.means()
    assert means["loss"] == pytest.approx(losses[0].item()) and means["alone"] == pytest.approx(losses[1].item())


def test_the_check_for_waiting_notices_waiting(no_waiting):
    with no_waiting:
        for read in (lambda: torch.ones(()).item(), lambda: bool(torch.ones(())), lambda: torch.ones(2).nonzero()):
            with pytest.raises(AssertionError):
                read()


def compiled_and_eager(config, build, objective):
    """Window means and models after all steps, eager first, and how many graphs were compiled."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    results = []
    for compiled in (False, True):
        model = build()
        take = build_step(replace(config, compile=compiled), model, objective)
        for step in range(config.steps):
            take(step)
        results.append((take.window.means(), model))
    return results, torch._dynamo.utils.counters["stats"]["unique_graphs"]


class OneKernel(TinyModel):
    """As little to compile as there can be, at a temperature that changes at every step."""

    def forward(self, frames, noise, phase, activity=None):
        scale = self.velocities[0, :4] / phase.temperature
        return TinyOutputs((frames.flatten(2) * scale).tanh().view_as(frames), None)


def test_a_compiled_step_equals_an_eager_one():
    def objective(outputs, frames, config):
        return {"loss": (outputs.frames - frames).square().mean()}

    (eager, compiled), graphs = compiled_and_eager(tiny_config("weak", steps=4), OneKernel, objective)
    assert graphs == 1
    assert compiled[0] == pytest.approx(eager[0], rel=1e-4)
    for a, b in zip(eager[1].parameters(), compiled[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_the_real_model_compiles_to_one_graph_per_phase(monkeypatch):
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager", fullgraph=True))
    config = real_config("unsupervised", steps=10, still=StillConfig(fraction=0.2))
    (eager, compiled), graphs = compiled_and_eager(config, lambda: real_model(config), elbo_terms)
    assert graphs == 2  # still frames and sequences; the weights of the first change at every step
    assert compiled[0] == pytest.approx(eager[0], rel=1e-4)


def test_a_failing_compiler_is_one_line(monkeypatch):
    def backend(graph, inputs):
        raise FileNotFoundError("no compiler\nsecond line")

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    with pytest.raises(UserError) as error:
        build_step(tiny_config(compile=True), TinyModel(), tiny_objective)(0)
    assert str(error.value).startswith("compile: found that torch.compile fails (") and "\n" not in str(error.value)


def test_modes_see_their_data_and_streams_are_separate():
    indices = torch.arange(7)
    model, data = TinyModel(), TinyData()
    batches = {mode: draw_batch(tiny_config(mode), model, data, "train", indices, Phase(), 3) for mode in MODES}
    supervised, weak, unsupervised = (batches[mode] for mode in ("supervised", "weak", "unsupervised"))
    assert torch.equal(supervised.frames, weak.frames)
    assert not torch.equal(weak.frames, unsupervised.frames)
    assert weak.activity is None and unsupervised.activity is None
    assert supervised.activity.dtype == torch.float32 and supervised.activity.shape == (7, data.num_steps, 3)
    which = supervised.activity[:, 0].argmax(1)
    assert torch.equal(supervised.activity, torch.eye(3)[which][:, None].expand(-1, data.num_steps, -1))
    assert torch.equal(supervised.frames, data.single("train", indices, which).frames)
    validation = draw_batch(tiny_config("weak"), model, data, "train", indices, Phase(), 3, "validation-")
    assert not torch.equal(validation.noise.latent, weak.noise.latent)
    assert torch.equal(unsupervised.noise.latent, weak.noise.latent)


def test_transformations_are_drawn_uniformly():
    config, model, data = tiny_config("supervised"), TinyModel(), TinyData()
    batches = (draw_batch(config, model, data, "train", torch.arange(20), Phase(), step) for step in range(100))
    counts = torch.stack([batch.activity[:, 0].sum(0) for batch in batches]).sum(0)
    assert counts.sum() == 2000
    assert (counts - 2000 / 3).abs().max() < 5 * (2000 * 2 / 9) ** 0.5


def test_autocast_covers_the_model_only():
    seen = {}

    class Probe(TinyModel):
        def forward(self, frames, noise, phase, activity=None):
            seen["model"] = torch.is_autocast_enabled("cpu")
            return super().forward(frames, noise, phase, activity)

    def objective(outputs, frames, config):
        seen["objective"] = torch.is_autocast_enabled("cpu")
        return tiny_objective(outputs, frames, config)

    for precision in (torch.bfloat16, torch.float32):
        model, config = Probe(), tiny_config()
        batch = draw_batch(config, model, TinyData(), "train", torch.arange(7), Phase(), 0)
        Forward(config, model, precision, objective)(batch, model.phase(0.0))
        assert seen == {"model": precision == torch.bfloat16, "objective": False}
